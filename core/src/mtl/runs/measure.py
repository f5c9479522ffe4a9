"""What a run will take, from a few steps of it that are taken and thrown away: `mtl plan --measure`."""

from __future__ import annotations

import resource
from collections import Counter
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any

import torch

from mtl.training.evaluation import batches_to_score, evaluate
from mtl.training.loop import Training
from mtl.training.phase import Phase
from mtl.training.step import PRECISIONS
from mtl.training.timeline import Step

WARM_UP = 3
MEASURED = 15
"""Steps of each task, and batches of each evaluation. Their lengths differ, so they are taken from all
over."""


def measure(training: Training) -> dict[str, Any]:
    """Seconds and memory of a run, as estimated from `MEASURED` steps of each task and phase.

    The model is trained by these steps: it is of no use afterwards. Memory is that of the process, in bytes,
    and of the GPU where there is one.
    """
    training.model.train()
    phases = []
    for phase in training.phases:
        training.begin(phase)
        phases.append(_phase(training, phase))
    device = training.device
    return {
        "phases": phases,
        "seconds": sum(phase["seconds"] for phase in phases),
        "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "peak_gpu_bytes": torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None,
    }


def _phase(training: Training, phase: Phase) -> dict[str, Any]:
    epochs = list(phase.timeline.walk())
    counts = Counter(step.task for steps in epochs for step in steps)
    seconds = {
        task: _seconds_a_step(training, [step for steps in epochs for step in steps if step.task == task])
        for task in counts
    }
    every = training.config.evaluate_every_steps
    evaluations = -(-sum(counts.values()) // every) if every else len(epochs)
    scoring = {task: _seconds_to_score(training, task) for task in phase.tasks}
    scored = {task: -(-evaluations // training.tasks[task].config.evaluate_every) for task in phase.tasks}
    steps = sum(counts[task] * seconds[task] for task in counts)
    return {
        "name": phase.name,
        "seconds_per_step": seconds,
        "seconds_per_epoch": steps / len(epochs),
        "seconds_per_evaluation": sum(scoring.values()),
        "seconds": steps + sum(scored[task] * scoring[task] for task in scoring),
    }


def _spread(things: Sequence[Any], number: int) -> list[Any]:
    """Some of them, evenly from the first to the last."""
    return [things[index * len(things) // number] for index in range(min(number, len(things)))]


def _seconds_a_step(training: Training, steps: Sequence[Step]) -> float:
    for step in steps[:WARM_UP]:
        training.stepper.take(step)
    measured = _spread(steps, MEASURED)

    def take() -> None:
        for step in measured:
            training.stepper.take(step)

    return _timed(training.device, take) / max(len(measured), 1)


def _seconds_to_score(training: Training, task: str) -> float:
    rows = training.data[task].splits["eval"]
    if rows is None:
        return 0.0
    batches = batches_to_score(training.tasks[task], rows)
    measured = _spread(batches, MEASURED)
    settings: dict[str, Any] = {
        "device": training.device,
        "precision": PRECISIONS[training.config.precision],
    }

    def score() -> None:
        evaluate(training.tasks[task], training.model.tasks[task], rows, batches=measured, **settings)

    return _timed(training.device, score) * len(batches) / max(len(measured), 1)


def _timed(device: torch.device, action: Callable[[], object]) -> float:
    """The seconds that it takes, a GPU's work included."""
    begun = perf_counter()
    action()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return perf_counter() - begun
