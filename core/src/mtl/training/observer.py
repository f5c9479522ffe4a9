"""What the trainer reports to and asks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from torch import Tensor

from mtl.components import Split
from mtl.training.state import Evaluation


class Observer(Protocol):
    """What the trainer reports to and asks: the run folder and the callbacks stand behind it."""

    def step_ended(self, step: int, epoch: int, task: str) -> None:
        """A step has ended."""

    def record(self, record: Mapping[str, Any]) -> None:
        """Add a line to the metrics."""

    def evaluating(self, task: str, split: Split, batch: int, batches: int) -> None:
        """So many batches of a task's split were evaluated, 0 when this begins."""

    def evaluated(self, evaluation: Evaluation, metric: str, *, kept: bool, best: bool) -> None:
        """The tasks were evaluated; save the model if it is `kept`. `metric` names the evaluation's value."""

    def checkpoint_due(self, step: int, epoch_ended: bool) -> bool:
        """Return whether to write a checkpoint now."""

    def save_checkpoint(self, step: int, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """Write a checkpoint."""

    def stop_requested(self) -> bool:
        """Return whether to interrupt the run after this step; it may be resumed."""

    def end_requested(self) -> bool:
        """Return whether to end the run after this step, as if it were the last."""
