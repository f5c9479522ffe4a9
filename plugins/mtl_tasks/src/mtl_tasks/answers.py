"""Extractive question answering: the span of a text that answers a question."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mtl import Batch, Builder, DataError, Dense, Features, Judgment, Loss, Ragged, Rows, Table, Task
from mtl.data.columns import Column
from mtl_tasks.answer_metrics import SpanMetrics, SpanOutput, answer_texts, texts_of
from mtl_tasks.answer_text import exact_match, first_characters, words_between
from mtl_tasks.config import SpanTaskConfig
from mtl_text.documents.rows import require_filled
from mtl_text.encoders import BiLSTM
from mtl_text.model_config import BiLSTMConfig

NONE = -1
"""The place of the first and the last word of no answer."""


class SpanModel(nn.Module):
    """Scores each word of the context as the first and the last of the answer.

    Words of the context attend to those of the question, as in Chen et al., "Reading Wikipedia to Answer
    Open-Domain Questions", ACL 2017, but after the encoder; then the `reader` follows. Without one, the
    texts are one sequence and the encoder has seen both. No answer is scored by the mean of the vectors.
    """

    threshold: Tensor

    def __init__(
        self,
        *,
        embedding: nn.Module,
        representation: nn.Module,
        reader: nn.Module | None,
        decoder: nn.Module,
        sequences: Sequence[str],
        answers_all: bool,
    ) -> None:
        super().__init__()
        self.embedding = embedding
        self.representation = representation
        self.reader = reader
        self.decoder = decoder
        self.sequences = tuple(sequences)
        self.answers_all = answers_all
        self.register_buffer("threshold", torch.zeros(()))

    def forward(self, batch: Batch) -> SpanOutput:
        lengths = batch.lengths["offsets"]
        vectors = self._read(batch, lengths) if self.reader is not None else self._context(batch, lengths)
        inside = torch.arange(vectors.shape[1], device=vectors.device) < lengths[:, None]
        mean = (vectors * inside[..., None]).sum(1) / lengths[:, None].clamp(min=1)
        starts, ends = self.decoder(vectors).float().unbind(-1)
        starts, ends = (each.masked_fill(~inside, -torch.inf) for each in (starts, ends))
        none = self.decoder(mean).float()
        if self.answers_all:
            none = torch.full_like(none, -torch.inf)
        loss = None
        if "span" in batch:
            total = _cross_entropy(none[:, 0], starts, batch["span"][:, 0])
            total = total + _cross_entropy(none[:, 1], ends, batch["span"][:, 1])
            loss = Loss(total / 2, len(batch))
        return SpanOutput(loss, starts, ends, none[:, 0], none[:, 1], self.threshold)

    def _context(self, batch: Batch, lengths: Tensor) -> Tensor:
        """Return the vectors of the context in a sequence of both texts, `[batch, words, dim]`."""
        embedded, both = self.embedding(batch, self.sequences[0])
        vectors = self.representation(embedded, both)
        time = torch.arange(batch["offsets"].shape[1], device=vectors.device)
        places = (both - lengths)[:, None] + time
        places = places.clamp(max=vectors.shape[1] - 1)[..., None].expand(-1, -1, vectors.shape[2])
        gathered: Tensor = vectors.gather(1, places)
        return gathered

    def _read(self, batch: Batch, lengths: Tensor) -> Tensor:
        """Return the vectors of the context after the reader, `[batch, words, dim]`."""
        assert self.reader is not None
        embedded, count = self.embedding(batch, self.sequences[0])
        question = self.representation(embedded, count)
        context = self.representation(*self.embedding(batch, self.sequences[1]))
        inside = torch.arange(question.shape[1], device=question.device) < count[:, None]
        similar = context @ question.transpose(1, 2) / question.shape[2] ** 0.5
        weights = similar.masked_fill(~inside[:, None], -torch.inf).softmax(-1)
        attended = weights @ question
        read: Tensor = self.reader(torch.cat([context, attended, context * attended], -1), lengths)
        return read


def _cross_entropy(none: Tensor, words: Tensor, target: Tensor) -> Tensor:
    """Return the sum of the losses of the words at `target`, `NONE` for no answer."""
    return F.cross_entropy(torch.cat([none[:, None], words], 1), target - NONE, reduction="sum")


class SpanTask(Task[SpanTaskConfig]):
    """Finds the answer to a question in a text."""

    def __init__(self, config: SpanTaskConfig, *, name: str, features: Features) -> None:
        super().__init__(config, name=name, features=features)
        self.answers_all = False

    def prepare(self, table: Table) -> pl.DataFrame:
        """Return the texts as words, `context_text`, `characters`, the first of each word in it, `line` and
        `path`, and with answers `answers` and `span`, the first and the last word of the first answer.

        Raises `DataError` for a row without a word, or an answer that is not where it should be.
        """
        frame = table.frame
        words = [self.features.split(frame[name]).alias(name) for name in self.config.texts]
        prepared = frame.select(
            *words, "line", pl.lit(table.path).alias("path"), pl.col("context").alias("context_text")
        )
        require_filled(prepared, self.config.texts)
        texts: dict[str, np.ndarray] = {}
        for text, words in prepared.select("context_text", "context").iter_rows():
            if text not in texts:
                texts[text] = first_characters(text, words)
        places = [texts[text] for text in prepared["context_text"]]
        prepared = prepared.with_columns(
            pl.Series("characters", [each.tolist() for each in places], dtype=pl.List(pl.Int64))
        )
        if "answers" not in frame.columns or "starts" not in frame.columns:
            return prepared
        rows = frame.select("line", "context", "answers", "starts").iter_rows(named=True)
        spans = [_span(row, each) for row, each in zip(rows, places, strict=True)]
        problem = next((each for each in spans if isinstance(each, str)), None)
        if problem is not None:
            raise DataError(f"{table.path}:{problem}")
        return prepared.with_columns(
            frame["answers"].fill_null([]),
            pl.Series("span", spans, dtype=pl.List(pl.Int64)),
        )

    def fit(self, frames: Iterable[pl.DataFrame]) -> None:
        """Find whether all questions of the training rows have answers."""
        self.answers_all = all(bool((frame["answers"].list.len() > 0).all()) for frame in frames)

    def encode(self, frame: pl.DataFrame) -> dict[str, Column]:
        """Return `offsets` (int32 `[words, 2]` per row), the bytes of `context_text` and, with answers,
        `span` (int64 `[rows, 2]`) and the bytes of `answers`, a NUL after each."""
        flat = frame.select(pl.col("characters", "context").explode())
        flat = flat.select("characters", end=pl.col("characters") + pl.col("context").str.len_chars())
        offsets = torch.tensor(flat.to_numpy(), dtype=torch.int32)
        columns: dict[str, Column] = {
            "offsets": Ragged(offsets, _bounds(frame["context"].list.len().to_list())),
            "context_text": _as_bytes(frame["context_text"].to_list()),
        }
        if "span" in frame.columns:
            spans = torch.tensor(frame["span"].to_list(), dtype=torch.int64).reshape(-1, 2)
            answers = ["".join(f"{answer}\0" for answer in each) for each in frame["answers"].to_list()]
            columns |= {"span": Dense(spans), "answers": _as_bytes(answers)}
        return columns

    def build_model(self, build: Builder) -> nn.Module:
        config = self.config
        sequences = self.features.sequences(config.texts)
        embedding = self.features.build_embedding(build)
        representation = build(config.representation, input_dim=config.features.output_dim)
        width: int = config.representation.config.output_dim(config.features.output_dim)
        reader: nn.Module | None = None
        if len(sequences) > 1 and config.reader is not None:
            reader = build(config.reader, input_dim=3 * width)
            width = config.reader.config.output_dim(3 * width)
        elif len(sequences) > 1:
            own = BiLSTMConfig(lstm_dim=max(width // 2, 1))
            reader, width = BiLSTM(own, build, input_dim=3 * width), own.output_dim(3 * width)
        decoder = build(config.decoder, input_dim=width, output_dim=2)
        return SpanModel(
            embedding=embedding,
            representation=representation,
            reader=reader,
            decoder=decoder,
            sequences=sequences,
            answers_all=self.answers_all,
        )

    def metrics(self) -> SpanMetrics:
        return SpanMetrics(self.config.max_answer_words)

    def calibrate(self, model: nn.Module, metrics: SpanMetrics) -> None:
        """Set the threshold to that of the best F1 on the evaluation rows, unless the config says not to."""
        if self.config.fit_threshold and not self.answers_all and isinstance(model, SpanModel):
            metrics.threshold = metrics.fitted_threshold()
            with torch.no_grad():
                model.threshold.fill_(metrics.threshold)
            metrics.threshold = float(model.threshold)

    def predictions(self, output: SpanOutput, batch: Batch) -> list[dict[str, Any]]:
        """Return the answer of each row, its probability and its place in the context, characters counted
        from 0: `{"answer": "Ada Moss", "score": 0.8, "start": 10, "end": 18}`. Without an answer, `answer` is
        empty and the places are null."""
        score, first, last = output.best(self.config.max_answer_words)
        is_answered = (output.margins(score) > output.threshold).tolist()
        none = (output.none_start + output.none_end).double()
        both = zip((output.none_start, output.none_end), (output.starts, output.ends), strict=True)
        total = sum(torch.cat([alone[:, None], words], 1).double().logsumexp(1) for alone, words in both)
        probabilities = ((score.double() - total).exp().tolist(), (none - total).exp().tolist())
        return [
            {"answer": text, "score": of_answer, "start": start, "end": end}
            if answered
            else {"answer": "", "score": of_none, "start": None, "end": None}
            for (text, start, end), answered, of_answer, of_none in zip(
                answer_texts(first, last, batch), is_answered, *probabilities, strict=True
            )
        ]

    def judgments(self, predictions: Sequence[Mapping[str, Any]], batch: Batch) -> list[Judgment]:
        """Return whether each answer is one of the row's, or empty if the row has none."""
        known = [text.split("\0")[:-1] for text in texts_of(batch, "answers")]
        return [
            Judgment(
                answers[0] if len(answers) == 1 else answers,
                each["answer"],
                bool(exact_match(each["answer"], answers)) if answers else not each["answer"],
                each["score"],
            )
            for answers, each in zip(known, predictions, strict=True)
        ]

    def state(self) -> dict[str, Any]:
        return {"answers_all": self.answers_all}

    def load_state(self, state: Mapping[str, Any]) -> None:
        answers_all = state.get("answers_all")
        if not isinstance(answers_all, bool):
            raise DataError("`answers_all` must be true or false")
        self.answers_all = answers_all

    def label_counts(self, rows: Rows) -> dict[str, int]:
        """Return how many questions have an answer; nothing if all have one."""
        if "span" not in rows.columns or self.answers_all:
            return {}
        without = int((rows.columns["span"].values[:, 0] == NONE).sum())
        return {"answer": len(rows) - without, "no answer": without}


