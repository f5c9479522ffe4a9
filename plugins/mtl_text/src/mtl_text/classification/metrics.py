"""Metrics of a classifier, from one confusion matrix and, for two labels, the scores.

They equal those of torchmetrics, which in torch's deterministic mode allocates `[batch, labels *
labels]` per batch, and rounds scores to float32 for ROC AUC.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from mtl import Batch, Metrics
from mtl_text.classification.model import ClassifierOutput

MOST_LABELS_SHOWN = 100
"""With more labels, `per_class` and `confusion_matrix` are None."""


class ClassificationMetrics(Metrics[ClassifierOutput]):
    """Metrics of a classifier, computed from its confusion matrix.

    Undefined metrics are None: all of them without rows, the precision of a class that was never
    predicted, the recall of one that never occurred, ROC AUC and Matthews correlation if only one label
    occurred.
    """

    def __init__(self, labels: Sequence[str]) -> None:
        self.labels = labels
        self.confusion: Tensor | None = None
        self.margins: list[tuple[Tensor, Tensor]] = []

    def update(self, output: ClassifierOutput, batch: Batch) -> None:
        label, scores = batch["label"], output.scores.detach()
        size = len(self.labels)
        if self.confusion is None:
            self.confusion = torch.zeros(size * size, dtype=torch.int64, device=scores.device)
        cells = label * size + scores.argmax(dim=-1)
        self.confusion.index_add_(0, cells, torch.ones_like(cells))
        if size == 2:
            scores = scores.double()
            self.margins.append((scores[:, 1] - scores[:, 0], label))

    def compute(self) -> dict[str, Any]:
        size = len(self.labels)
        nothing = torch.zeros(size * size, dtype=torch.int64)
        counts = nothing if self.confusion is None else self.confusion.cpu()
        metrics = confusion_metrics(counts.view(size, size), self.labels)
        if size == 2:
            metrics["roc_auc"] = self._roc_auc()
        return metrics

    def state(self) -> dict[str, Tensor]:
        state = {} if self.confusion is None else {"confusion": self.confusion}
        if self.margins:
            margins, labels = zip(*self.margins, strict=True)
            state |= {"margins": torch.cat(margins), "labels": torch.cat(labels)}
        return state

    def merge(self, state: Mapping[str, Tensor]) -> None:
        if "confusion" in state:
            other = state["confusion"]
            self.confusion = (
                other.clone() if self.confusion is None else self.confusion.to(other.device) + other
            )
        if "margins" in state:
            self.margins.append((state["margins"], state["labels"]))

    def _roc_auc(self) -> float | None:
        if not self.margins:
            return None
        margins, labels = zip(*self.margins, strict=True)
        return roc_auc(torch.cat(margins).cpu(), torch.cat(labels).cpu() == 1)


def confusion_metrics(matrix: Tensor, labels: Sequence[str]) -> dict[str, Any]:
    """Return the metrics that follow from a confusion matrix, `[true label, predicted label]`.

    Macro averages leave out classes that neither occur nor are predicted, and count an undefined
    precision or recall of other classes as 0.
    """
    counts = matrix.double()
    hits, true, predicted = counts.diagonal(), counts.sum(dim=1), counts.sum(dim=0)
    rows, seen = float(counts.sum()), (true + predicted) > 0
    precision, recall, f1 = hits / predicted, hits / true, 2 * hits / (true + predicted)
    accuracy = float(hits.sum()) / rows if rows else None

    def macro(values: Tensor) -> float | None:
        return float(values[seen].nan_to_num().mean()) if rows else None

    shown = len(labels) <= MOST_LABELS_SHOWN
    return {
        "accuracy": accuracy,
        "macro_precision": macro(precision),
        "macro_recall": macro(recall),
        "macro_f1": macro(f1),
        "micro_precision": accuracy,
        "micro_recall": accuracy,
        "micro_f1": accuracy,
        "matthews_correlation": matthews_correlation(hits, true, predicted),
        "per_class": _per_class(labels, precision, recall, f1, true) if shown else None,
        "confusion_matrix": {"labels": list(labels), "matrix": matrix.tolist()} if shown else None,
    }


def _per_class(
    labels: Sequence[str], precision: Tensor, recall: Tensor, f1: Tensor, true: Tensor
) -> dict[str, dict[str, float | int | None]]:
    def defined(values: Tensor) -> list[float | None]:
        return [value if value == value else None for value in values.tolist()]

    columns = zip(labels, defined(precision), defined(recall), defined(f1), true.long().tolist(), strict=True)
    return {
        label: {"precision": of_predicted, "recall": of_true, "f1": both, "rows": rows}
        for label, of_predicted, of_true, both, rows in columns
    }


def matthews_correlation(hits: Tensor, true: Tensor, predicted: Tensor) -> float | None:
    """Return the correlation of true and predicted labels, from counts `[labels]` each.

    0 if only one label was predicted, its limit; None if only one occurred.
    Gorodkin, "Comparing two K-category assignments by a K-category correlation coefficient", 2004.
    """
    rows = true.sum()
    spread_true, spread_predicted = rows**2 - true @ true, rows**2 - predicted @ predicted
    if spread_true == 0:
        return None
    if spread_predicted == 0:
        return 0.0
    return float((hits.sum() * rows - true @ predicted) / (spread_true.sqrt() * spread_predicted.sqrt()))


def roc_auc(scores: Tensor, positive: Tensor) -> float | None:
    """Return the probability that a positive row scores above a negative one, ties counted half.

    `scores` and `positive` are `[rows]`. None if all rows are positive or all are negative.
    """
    positives = int(positive.sum())
    negatives = len(positive) - positives
    if not positives or not negatives:
        return None
    _, place, count = torch.unique(scores, return_inverse=True, return_counts=True)
    ranks = count.cumsum(0) - (count.double() - 1) / 2
    above = ranks[place][positive].sum() - positives * (positives + 1) / 2
    return float(above) / (positives * negatives)
