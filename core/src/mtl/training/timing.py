"""How long the stages of a step take."""

from __future__ import annotations

from contextlib import nullcontext
from time import perf_counter
from typing import Any

import torch
from torch.profiler import record_function

from mtl.training.state import TrainingState


class StageTimer:
    """Add the time spent inside to a stage, split evenly between `tasks`; a profiler shows its name."""

    # A generator would do, but these stand around each stage of a step: that took 1 % of a small one.
    __slots__ = ("_profiled", "_stage", "_started", "_state", "_tasks")

    def __init__(self, state: TrainingState, stage: str, *tasks: str) -> None:
        self._state, self._stage, self._tasks = state, stage, tasks

    def __enter__(self) -> None:
        self._profiled = (
            record_function(self._stage) if torch.autograd.profiler._is_profiler_enabled else nullcontext()
        )
        self._started = perf_counter()
        self._profiled.__enter__()

    def __exit__(self, *error: Any) -> None:
        self._profiled.__exit__(*error)
        seconds = perf_counter() - self._started
        self._state.seconds[self._stage] += seconds
        for task in self._tasks:
            self._state.tasks[task].time[self._stage] += seconds / len(self._tasks)
