"""Tagging: one tag per word."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import polars as pl
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mtl import Batch, Builder, DataError, Features, Judgment, Loss, Ragged, Rows, Table, Task, Unit
from mtl.data.columns import Column
from mtl_tasks.config import TaggingTaskConfig
from mtl_tasks.crf import LinearChainCRF
from mtl_tasks.spans import invalid_tags, repaired
from mtl_tasks.tagging_metrics import TaggingMetrics, TaggingOutput


class Tagger(nn.Module):
    """Scores the tags of each word, with a loss if the tags are known."""

    def __init__(
        self, embedding: nn.Module, representation: nn.Module, decoder: nn.Module, crf: LinearChainCRF | None
    ) -> None:
        super().__init__()
        self.embedding = embedding
        self.representation = representation
        self.decoder = decoder
        self.crf = crf

    def forward(self, batch: Batch) -> TaggingOutput:
        embedded, lengths = self.embedding(batch, "words")
        scores = self.decoder(self.representation(embedded, lengths)).float()
        loss = self._loss(scores, batch["tags"], lengths) if "tags" in batch else None
        tags = scores.argmax(dim=-1) if self.crf is None else self._decode(self.crf, scores, lengths)
        return TaggingOutput(loss, scores, tags, lengths)

    def _decode(self, crf: LinearChainCRF, scores: Tensor, lengths: Tensor) -> Tensor:
        # Training has no use for the best path, which costs as much as the loss.
        return scores.argmax(dim=-1) if self.training else crf.decode(scores, lengths)

    def _loss(self, scores: Tensor, tags: Tensor, lengths: Tensor) -> Loss:
        words = lengths.sum()
        if self.crf is not None:
            return Loss(self.crf.negative_log_likelihood(scores, tags, lengths).sum(), words)
        inside = torch.arange(scores.shape[1], device=scores.device) < lengths[:, None]
        targets = tags.masked_fill(~inside, -100)
        return Loss(F.cross_entropy(scores.flatten(0, 1), targets.flatten(), reduction="sum"), words)


class TaggingTask(Task[TaggingTaskConfig]):
    """Gives each word of a text one tag."""

    def __init__(self, config: TaggingTaskConfig, *, name: str, features: Features) -> None:
        super().__init__(config, name=name, features=features)
        self.tags: list[str] = []
        self.known: list[str] = []
        self.repaired_rows = 0

    def start_from(self, state: Mapping[str, Any]) -> None:
        """Keep the tags of another run, before those of the training rows."""
        self.known = _saved(state)

    def prepare(self, table: Table) -> pl.DataFrame:
        """Return `words`, `tags` if the table has them, `line` and `path`.

        Raises `DataError` for a row that has not one tag per word, or a tag that its scheme does not allow.
        """
        names = [name for name in ("words", "tags") if name in table.frame.columns]
        frame = table.frame.select(*names, "line", pl.lit(table.path).alias("path"))
        _require_words(frame)
        if "tags" not in names:
            return frame
        _require_pairs(frame)
        return frame if self.config.scheme == "none" else self._with_valid_tags(frame)

    def _with_valid_tags(self, frame: pl.DataFrame) -> pl.DataFrame:
        scheme = self.config.scheme
        rows: list[Sequence[str]] = frame["tags"].to_list()
        for number, tags in enumerate(rows):
            wrong = next(invalid_tags(tags, scheme), None)
            if wrong is None:
                continue
            if self.config.invalid_tags == "error":
                position, why = wrong
                raise DataError(
                    f"{frame['path'][number]}:{frame['line'][number]}: tag {position + 1},"
                    f' {tags[position]!r}, {why}; set `invalid_tags` to "repair" to begin a span there'
                )
            rows[number] = repaired(tags, scheme)
            self.repaired_rows += 1
        return frame.with_columns(pl.Series("tags", rows, dtype=pl.List(pl.String)))

    def fit(self, frames: Iterable[pl.DataFrame]) -> None:
        """Find the tags: `O` first, the others sorted."""
        found: set[str] = set()
        for frame in frames:
            found.update(frame["tags"].explode().unique())
        new = sorted(found.difference(self.known), key=lambda tag: (tag != "O", tag))
        self.tags = [*self.known, *new]

    def encode(self, frame: pl.DataFrame) -> dict[str, Column]:
        """Return `tags`, int64, one per word, if the rows have them.

        Raises `DataError` with file and line for a tag that no training row has.
        """
        if "tags" not in frame.columns:
            return {}
        numbers = {tag: number for number, tag in enumerate(self.tags)}
        flat = frame["tags"].explode().replace_strict(numbers, default=None, return_dtype=pl.Int64)
        if flat.null_count():
            for line, tags in frame.select("line", "tags").iter_rows():
                unknown = next((tag for tag in tags if tag not in numbers), None)
                if unknown is not None:
                    known = ", ".join(self.tags[:10])
                    raise DataError(
                        f"{frame['path'][0]}:{line}: a tag must be one of those in the training rows,"
                        f" but is {unknown!r} (known: {known})"
                    )
        return {"tags": Ragged.from_lists(frame["tags"], flat, dtype=torch.int64, unit=Unit.WORD)}

    def build_model(self, build: Builder) -> nn.Module:
        config = self.config
        embedding = self.features.build_embedding(build)
        width = config.features.output_dim
        representation = build(config.representation, input_dim=width)
        width = config.representation.config.output_dim(width)
        decoder = build(config.decoder, input_dim=width, output_dim=len(self.tags), output_names=self.tags)
        crf = LinearChainCRF(len(self.tags)) if config.crf else None
        return Tagger(embedding, representation, decoder, crf)

    def metrics(self) -> TaggingMetrics:
        return TaggingMetrics(self.tags, self.config.scheme)

    def predictions(self, output: TaggingOutput, batch: Batch) -> list[dict[str, Any]]:
        """Return the tags of each row: `{"tags": ["O", "B-PER"]}`."""
        rows = zip(output.tags.cpu().tolist(), output.lengths.cpu().tolist(), strict=True)
        return [{"tags": [self.tags[tag] for tag in tags[:length]]} for tags, length in rows]

    def judgments(self, predictions: Sequence[Mapping[str, Any]], batch: Batch) -> list[Judgment]:
        """Return whether the tags of each row are right, all of them."""
        rows = batch["tags"].tolist()
        gold = [
            [self.tags[tag] for tag in row[: len(each["tags"])]]
            for row, each in zip(rows, predictions, strict=True)
        ]
        return [
            Judgment(tags, each["tags"], tags == each["tags"])
            for tags, each in zip(gold, predictions, strict=True)
        ]

    def state(self) -> dict[str, Any]:
        return {"tags": self.tags}

    def load_state(self, state: Mapping[str, Any]) -> None:
        self.tags = _saved(state)

    def label_counts(self, rows: Rows) -> dict[str, int]:
        """Return how many rows have each tag, or each type of span if tags mark spans."""
        column = rows.columns.get("tags")
        if not isinstance(column, Ragged):
            return {}
        labels = self.tags
        if self.config.scheme != "none":
            labels = [tag.partition("-")[2] for tag in self.tags]
        names = sorted({*labels} - {""})
        numbers = torch.tensor([names.index(label) if label else -1 for label in labels])
        row = torch.repeat_interleave(torch.arange(len(rows)), column.lengths)
        label = numbers[column.values]
        pairs = torch.unique(row[label >= 0] * len(names) + label[label >= 0])
        counts = torch.bincount(pairs % max(len(names), 1), minlength=len(names)).tolist()
        return dict(zip(names, counts, strict=True))

    def notices(self) -> list[str]:
        """Say how many rows had tags that were repaired."""
        if not self.repaired_rows:
            return []
        return [f"{self.repaired_rows:,} rows had a tag that continues no span; it begins one now"]


def _saved(state: Mapping[str, Any]) -> list[str]:
    tags = state.get("tags")
    if not isinstance(tags, list) or not tags or not all(isinstance(tag, str) for tag in tags):
        raise DataError("`tags` must be a list of strings")
    return tags


def _require_words(frame: pl.DataFrame) -> None:
    empty = frame.filter(pl.col("words").list.len() == 0)
    if len(empty):
        raise DataError(f"{empty['path'][0]}:{empty['line'][0]}: `words` must not be empty")


def _require_pairs(frame: pl.DataFrame) -> None:
    unequal = frame.filter(pl.col("words").list.len() != pl.col("tags").list.len())
    if len(unequal):
        words, tags = (len(unequal[name][0]) for name in ("words", "tags"))
        raise DataError(
            f"{unequal['path'][0]}:{unequal['line'][0]}: a row must have one tag per word, but has"
            f" {words} words and {tags} tags"
        )
