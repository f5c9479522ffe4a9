"""Kills `mtl train --resume` again and again until it has finished, in many folders, and says how.

    python killing.py '{"config": "config.json", "whole": "...", "folders": ["..."], "seed": 0,
                        "when": "any time"}'

First a run that nobody kills fills the folder `whole`. Each attempt is a process of its own, forked
from this one, which has imported everything that a run imports and run none of it: no thread of torch
or polars has been started that a fork would lose.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import importlib
import importlib.metadata
import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from mtl.commands import main
from mtl.components import KINDS
from mtl.plugins import discover

Due = Callable[[int], bool]
Blows = Sequence[signal.Signals]

MOST_ATTEMPTS = 60
PAUSE = 0.002
TICKS = os.sysconf("SC_CLK_TCK")


def warm_up(config: str) -> None:
    """Import and find out what every run would."""
    installed = list(importlib.metadata.distributions())
    importlib.metadata.distributions = lambda: iter(installed)  # type: ignore[assignment]
    parsed = functools.cached_property(importlib.metadata.Distribution.metadata.fget)  # type: ignore[attr-defined]
    parsed.__set_name__(importlib.metadata.Distribution, "metadata")
    importlib.metadata.Distribution.metadata = parsed  # type: ignore[assignment, method-assign]
    for name in ("mtl.runs.execution", "mtl.console", "torch._dynamo"):
        importlib.import_module(name)
    plugins = discover()
    for kind in KINDS:
        for each in plugins.available(kind).values():
            for provided in each:
                importlib.import_module(provided.spec.factory.partition(":")[0])
    with contextlib.redirect_stdout(sys.stderr):
        main(["config", "validate", config])
    gc.freeze()


def start(config: str, folder: Path) -> int:
    """A process that trains; what it says goes to a file beside the folder."""
    process = os.fork()
    if process:
        return process
    status = 70
    try:
        log = os.open(log_of(folder), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        try:
            status = main(["train", config, "--output", str(folder), "--resume"])
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
    finally:
        os._exit(status)


def log_of(folder: Path) -> Path:
    """What the attempts at a run have said."""
    return folder.with_name(f"{folder.name}.log")


def wait(process: int, due: Due, blows: Blows, pause: float) -> int:
    """The exit status of a process that gets these signals, some time apart, once it is due."""
    left = list(blows)
    while True:
        done, status = os.waitpid(process, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if left and (len(left) < len(blows) or due(process)):
            os.kill(process, left.pop(0))
            time.sleep(pause)
        time.sleep(PAUSE)


def processor_seconds(process: int) -> float:
    """What a process has used; on a machine with other work it tells more than a clock."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def at_any_time(draw: random.Random, folder: Path, longest: float) -> Due:
    """Due after a random part of what a whole run takes; what goes on with a run may be let finish."""
    left = draw.uniform(0, 2.5 if folder.exists() else 1.0) * longest
    return lambda process: processor_seconds(process) >= left


def once_begun(draw: random.Random, folder: Path, longest: float) -> Due:
    """Due after a random part of what a run takes that has its folder already."""
    left = draw.uniform(0.1, 0.6 if not folder.exists() else 1.1) * longest
    return lambda process: (folder / "config.json").exists() and processor_seconds(process) >= left


def while_writing(draw: random.Random, folder: Path, longest: float) -> Due:
    """Due when the n-th temporary folder is seen beside the checkpoints or the model, n at random."""
    left = draw.randint(0, 12)
    seen: set[str] = set()

    def due(process: int) -> bool:
        for place in (folder / "checkpoints", folder):
            with contextlib.suppress(FileNotFoundError):
                seen.update(name for name in os.listdir(place) if name.startswith((".step-", ".model-")))
        return len(seen) > left

    return due


WHEN: Mapping[str, tuple[Callable[[random.Random, Path, float], Due], Blows]] = {
    "any time": (at_any_time, [signal.SIGKILL]),
    "while writing": (while_writing, [signal.SIGKILL]),
    "two interrupts": (once_begun, [signal.SIGINT, signal.SIGINT]),
}


def stage(folder: Path) -> str:
    """How far a killed run had come."""
    if (folder / "result.json").exists():
        return "after the result"
    if any(folder.glob(".*-*")) or any(folder.glob("checkpoints/.*-*")):
        return "while writing"
    if any(folder.glob("checkpoints/step-*")):
        return "after a checkpoint"
    return "before a checkpoint" if (folder / "config.json").exists() else "before it began"


def finish(config: str, folder: Path, when: str, draw: random.Random, longest: float) -> list[str]:
    """Kill and resume until the run has finished: where each attempt was killed."""
    new_due, blows = WHEN[when]
    expected = -signal.SIGKILL if blows[0] == signal.SIGKILL else 128 + blows[0]
    killed: list[str] = []
    while len(killed) < MOST_ATTEMPTS:
        due, pause = new_due(draw, folder, longest), draw.uniform(0, 0.03)
        status = wait(start(config, folder), due, blows, pause)
        if status == 0:
            return killed
        if status != expected:
            raise SystemExit(f"{folder}: exit status {status}: {log_of(folder).read_text()}")
        killed.append(stage(folder))
    raise SystemExit(f"{folder}: never finished: {killed}")


def experiment(config: str, whole: str, folders: list[str], seed: int, when: str) -> list[list[str]]:
    """The uninterrupted run, and where the others were killed."""
    warm_up(config)
    assert wait(start(config, Path(whole)), lambda process: False, [], 0) == 0
    longest = os.times().children_user + os.times().children_system
    draw = random.Random(seed)
    return [finish(config, Path(each), when, draw, longest) for each in folders]


if __name__ == "__main__":
    print(json.dumps(experiment(**json.loads(sys.argv[1]))))
