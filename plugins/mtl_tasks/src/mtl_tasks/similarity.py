"""Similarity: vectors of texts from pairs, with the other texts of a batch as negatives."""

from __future__ import annotations

import hashlib
from typing import Any

import polars as pl
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mtl import Batch, Builder, DataError, Dense, Loss, Table, Task
from mtl.data.columns import Column
from mtl_tasks.config import SimilarityTaskConfig
from mtl_tasks.similarity_metrics import SimilarityMetrics, SimilarityOutput
from mtl_text.documents.config import PAIR
from mtl_text.documents.rows import require_filled


class SimilarityModel(nn.Module):
    """Encodes both texts of a row with the same modules.

    In training, the loss is the cross-entropy of finding a text's partner among those of the batch, in both
    directions; texts equal to the partner do not count. In evaluation it is the mean of `1 - cosine`, as what
    is found must not depend on the batches.
    """

    def __init__(
        self,
        *,
        embedding: nn.Module,
        representation: nn.Module,
        temperature: float,
        positive_from: float | None,
    ) -> None:
        super().__init__()
        self.embedding = embedding
        self.representation = representation
        self.temperature = temperature
        self.positive_from = positive_from

    def forward(self, batch: Batch) -> SimilarityOutput:
        first, second = (
            F.normalize(self.representation(*self.embedding(batch, name)).float(), dim=-1) for name in PAIR
        )
        is_pair = torch.ones(len(batch), device=first.device)
        if self.positive_from is not None and "score" in batch:
            is_pair = (batch["score"] >= self.positive_from).to(is_pair)
        loss = None
        if self.positive_from is None or "score" in batch:
            loss = (
                self._contrast(first, second, batch["texts"], is_pair)
                if self.training
                else Loss(((1 - (first * second).sum(-1)) * is_pair).sum(), is_pair.sum())
            )
        return SimilarityOutput(loss, first, second, is_pair.bool())

    def _contrast(self, first: Tensor, second: Tensor, texts: Tensor, is_pair: Tensor) -> Loss:
        scores = first @ second.T / self.temperature
        right = torch.arange(len(scores), device=scores.device)
        total = torch.zeros_like(is_pair)
        for each, own in ((scores, texts[:, 1]), (scores.T, texts[:, 0])):
            is_same = (own[:, None] == own) & (right[:, None] != right)
            total = total + F.cross_entropy(each.masked_fill(is_same, -torch.inf), right, reduction="none")
        return Loss((total * is_pair).sum() / 2, is_pair.sum().clamp(min=1))


class SimilarityTask(Task[SimilarityTaskConfig]):
    """Learns vectors of texts from pairs."""

    rows_are_independent = False

    def prepare(self, table: Table) -> pl.DataFrame:
        """Return the texts as words, `score` if the table has it, `line` and `path`.

        Raises `DataError` for a row without a word, or a score that is not finite.
        """
        scores = [name for name in ("score",) if name in table.frame.columns]
        words = [self.features.split(table.frame[name]).alias(name) for name in PAIR]
        frame = table.frame.select(*words, *scores, "line", pl.lit(table.path).alias("path"))
        require_filled(frame, PAIR)
        wrong = frame.filter(~pl.col("score").is_finite()) if scores else frame.clear()
        if len(wrong):
            path, line, score = wrong.select("path", "line", "score").row(0)
            raise DataError(f"{path}:{line}: `score` must be a finite number, but is {score}")
        return frame

    def encode(self, frame: pl.DataFrame) -> dict[str, Column]:
        """Return `texts`, int64 `[rows, 2]`, equal for equal texts, and `score`, float64 `[rows]`, if the
        rows have one."""
        numbers = [[_number(words) for words in frame[name].to_list()] for name in PAIR]
        columns: dict[str, Column] = {"texts": Dense(torch.tensor(numbers, dtype=torch.int64).T.contiguous())}
        if "score" in frame.columns:
            columns["score"] = Dense(torch.tensor(frame["score"].to_numpy(), dtype=torch.float64))
        return columns

    def build_model(self, build: Builder) -> nn.Module:
        config = self.config
        embedding = self.features.build_embedding(build)
        representation = build(config.representation, input_dim=config.features.output_dim)
        return SimilarityModel(
            embedding=embedding,
            representation=representation,
            temperature=config.temperature,
            positive_from=config.positive_from,
        )

    def metrics(self) -> SimilarityMetrics:
        return SimilarityMetrics()

    def predictions(self, output: SimilarityOutput, batch: Batch) -> list[dict[str, Any]]:
        """Return the cosine of each pair: `{"score": 0.8}`."""
        return [{"score": score} for score in output.cosines.double().tolist()]


def _number(words: list[str]) -> int:
    """Return a number that stands for a text."""
    digest = hashlib.blake2b("\0".join(words).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)
