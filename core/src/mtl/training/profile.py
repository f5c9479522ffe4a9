"""A torch profile of some training steps, and the most expensive operations of each phase of a step."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from attrs import define, field, frozen
from torch.profiler import ProfilerActivity, profile

from mtl.files import atomic_write, write_json
from mtl.hookspecs import hookimpl
from mtl.training.state import STAGES

logger = logging.getLogger("mtl")

WARM_UP_STEPS = 10
PROFILED_STEPS = 40
LARGEST_COSTS = 10


@frozen
class Cost:
    """The cost of one operation in one phase of the steps: self time, without callees."""

    phase: str
    operation: str
    calls: int
    seconds: float
    share: float


@define(eq=False)
class Profiler:
    """A callback that profiles `PROFILED_STEPS` steps after a warm-up, or fewer in a shorter run.

    It writes `profile/trace.json`, for chrome://tracing or Perfetto, and `profile/costs.json`, the largest
    costs. On a GPU, costs are GPU time.
    """

    folder: Path
    costs: list[Cost] = field(init=False, factory=list)
    _steps: int = field(init=False, default=0)
    _running: Any = field(init=False, default=None)

    @hookimpl
    def mtl_step_ended(self, step: int) -> None:
        """Start and stop the profile."""
        self._steps += 1
        if self._steps == WARM_UP_STEPS:
            self._start()
        elif self._steps == WARM_UP_STEPS + PROFILED_STEPS:
            self._stop()

    @hookimpl
    def mtl_run_ended(self, result: Mapping[str, Any]) -> None:
        """Stop the profile if the run was shorter."""
        self._stop()
        if not self.costs:
            logger.warning("no profile: the run must have more than %d steps", WARM_UP_STEPS)

    def _start(self) -> None:
        activities = [ProfilerActivity.CPU]
        if torch.cuda.is_available():
            activities.append(ProfilerActivity.CUDA)
        self._running = profile(activities=activities, acc_events=True)
        self._running.start()

    def _stop(self) -> None:
        if self._running is None:
            return
        self._running.stop()
        self.costs = largest_costs(self._running.events())
        with atomic_write(self.folder / "trace.json") as trace:
            self._running.export_chrome_trace(str(trace))
        write_json(
            self.folder / "costs.json",
            [
                {
                    "phase": cost.phase,
                    "operation": cost.operation,
                    "calls": cost.calls,
                    "seconds": cost.seconds,
                    "share": cost.share,
                }
                for cost in self.costs
            ],
        )
        self._running = None


def largest_costs(events: Iterable[Any], number: int = LARGEST_COSTS) -> list[Cost]:
    """Return the operations with the largest self time, by the phase of the step that they are part of."""
    on_gpu = False
    seconds: dict[tuple[str, str], list[float]] = defaultdict(list)
    gpu_seconds: dict[tuple[str, str], list[float]] = defaultdict(list)
    for event in events:
        if event.name in STAGES or not str(event.device_type).endswith("CPU"):
            continue
        key = _phase(event), event.name
        seconds[key].append(event.self_cpu_time_total / 1e6)
        gpu_seconds[key].append(event.self_device_time_total / 1e6)
        on_gpu = on_gpu or event.self_device_time_total > 0
    times = gpu_seconds if on_gpu else seconds
    total = sum(map(sum, times.values())) or 1.0
    costs = [
        Cost(phase, name, len(each), sum(each), sum(each) / total) for (phase, name), each in times.items()
    ]
    return sorted(costs, key=lambda cost: -cost.seconds)[:number]


def _phase(event: Any) -> str:
    """Return the phase that an operation runs in; `other` between steps."""
    while event is not None:
        if event.name in STAGES:
            return str(event.name)
        event = event.cpu_parent
    return "other"
