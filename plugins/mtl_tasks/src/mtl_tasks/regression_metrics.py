"""Metrics of regression, computed by torchmetrics."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import torch
from attrs import define
from torch import Tensor
from torchmetrics.functional import (
    mean_absolute_error,
    mean_squared_error,
    pearson_corrcoef,
    spearman_corrcoef,
)

from mtl import Batch, Metrics, ModelOutput


@define(eq=False)
class RegressionOutput(ModelOutput):
    """`scores` are predictions in the units of the data, float32 `[batch]`."""

    scores: Tensor


class RegressionMetrics(Metrics[RegressionOutput]):
    """Gathers predictions and targets: rank correlation needs all of them.

    A correlation is None for fewer than two rows, or if predictions or targets are constant.
    """

    def __init__(self) -> None:
        self.predictions: list[Tensor] = []
        self.targets: list[Tensor] = []

    def update(self, output: RegressionOutput, batch: Batch) -> None:
        self.predictions.append(output.scores.detach().double())
        self.targets.append(batch["score"].double())

    def compute(self) -> dict[str, Any]:
        state = self.state()
        predictions, targets = state["predictions"], state["targets"]
        if not len(targets):
            return dict.fromkeys(("pearson", "spearman", "rmse", "mae"))
        varies = all(bool((values != values[0]).any()) for values in (predictions, targets))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of nearly constant predictions
            return {
                "pearson": float(pearson_corrcoef(predictions, targets)) if varies else None,
                "spearman": float(spearman_corrcoef(predictions, targets)) if varies else None,
                "rmse": float(mean_squared_error(predictions, targets, squared=False)),
                "mae": float(mean_absolute_error(predictions, targets)),
            }

    def state(self) -> dict[str, Tensor]:
        empty = torch.zeros(0, dtype=torch.float64)
        gathered = {"predictions": self.predictions, "targets": self.targets}
        return {name: torch.cat(parts).cpu() if parts else empty for name, parts in gathered.items()}

    def merge(self, state: Mapping[str, Tensor]) -> None:
        self.predictions.append(state["predictions"])
        self.targets.append(state["targets"])
