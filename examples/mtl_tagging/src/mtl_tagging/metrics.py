"""The metrics of a tagger: of whole spans, and of words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from mtl import Batch, Metrics
from torch import Tensor

from mtl_tagging.model import TaggerOutput
from mtl_tagging.spans import SpanReader


class SpanMetrics(Metrics[TaggerOutput]):
    """Precision, recall and F1 of spans, together and by type, and the share of words with the right tag.

    They are seqeval's by its defaults (and so conlleval's): a span counts where its words and its type
    are right. A figure that the rows seen do not define is None, where seqeval warns and says 0.
    """

    def __init__(self, reader: SpanReader) -> None:
        self.reader = reader
        self.spans: Tensor | None = None  # [3, types]: right, predicted and true ones
        self.words: Tensor | None = None  # [2]: right ones and all

    def update(self, output: TaggerOutput, batch: Batch) -> None:
        predicted, true, lengths = output.best_tags, batch["tags"], output.lengths
        found, wanted = self.reader.read(predicted, lengths), self.reader.read(true, lengths)
        spans = torch.stack(
            [
                self._by_type(wanted.common(found), wanted.types),
                self._by_type(found.begins, found.types),
                self._by_type(wanted.begins, wanted.types),
            ]
        )
        # What pads the true tags is no tag, so no prediction equals it.
        words = torch.stack([(predicted == true).sum(), lengths.sum()])
        self.merge({"spans": spans, "words": words})

    def state(self) -> dict[str, Tensor]:
        if self.spans is None or self.words is None:
            return {}
        return {"spans": self.spans, "words": self.words}

    def merge(self, state: Mapping[str, Tensor]) -> None:
        if state:
            spans, words = state["spans"], state["words"]
            self.spans = spans if self.spans is None else self.spans.to(spans.device) + spans
            self.words = words if self.words is None else self.words.to(words.device) + words

    def _by_type(self, begins: Tensor, types: Tensor) -> Tensor:
        counts = types.new_zeros(max(len(self.reader.types), 1))
        return counts.index_add_(0, types.flatten(), begins.flatten().long())

    def compute(self) -> dict[str, Any]:
        types = self.reader.types
        spans = self.spans.T.tolist() if self.spans is not None else [[0, 0, 0] for _ in types]
        right, words = self.words.tolist() if self.words is not None else (0, 0)
        together = _scores(*map(sum, zip(*spans, strict=True))) if spans else _scores(0, 0, 0)
        return {
            **{f"span_{name}": value for name, value in together.items() if name != "spans"},
            "accuracy": _ratio(right, words),
            "per_type": {type_: _scores(*counts) for type_, counts in zip(types, spans, strict=False)},
        }


def _scores(right: int, predicted: int, true: int) -> dict[str, Any]:
    return {
        "precision": _ratio(right, predicted),
        "recall": _ratio(right, true),
        "f1": _ratio(2 * right, predicted + true),
        "spans": true,
    }


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None
