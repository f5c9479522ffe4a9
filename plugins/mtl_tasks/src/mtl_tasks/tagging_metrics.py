"""Metrics of tagging: accuracy per word, and precision, recall and F1 of spans by seqeval."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from attrs import define
from seqeval.metrics.sequence_labeling import get_entities, precision_recall_fscore_support
from torch import Tensor

from mtl import Batch, Metrics, ModelOutput


@define(eq=False)
class TaggingOutput(ModelOutput):
    """`scores` `[batch, words, tags]`, the predicted `tags` `[batch, words]`, and `lengths` `[batch]`."""

    scores: Tensor
    tags: Tensor
    lengths: Tensor


class TaggingMetrics(Metrics[TaggingOutput]):
    """Gathers the predicted and true tags of all rows.

    Spans are those of seqeval's default mode, that of conlleval: a tag that continues no span begins one.
    """

    def __init__(self, tags: Sequence[str], scheme: str) -> None:
        self.tags = tags
        self.scheme = scheme
        self.parts: dict[str, list[Tensor]] = {"predicted": [], "true": [], "lengths": []}

    def update(self, output: TaggingOutput, batch: Batch) -> None:
        time = torch.arange(output.tags.shape[1], device=output.tags.device)
        inside = time < output.lengths[:, None]
        self.parts["predicted"].append(output.tags[inside])
        self.parts["true"].append(batch["tags"][inside])
        self.parts["lengths"].append(output.lengths)

    def compute(self) -> dict[str, Any]:
        state = self.state()
        words = len(state["true"])
        correct = int((state["predicted"] == state["true"]).sum())
        metrics: dict[str, Any] = {"accuracy": correct / words if words else None, "words": words}
        return metrics if self.scheme == "none" else {**metrics, **self._of_spans(state)}

    def _of_spans(self, state: Mapping[str, Tensor]) -> dict[str, Any]:
        true, predicted = (self._rows(state[name], state["lengths"]) for name in ("true", "predicted"))
        if not any(get_entities(true)):
            return {"span_precision": None, "span_recall": None, "span_f1": None, "per_type": {}}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a type that was never predicted
            scores = precision_recall_fscore_support(true, predicted, average="micro", zero_division=0)
            of_types = precision_recall_fscore_support(true, predicted, average=None, zero_division=0)
        kinds = sorted({kind for kind, _, _ in [*get_entities(true), *get_entities(predicted)]})
        columns = zip(kinds, *(values.tolist() for values in of_types), strict=True)
        return {
            **dict(zip(("span_precision", "span_recall", "span_f1"), map(float, scores[:3]), strict=True)),
            "per_type": {
                kind: {"precision": precision, "recall": recall, "f1": f1, "spans": support}
                for kind, precision, recall, f1, support in columns
            },
        }

    def _rows(self, tags: Tensor, lengths: Tensor) -> list[list[str]]:
        return [[self.tags[tag] for tag in row.tolist()] for row in torch.split(tags, lengths.tolist())]

    def state(self) -> dict[str, Tensor]:
        empty = torch.zeros(0, dtype=torch.int64)
        return {name: torch.cat(parts).cpu() if parts else empty for name, parts in self.parts.items()}

    def merge(self, state: Mapping[str, Tensor]) -> None:
        for name, parts in self.parts.items():
            parts.append(state[name])
