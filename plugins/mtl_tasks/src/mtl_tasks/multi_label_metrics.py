"""Metrics of several labels per row, computed by torchmetrics, and thresholds fitted to F1."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from attrs import define
from torch import Tensor
from torchmetrics.functional.classification import (
    binary_average_precision,
    multilabel_f1_score,
    multilabel_precision,
    multilabel_recall,
)

from mtl import Batch, Metrics, ModelOutput


@define(eq=False)
class MultiLabelOutput(ModelOutput):
    """`probabilities` `[batch, labels]`, and the `thresholds` `[labels]` from which a label is given."""

    probabilities: Tensor
    thresholds: Tensor


class MultiLabelMetrics(Metrics[MultiLabelOutput]):
    """Gathers the probabilities and labels of all rows.

    A label that no row has leaves the mean average precision alone; without any it is None.
    """

    def __init__(self, labels: Sequence[str]) -> None:
        self.labels = labels
        self.parts: dict[str, list[Tensor]] = {"probabilities": [], "labels": []}
        self.thresholds = torch.full((len(labels),), 0.5)

    def update(self, output: MultiLabelOutput, batch: Batch) -> None:
        self.parts["probabilities"].append(output.probabilities.detach())
        self.parts["labels"].append(batch["labels"])
        self.thresholds = output.thresholds.detach().cpu()

    def compute(self) -> dict[str, Any]:
        state = self.state()
        probabilities, labels = state["probabilities"], state["labels"].long()
        names = ("micro_f1", "macro_f1", "mean_average_precision", "per_label")
        if not len(labels):
            return dict.fromkeys(names)
        given = (probabilities >= state["thresholds"]).long()
        count = len(self.labels)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of labels without a positive row
            per_label = zip(
                self.labels,
                multilabel_precision(given, labels, count, average=None).tolist(),
                multilabel_recall(given, labels, count, average=None).tolist(),
                multilabel_f1_score(given, labels, count, average=None).tolist(),
                labels.sum(0).tolist(),
                strict=True,
            )
            return {
                "micro_f1": float(multilabel_f1_score(given, labels, count, average="micro")),
                "macro_f1": float(multilabel_f1_score(given, labels, count, average="macro")),
                "mean_average_precision": _mean_average_precision(probabilities, labels),
                "per_label": {
                    label: {"precision": precision, "recall": recall, "f1": f1, "rows": rows}
                    for label, precision, recall, f1, rows in per_label
                },
            }

    def fitted_thresholds(self) -> Tensor:
        """Return the threshold of each label with the best F1 on the rows seen, `[labels]`.

        It lies halfway between two neighbouring probabilities; 0.5 for a label that no row has.
        """
        state = self.state()
        pairs = zip(state["probabilities"].T, state["labels"].T.bool(), strict=True)
        return torch.stack([_best_threshold(probabilities, labels) for probabilities, labels in pairs])

    def state(self) -> dict[str, Tensor]:
        empty = torch.zeros(0, len(self.labels))
        gathered = {name: torch.cat(parts).cpu() if parts else empty for name, parts in self.parts.items()}
        return {**gathered, "thresholds": self.thresholds}

    def merge(self, state: Mapping[str, Tensor]) -> None:
        for name, parts in self.parts.items():
            parts.append(state[name])
        self.thresholds = state["thresholds"]


def _mean_average_precision(probabilities: Tensor, labels: Tensor) -> float | None:
    known = labels.sum(0) > 0
    if not known.any():
        return None
    pairs = zip(probabilities.T[known], labels.T[known], strict=True)
    of_labels = [binary_average_precision(*pair) for pair in pairs]
    return float(torch.stack(of_labels).mean())


def _best_threshold(probabilities: Tensor, labels: Tensor) -> Tensor:
    positives = labels.sum()
    if not positives:
        return torch.tensor(0.5)
    values, order = probabilities.sort(descending=True)
    hits = labels[order].cumsum(0)
    given = torch.arange(1, len(values) + 1)
    f1 = 2 * hits / (given + positives)
    # Equal probabilities are given together.
    is_last = torch.cat([values[1:] != values[:-1], torch.tensor([True])])
    best = int(f1.where(is_last, -1.0).argmax())
    below = values[best + 1] if best + 1 < len(values) else torch.tensor(0.0)
    return (values[best] + below) / 2
