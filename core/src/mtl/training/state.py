"""What the loop counts: all of it survives a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from attrs import asdict, define, field
from torch import Tensor

from mtl.components import Loss

PHASES = ("data", "forward", "backward", "optimizer")


@define
class TaskProgress:
    """One task so far. Losses are summed on the device since the last report."""

    steps: int = 0
    batches: int = 0
    rows: int = 0
    tokens: int = 0
    seconds: float = 0.0
    pass_index: int = 0
    rows_in_pass: int = 0
    reported: dict[str, float] = field(factory=lambda: {"rows": 0, "tokens": 0, "seconds": 0.0})
    loss_total: Tensor = field(factory=lambda: torch.zeros((), dtype=torch.float64))
    loss_weight: Tensor = field(factory=lambda: torch.zeros((), dtype=torch.float64))

    def add(self, loss: Loss, rows: int, tokens: int) -> None:
        """Count a batch."""
        self.batches += 1
        self.rows += rows
        self.rows_in_pass += rows
        self.tokens += tokens
        self.loss_total += loss.total.detach()
        self.loss_weight += loss.weight

    def distinct_rows(self, total: int) -> int:
        """Different rows seen: all of them after the first pass."""
        return total if self.pass_index else self.rows_in_pass

    def report(self) -> dict[str, float | None]:
        """Mean loss and speed since the last report, and a fresh start."""
        rows, tokens, seconds = (
            self.rows - self.reported["rows"],
            self.tokens - self.reported["tokens"],
            self.seconds - self.reported["seconds"],
        )
        loss = (self.loss_total / self.loss_weight).item() if rows else None
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
            f"report.{task}.{name}": getattr(progress, f"loss_{name}")
            for task, progress in self.tasks.items()
            for name in ("total", "weight")
        }

    def to_json(self) -> dict[str, Any]:
        """Everything but the tensors."""
        return asdict(self, filter=lambda attribute, value: not isinstance(value, Tensor))

    def restore(self, state: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Take back what `to_json` and `tensors` gave."""
        for task, progress in self.tasks.items():
            for name, value in state["tasks"][task].items():
                setattr(progress, name, value)
            progress.loss_total.copy_(tensors[f"report.{task}.total"])
            progress.loss_weight.copy_(tensors[f"report.{task}.weight"])
        self.step = state["step"]
        self.best = Best(**state["best"]) if state["best"] else None
        self.evaluations_without_improvement = state["evaluations_without_improvement"]
        self.stopped_early = state["stopped_early"]
        self.seconds = dict(state["seconds"])
