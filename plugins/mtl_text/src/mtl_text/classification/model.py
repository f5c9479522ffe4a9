"""The classifier: a label's scores and their cross-entropy."""

from __future__ import annotations

from typing import Any

from attrs import define
from torch import Tensor
from torch.nn import functional as F

from mtl import Batch, Loss, ModelOutput
from mtl_text.documents.model import DocumentModel


@define(eq=False)
class ClassifierOutput(ModelOutput):
    """`scores` are one logit per label, float32 `[batch, labels]`."""

    scores: Tensor


class Classifier(DocumentModel):
    """Scores each row of a batch for each label, with cross-entropy if `label` is known.

    `class_weights` is `[labels]`. The mean loss, `total / weight`, is that of
    `F.cross_entropy(..., weight=class_weights, label_smoothing=label_smoothing)`.
    """

    class_weights: Tensor | None

    def __init__(
        self, *, class_weights: Tensor | None = None, label_smoothing: float = 0.0, **modules: Any
    ) -> None:
        super().__init__(**modules)
        self.label_smoothing = label_smoothing
        self.register_buffer("class_weights", class_weights, persistent=False)

    def forward(self, batch: Batch) -> ClassifierOutput:
        scores = self.scores(batch)
        loss = self._loss(scores, batch["label"]) if "label" in batch else None
        return ClassifierOutput(loss=loss, scores=scores)

    def _loss(self, scores: Tensor, label: Tensor) -> Loss:
        total = F.cross_entropy(
            scores, label, weight=self.class_weights, label_smoothing=self.label_smoothing, reduction="sum"
        )
        return Loss(total, len(label) if self.class_weights is None else self.class_weights[label].sum())
