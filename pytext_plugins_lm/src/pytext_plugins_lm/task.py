"""Language modelling."""

from __future__ import annotations

from typing import Any, ClassVar, cast

import polars as pl
import torch
from torch import nn

from mtl import Batch, Builder, Dense, Embedding, Features, Ragged, Table, Task
from mtl_text.featurizers import WordEmbedding, WordFeat
from mtl_text.text import split_words
from pytext_plugins_lm.config import LMTaskConfig
from pytext_plugins_lm.metrics import LMMetrics, figures
from pytext_plugins_lm.model import LanguageModel, LMOutput, NextWords, ScoredReading, WordScorer
from pytext_plugins_lm.objectives import Objective, make_objective
from pytext_plugins_lm.rows import LMRows, line_rows, stream_rows

NOTICES = {
    "both-directions": (
        "`perplexity` is over both directions; `perplexity_forward` is that of the language model"
    ),
    "masked": (
        "`perplexity` is that of masked words given all others, which is no language-model perplexity:"
        " compare it only with the same objective's"
    ),
    "unmasked": (
        "objective 'unmasked' leaks: a vector may have seen the word that it predicts, so its"
        " `perplexity` is no language-model perplexity"
    ),
}


class LMTask(Task[LMTaskConfig]):
    """Predicts the words of a text, in the way that its objective says."""

    columns: ClassVar[tuple[str, ...]] = ("text",)
    input_columns: ClassVar[tuple[str, ...]] = ("text",)

    def __init__(self, config: LMTaskConfig, *, name: str, features: Features) -> None:
        super().__init__(config, name=name, features=features)
        self.truncated: dict[str, LMRows] = {}

    @property
    def word_feat(self) -> WordFeat:
        """The featurizer whose words are predicted."""
        return cast(WordFeat, self.features.featurizers["word_feat"])

    @property
    def objective(self) -> Objective:
        """What is predicted from what. Its vocabulary must be there."""
        return make_objective(self.config, len(self.word_feat.vocabulary))

    def prepare(self, table: Table) -> pl.DataFrame:
        """`tokens`, the first of which is not predicted, and `line`; see `rows`."""
        rows = self._rows(_words(table))
        if rows.cut_lines:
            self.truncated[table.path] = rows
        return rows.frame

    def prepare_input(self, table: Table) -> pl.DataFrame:
        """As `prepare`, but each line stays whole."""
        return line_rows(_words(table)).frame

    def _rows(self, lines: pl.DataFrame) -> LMRows:
        max_tokens = self.config.row_tokens
        if self.config.rows == "stream" and max_tokens is not None:
            return stream_rows(lines, max_tokens=max_tokens)
        return line_rows(lines, max_tokens=max_tokens, truncate=self.config.long_lines == "truncate")

    def encode(self, frame: pl.DataFrame) -> dict[str, Dense | Ragged]:
        """Nothing: the words are their own targets."""
        return {}

    def build_model(self, build: Builder) -> nn.Module:
        config, objective = self.config, self.objective
        embedding = cast(Embedding, self.features.build_embedding(build))
        width = config.features.output_dim
        representation = build(config.representation, input_dim=width)
        tied = _word_vectors(embedding) if config.tie_weights else None
        decoder = build(
            config.decoder,
            input_dim=objective.width(config.representation.config.output_dim(width)),
            output_dim=len(self.word_feat.vocabulary) if tied is None else tied.shape[1],
        )
        return LanguageModel(
            embedding=embedding,
            representation=representation,
            scorer=WordScorer(decoder, tied),
            objective=objective,
        )

    def metrics(self) -> LMMetrics:
        return LMMetrics(self.objective.readings)

    def predictions(self, output: LMOutput, batch: Batch) -> list[dict[str, Any]]:
        """How likely each row is, `{"perplexity": 80.1, "tokens": 12, "log_probability": -52.6}`,
        and, where the objective predicts them, the likeliest words after it, `"next": [{"word":
        "film", "probability": 0.2}, ...]`."""
        sums = {name: _sum_rows(reading, len(batch)) for name, reading in output.readings.items()}
        rows = [{name: parts[row] for name, parts in sums.items()} for row in range(len(batch))]
        answers = [{**figures(row), "log_probability": -sum(s for s, _ in row.values())} for row in rows]
        if output.next_words is None:
            return answers
        following = self._named(output.next_words)
        return [{**answer, "next": words} for answer, words in zip(answers, following, strict=True)]

    def _named(self, next_words: NextWords) -> list[list[dict[str, Any]]]:
        tokens = self.word_feat.vocabulary.tokens
        return [
            [{"word": tokens[word], "probability": p} for word, p in zip(words, likely, strict=True)]
            for words, likely in zip(
                next_words.words.tolist(), next_words.probabilities.tolist(), strict=True
            )
        ]

    def notices(self) -> list[str]:
        """What the perplexity is not, and what was cut off."""
        objective = self.config.resolved_objective
        return [NOTICES[name] for name in NOTICES if name == objective] + [
            f"{path}: {rows.cut_lines} lines are longer than `max_tokens` ({self.config.max_tokens})"
            f" and lost {rows.cut_tokens} tokens"
            for path, rows in self.truncated.items()
        ]


def _words(table: Table) -> pl.DataFrame:
    return table.frame.select(split_words(table.frame["text"]).alias("words"), "line")


def _sum_rows(reading: ScoredReading, count: int) -> list[tuple[float, int]]:
    """Sum and number of the losses of each of the `count` rows of a batch."""
    losses, rows = reading.losses.cpu().double(), reading.rows.cpu()
    totals = torch.zeros(count, dtype=torch.float64).index_add_(0, rows, losses)
    return list(zip(totals.tolist(), rows.bincount(minlength=count).tolist(), strict=True))


def _word_vectors(embedding: Embedding) -> nn.Parameter:
    """The weight of the words' embedding, `[words, dim]`."""
    return cast(nn.Parameter, cast(WordEmbedding, embedding.parts["word_feat"]).weight)
