"""Training runs, one process each, some at once: started, followed, and stopped so that they can go on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from attrs import define, frozen

POLL_SECONDS = 0.05
LINES_OF_A_MESSAGE = 8
"""Lines of what a run said last that are shown where it failed; its log has all."""


@frozen
class Command:
    """A training: its config, its run folder and where what it says goes."""

    config: Path
    folder: Path
    log: Path
    seed: int
    device: str | None
    overrides: tuple[str, ...] = ()

    @property
    def arguments(self) -> list[str]:
        """The command line. A folder that holds something is a run to go on with."""
        begun = self.folder.is_dir() and any(self.folder.iterdir())
        return [
            *(sys.executable, "-m", "mtl", "train", str(self.config), "--output", str(self.folder)),
            *("--seed", str(self.seed), "--quiet"),
            *(["--device", self.device] if self.device else []),
            *(word for each in self.overrides for word in ("--set", each)),
            *(["--resume"] if begun else []),
        ]

    @property
    def message(self) -> str:
        """The last words of a run that failed."""
        text = self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""
        return "\n".join(line.removeprefix("mtl: ") for line in text.splitlines()[-LINES_OF_A_MESSAGE:])

    @property
    def steps(self) -> int:
        """Steps that the run has reported."""
        try:
            with (self.folder / "metrics.jsonl").open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - 4096))
                lines = file.read().splitlines()
        except OSError:
            return 0
        for line in reversed(lines):
            try:
                return int(json.loads(line)["step"])
            except (ValueError, LookupError, TypeError):
                continue
        return 0


@define(eq=False)
class _Process:
    command: Command
    process: subprocess.Popen[bytes]


def run_all(
    commands: Sequence[Command],
    *,
    at_once: int,
    ended: Callable[[Command, int], None],
    polled: Callable[[Sequence[Command]], None],
) -> None:
    """Run all, `at_once` at a time, in order; `ended` gets each with its exit status, `polled` those under
    way. Whatever is raised here meanwhile, Ctrl-C first of all, stops them with their state saved."""
    left, running = deque(commands), list[_Process]()
    with _stopping(running):
        while left or running:
            while left and len(running) < at_once:
                running.append(_start(left.popleft(), at_once))
            polled([each.command for each in running])
            time.sleep(POLL_SECONDS)
            for each in [each for each in running if each.process.poll() is not None]:
                running.remove(each)
                ended(each.command, each.process.returncode)


def _start(command: Command, at_once: int) -> _Process:
    """Start a training with its share of the processors."""
    threads = str(max((os.cpu_count() or 1) // at_once, 1))
    environment = {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads} if at_once > 1 else {}
    command.log.parent.mkdir(parents=True, exist_ok=True)
    with command.log.open("wb") as log:
        # A group of its own: Ctrl-C on the terminal reaches this process alone, which passes it on once.
        process = subprocess.Popen(
            command.arguments,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, **environment},
            process_group=0,
        )
    return _Process(command, process)


@contextmanager
def _stopping(running: Sequence[_Process]) -> Iterator[None]:
    """On the way out, ask what is still running to save its state and end, and wait for it; a second
    Ctrl-C asks again, which a run obeys at once."""
    try:
        yield
    except BaseException:
        while any(each.process.poll() is None for each in running):
            try:
                for each in running:
                    if each.process.poll() is None:
                        each.process.send_signal(signal.SIGINT)
                for each in running:
                    each.process.wait()
            except KeyboardInterrupt:
                continue
        raise
