"""What the loop counts: all of it survives a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from attrs import asdict, define, field, fields
from torch import Tensor

from mtl.components import Loss
from mtl.data.columns import Batch

PHASES = ("data", "forward", "backward", "optimizer")


@define
class StepSums:
    """What the batches of one step add up to; `total` and `weight` are those of their losses."""

    total: Tensor | float = 0.0
    weight: Tensor | float = 0.0
    rows: int = 0
    tokens: int = 0
    batches: int = 0

    def add(self, loss: Loss, batch: Batch) -> None:
        """Add a batch."""
        self.total = self.total + loss.total.detach()
        self.weight = self.weight + loss.weight
        self.rows += len(batch)
        self.tokens += batch.tokens
        self.batches += 1


@define
class TaskProgress:
    """One task so far. Losses are summed on the device since the last report."""

    steps: int = 0
    batches: int = 0
    rows: int = 0
    tokens: int = 0
    seconds: float = 0.0
    skipped: int = 0
    pass_index: int = 0
    rows_in_pass: int = 0
    reported: dict[str, float] = field(factory=lambda: {"rows": 0, "tokens": 0, "seconds": 0.0})
    loss_total: Tensor = field(factory=lambda: torch.zeros((), dtype=torch.float64))
    loss_weight: Tensor = field(factory=lambda: torch.zeros((), dtype=torch.float64))

    def add(self, sums: StepSums, *, usable: bool) -> None:
        """Count a step; the loss of one that was skipped counts for nothing."""
        self.steps += 1
        self.batches += sums.batches
        self.rows += sums.rows
        self.rows_in_pass += sums.rows
        self.tokens += sums.tokens
        if usable:
            self.loss_total += sums.total
            self.loss_weight += sums.weight
        else:
            self.skipped += 1

    def distinct_rows(self, total: int) -> int:
        """Different rows seen: all of them after the first pass."""
        return total if self.pass_index else self.rows_in_pass

    def report(self) -> dict[str, float | None]:
        """Mean loss (None where every step was skipped) and speed since the last report, and a fresh
        start."""
        rows, tokens, seconds = (
            self.rows - self.reported["rows"],
            self.tokens - self.reported["tokens"],
            self.seconds - self.reported["seconds"],
        )
        loss = (self.loss_total / self.loss_weight).item() if self.loss_weight.item() else None
        self.loss_total.zero_()
        self.loss_weight.zero_()
        self.reported = {"rows": self.rows, "tokens": self.tokens, "seconds": self.seconds}
        return {
            "loss": loss,
            "examples_per_second": rows / seconds if seconds else None,
            "tokens_per_second": tokens / seconds if seconds else None,
        }


@define
class Best:
    """The best evaluation so far and all its figures."""

    step: int
    epoch: int
    value: float | None
    figures: dict[str, dict[str, Any]]


@define
class TrainingState:
    """The loop's own counters."""

    tasks: dict[str, TaskProgress]
    step: int = 0
    best: Best | None = None
    evaluations_without_improvement: int = 0
    stopped_early: bool = False
    seconds: dict[str, float] = field(factory=lambda: dict.fromkeys((*PHASES, "eval", "total"), 0.0))

    def tensors(self) -> dict[str, Tensor]:
        """The losses of the report under way."""
        return {
            f"{task}.{name}": getattr(progress, f"loss_{name}")
            for task, progress in self.tasks.items()
            for name in ("total", "weight")
        }

    def to_json(self) -> dict[str, Any]:
        """Everything but the tensors."""
        return asdict(self, filter=lambda attribute, value: not isinstance(value, Tensor))

    def restore(self, state: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Take back what `to_json` and `tensors` gave. Raises `ValueError` for what is no such state."""
        known = {attribute.name: attribute for attribute in fields(TaskProgress)}
        if state["tasks"].keys() != self.tasks.keys() or tensors.keys() != self.tensors().keys():
            raise ValueError(f"it is of the tasks {', '.join(state['tasks'])}")
        for task, progress in self.tasks.items():
            for name, value in state["tasks"][task].items():
                if name not in known or not isinstance(value, type(getattr(progress, name))):
                    raise ValueError(f"{name} of {task} cannot be {value!r:.40}")
                setattr(progress, name, value)
            progress.loss_total.copy_(tensors[f"{task}.total"])
            progress.loss_weight.copy_(tensors[f"{task}.weight"])
        self.step = int(state["step"])
        self.best = Best(**state["best"]) if state["best"] else None
        self.evaluations_without_improvement = int(state["evaluations_without_improvement"])
        self.stopped_early = bool(state["stopped_early"])
        self.seconds = {phase: float(state["seconds"][phase]) for phase in self.seconds}
