"""Rules for loggers, checked by calling the hooks of a run in order."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mtl import hookspecs
from mtl.errors import StopRun
from mtl.testing.bench import Bench
from mtl.testing.checks import Failed, rule

STEPS = 6
CHECKPOINT = 3
KILLED = 5
TASK = "First"
_METRICS = {"loss": 0.5, "accuracy": 0.75, "undefined": None}
_PLAN = {"tasks": {TASK: {}}, "schedule": {"steps": STEPS}, "parameters": {"total": 8, "trainable": 8}}


def _events(first: int, last: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the hooks of the steps after `first` up to `last`, with their arguments."""
    for step in range(first + 1, last + 1):
        where = {"step": step, "epoch": step, "task": TASK}
        yield "mtl_step_ended", where
        yield "mtl_recorded", {"record": {"kind": "train", **where, "loss": 1 / step}}
        for batch in (0, 1):
            yield "mtl_batch_evaluated", {"task": TASK, "split": "eval", "batch": batch, "batches": 1}
        yield "mtl_recorded", {"record": {"kind": "eval", **where, **_METRICS}}
        selection = {"metric": f"{TASK}.accuracy", "value": 0.75}
        best = {"tasks": {TASK: _METRICS}, "best": step == 1, "selection": selection}
        yield "mtl_evaluated", {"step": step, "epoch": step, **best}
        if step == CHECKPOINT:
            yield "mtl_checkpoint_saved", {"path": "checkpoints/step", "step": step}


class _Run:
    """A logger and a run folder; each `_Run` is another process."""

    def __init__(self, bench: Bench, folder: Path, resumed_step: int = 0) -> None:
        self.logger = bench.factory(bench.config, folder=folder)
        config: dict[str, Any] = {"tasks": {TASK: {}}}
        started = {"folder": str(folder), "config": config, "plan": _PLAN, "resumed_step": resumed_step}
        self.call("mtl_run_started", started)
        if not resumed_step:
            self.steps(0, CHECKPOINT)

    def steps(self, first: int, last: int) -> None:
        """Call the hooks of the steps after `first` up to `last`."""
        for hook, arguments in _events(first, last):
            self.call(hook, arguments)

    def end(self) -> None:
        """Call the hook of a completed run."""
        self.call("mtl_run_ended", {"result": {"status": "completed", "steps": STEPS, "tasks": {}}})

    def call(self, hook: str, arguments: Mapping[str, Any]) -> None:
        """Call a hook with the arguments that it takes."""
        function = getattr(self.logger, hook, None)
        if function is not None:
            with contextlib.suppress(StopRun):
                function(**{name: arguments[name] for name in inspect.signature(function).parameters})


def _lines(folder: Path) -> dict[str, list[str]]:
    """Return the lines of the text files in a run folder."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink():
            text = path.read_bytes().decode("utf-8", errors="ignore")
            if "\0" not in text:
                found[str(path.relative_to(folder))] = text.splitlines()
    return found


@rule("a logger that raises is disabled for the rest of the run")
def logs_a_run(bench: Bench) -> None:
    """It has a hook, and its hooks take a run from start to end, undefined metrics included."""
    with TemporaryDirectory() as folder:
        run = _Run(bench, Path(folder))
        run.steps(CHECKPOINT, STEPS)
        run.end()
    if not any(hasattr(run.logger, name) for name in vars(hookspecs) if name.startswith("mtl_")):
        raise Failed(f"{type(run.logger).__name__} has no hook of a run")


@rule("a resumed run repeats the steps since its last checkpoint")
def repeats_no_row(bench: Bench) -> None:
    """After SIGKILL and resume, its text files have as many lines as those of an uninterrupted run."""
    with TemporaryDirectory() as whole, TemporaryDirectory() as broken:
        run = _Run(bench, Path(whole))
        run.steps(CHECKPOINT, STEPS)
        run.end()
        _Run(bench, Path(broken)).steps(CHECKPOINT, KILLED)
        resumed = _Run(bench, Path(broken), CHECKPOINT)
        resumed.steps(CHECKPOINT, STEPS)
        resumed.end()
        expected, found = _lines(Path(whole)), _lines(Path(broken))
    for name in expected.keys() & found.keys():  # others are named by time or at random
        if len(found[name]) != len(expected[name]):
            raise Failed(
                f"{name} has {len(found[name])} lines after a kill and a resume, not {len(expected[name])};"
                " drop those after `resumed_step` in `mtl_run_started`"
            )


RULES = (logs_a_run, repeats_no_row)
