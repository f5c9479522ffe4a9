"""The task: what mtl calls, in the order in which it does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import polars as pl
import torch
from mtl import Batch, Builder, Column, Features, Ragged, Table, Task
from torch import nn

from mtl_tagging.config import WordTaggingTaskConfig
from mtl_tagging.data import DOCUMENT, Sentences, number_tags, prepare_rows
from mtl_tagging.metrics import SpanMetrics
from mtl_tagging.model import Tagger, TaggerOutput
from mtl_tagging.spans import SpanReader, complete_tags

NO_TAG = -100
"""Pads the tags of a batch; what torch's cross-entropy leaves out."""


class WordTaggingTask(Task[WordTaggingTaskConfig]):
    """One tag per word, and so spans of words."""

    def __init__(self, config: WordTaggingTaskConfig, *, name: str, features: Features) -> None:
        super().__init__(config, name=name, features=features)
        self.documents: dict[str, int] = {}
        self.learn_tags(["O"])

    def learn_tags(self, tags: list[str]) -> None:
        """Set the tags."""
        self.tags = tags
        self.reader = SpanReader(tags)

    def prepare(self, table: Table) -> pl.DataFrame:
        if isinstance(table, Sentences) and table.documents:
            self.documents[table.path] = table.documents
        return prepare_rows(table, self.features)

    def fit(self, frames: Iterable[pl.DataFrame]) -> None:
        """Find the tags, and those that go with them though no row has them, such as a type's I to its B."""
        tags = pl.concat([frame["tags"].explode().unique() for frame in frames])
        self.learn_tags(complete_tags(tags.unique().to_list()))

    def encode(self, frame: pl.DataFrame) -> dict[str, Column]:
        """Return `tags`, int64, one per word, if the rows have them."""
        if "tags" not in frame.columns:
            return {}
        places = number_tags(frame, self.tags)
        return {"tags": Ragged.from_lists(frame["tags"], places, dtype=torch.int64, padding=NO_TAG)}

    def build_model(self, build: Builder) -> nn.Module:
        return Tagger(self.config, self.features, build, tags=len(self.tags))

    def metrics(self) -> SpanMetrics:
        return SpanMetrics(self.reader)

    def predictions(self, output: TaggerOutput, batch: Batch) -> list[dict[str, Any]]:
        """Return each word's tag, and the spans, from the word `start` to before the word `end`:
        `{"tags": ["B-PER", "O"], "spans": [{"type": "PER", "start": 0, "end": 1}]}`."""
        tags, lengths = output.best_tags.cpu(), output.lengths.cpu()
        spans = self.reader.read(tags, lengths)
        answers: list[dict[str, Any]] = [
            {"tags": [self.tags[tag] for tag in row[:length]], "spans": []}
            for row, length in zip(tags.tolist(), lengths.tolist(), strict=True)
        ]
        begins, ends = spans.begins.nonzero(), spans.ends.nonzero()
        types = spans.types[spans.begins].tolist()
        for type_, (row, start), (_, last) in zip(types, begins.tolist(), ends.tolist(), strict=True):
            span = {"type": self.reader.types[type_], "start": start, "end": last + 1}
            answers[row]["spans"].append(span)
        return answers

    def state(self) -> dict[str, Any]:
        return {"tags": self.tags}

    def load_state(self, state: Mapping[str, Any]) -> None:
        self.learn_tags(list(state["tags"]))

    def notices(self) -> list[str]:
        """Return how many lines were left out."""
        return [
            f"{path}: lines of {DOCUMENT}, which are left out: {count:,}"
            for path, count in self.documents.items()
        ]