def _span(row: Mapping[str, Any], characters: np.ndarray) -> list[int] | str:
    """Return the first and the last word of the first answer, or what is wrong with the row."""
    answers, starts, context = row["answers"] or [], row["starts"] or [], row["context"]
    where = f"{row['line']}: "
    if len(answers) != len(starts):
        return f"{where}`starts` must have one number per answer, but has {len(starts)} for {len(answers)}"
    for answer, start in zip(answers, starts, strict=True):
        there = context[max(start, 0) : max(start, 0) + len(answer)]
        if start < 0 or there != answer:
            return (
                f"{where}the answer {answer[:40]!r} must be at character {start} of `context`, but"
                f" {there[:40]!r} is there"
            )
        if not answer.strip():
            return f"{where}an answer must have a word, but is {answer[:40]!r}"
    if not answers:
        return [NONE, NONE]
    return list(words_between(characters, starts[0], answers[0]))


def _bounds(lengths: Sequence[int]) -> Tensor:
    return torch.cat([torch.zeros(1, dtype=torch.int64), torch.tensor(lengths, dtype=torch.int64).cumsum(0)])


def _as_bytes(texts: Sequence[str]) -> Ragged:
    """Return texts as UTF-8, uint8 `[bytes]` per row."""
    encoded = [text.encode() for text in texts]
    values = torch.frombuffer(bytearray(b"".join(encoded)) or bytearray(1), dtype=torch.uint8)
    return Ragged(values[: sum(map(len, encoded))], _bounds([len(each) for each in encoded]))
