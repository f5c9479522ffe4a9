"""Time and memory of a run, estimated from a few of its steps: `mtl plan --measure`."""

from __future__ import annotations

import resource
from collections import Counter
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any

import torch

from mtl.training.evaluation import PRECISIONS, batches_to_score, evaluate
from mtl.training.phase import Phase
from mtl.training.timeline import Step
from mtl.training.trainer import Trainer

WARM_UP = 3
MEASURED = 15
"""Steps per task and batches per evaluation to measure, spread over the data because lengths differ."""


def measure(trainer: Trainer) -> dict[str, Any]:
    """Estimate the seconds and memory of a run from `MEASURED` steps of each task and phase.

    These steps change the model, so the trainer cannot be used afterward. Memory is that of the process, in
    bytes, and of the GPU if there is one.
    """
    trainer.model.train()
    phases = []
    for phase in trainer.phases:
        trainer.start_phase(phase)
        phases.append(_phase(trainer, phase))
    device = trainer.device
    return {
        "phases": phases,
        "seconds": sum(phase["seconds"] for phase in phases),
        "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "peak_gpu_bytes": torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None,
    }


def _phase(trainer: Trainer, phase: Phase) -> dict[str, Any]:
    epochs = list(phase.timeline.walk())
    counts = Counter(step.task for steps in epochs for step in steps)
    seconds = {
        task: _seconds_per_step(trainer, [step for steps in epochs for step in steps if step.task == task])
        for task in counts
    }
    every = trainer.config.evaluate_every_steps
    evaluations = -(-sum(counts.values()) // every) if every else len(epochs)
    scoring = {task: _seconds_to_score(trainer, task) for task in phase.tasks}
    scored = {task: -(-evaluations // trainer.tasks[task].config.evaluate_every) for task in phase.tasks}
    steps = sum(counts[task] * seconds[task] for task in counts)
    return {
        "name": phase.name,
        "seconds_per_step": seconds,
        "seconds_per_epoch": steps / len(epochs),
        "seconds_per_evaluation": sum(scoring.values()),
        "seconds": steps + sum(scored[task] * scoring[task] for task in scoring),
    }


def _spread(things: Sequence[Any], number: int) -> list[Any]:
    """Return `number` of the things, evenly spaced from the first to the last."""
    return [things[index * len(things) // number] for index in range(min(number, len(things)))]


def _seconds_per_step(trainer: Trainer, steps: Sequence[Step]) -> float:
    for step in steps[:WARM_UP]:
        trainer.train_step(step)
    measured = _spread(steps, MEASURED)

    def take() -> None:
        for step in measured:
            trainer.train_step(step)

    return _timed(trainer.device, take) / max(len(measured), 1)


def _seconds_to_score(trainer: Trainer, task: str) -> float:
    rows = trainer.data[task].splits["eval"]
    if rows is None:
        return 0.0
    batches = batches_to_score(trainer.tasks[task], rows)
    measured = _spread(batches, MEASURED)
    settings: dict[str, Any] = {
        "device": trainer.device,
        "precision": PRECISIONS[trainer.config.precision],
    }

    def score() -> None:
        evaluate(trainer.tasks[task], trainer.model.tasks[task], rows, batches=measured, **settings)

    return _timed(trainer.device, score) * len(batches) / max(len(measured), 1)


def _timed(device: torch.device, action: Callable[[], object]) -> float:
    """Return the seconds that an action takes, including work on a GPU."""
    begun = perf_counter()
    action()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return perf_counter() - begun
