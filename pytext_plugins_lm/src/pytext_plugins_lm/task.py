"""Language modelling."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, cast

import polars as pl
import torch
from torch import nn

from mtl import (
    Batch,
    Builder,
    ConfigError,
    DataError,
    Dense,
    Embedding,
    Features,
    Problem,
    Ragged,
    Table,
    Task,
)
from mtl_text.featurizers import WordEmbedding, WordFeat
from pytext_plugins_lm.config import SAMPLES, LMTaskConfig
from pytext_plugins_lm.metrics import LMMetrics, figures
from pytext_plugins_lm.model import LanguageModel, LMOutput, NextWords, ScoredReading
from pytext_plugins_lm.objectives import Objective, make_objective
from pytext_plugins_lm.rows import LMRows, line_rows, refuse_endless_lines, split_lines, stream_rows
from pytext_plugins_lm.scorers import AdaptiveWordScorer, SampledWordScorer, WordScorer

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

SOFTMAX_NOTICES = {
    "sampled": "training losses are estimates from the words drawn; evaluation is over all words",
    "adaptive": "rare words have narrower vectors: another model than the full softmax",
}


class LMTask(Task[LMTaskConfig]):
    """Predicts the words of a text, in the way that its objective says."""

    def __init__(self, config: LMTaskConfig, *, name: str, features: Features) -> None:
        super().__init__(config, name=name, features=features)
        self.truncated: dict[tuple[str, int], tuple[int, int]] = {}
        self.frequencies: torch.Tensor | None = None

    @property
    def word_feat(self) -> WordFeat:
        """The featurizer whose words are predicted."""
        return cast(WordFeat, self.features.featurizers["word_feat"])

    @property
    def objective(self) -> Objective:
        """What is predicted from what. Its vocabulary must be there."""
        return make_objective(self.config, len(self.word_feat.vocabulary))

    def prepare(self, table: Table) -> pl.DataFrame:
        """Return `text` as words, the first of which is not predicted, and `line`; see `rows`.

        A stream is cut where a piece of its file ends, too. Raises `DataError` for a line too long to
        be a row, where nothing cuts it.
        """
        lines = split_lines(table.frame, self.features)
        if self.config.row_tokens is None:
            refuse_endless_lines(lines, table.path)
        rows = self._rows(lines)
        if rows.cut_lines:
            self.truncated[table.path, table.frame["line"][0]] = rows.cut_lines, rows.cut_tokens
        return rows.frame

    def prepare_input(self, table: Table) -> pl.DataFrame:
        """As `prepare`, but each line stays whole."""
        return line_rows(split_lines(table.frame, self.features)).frame

    def _rows(self, lines: pl.DataFrame) -> LMRows:
        max_tokens = self.config.row_tokens
        if self.config.rows == "stream" and max_tokens is not None:
            return stream_rows(lines, max_tokens=max_tokens)
        return line_rows(lines, max_tokens=max_tokens, truncate=self.config.long_lines == "truncate")

    def fit(self, frames: Iterable[pl.DataFrame]) -> None:
        """Count the words, where the softmax asks how frequent they are."""
        if self.config.softmax != "full":
            self.frequencies = torch.zeros(len(self.word_feat.vocabulary), dtype=torch.int64)
            for frame in frames:
                ids = cast(Ragged, self.word_feat.encode(frame["text"])["ids"]).values
                self.frequencies += ids.bincount(minlength=len(self.frequencies))

    def state(self) -> dict[str, Any]:
        """How often each word is in the training data, where the softmax asks for it."""
        return {} if self.frequencies is None else {"frequencies": self.frequencies.tolist()}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` gave. Raises `DataError` for anything else."""
        counts = state.get("frequencies")
        if counts is None:
            return
        words = len(self.word_feat.vocabulary)
        if not isinstance(counts, list) or len(counts) != words or not all(type(n) is int for n in counts):
            raise DataError(f"`frequencies` must be a count for each of {words:,} words")
        self.frequencies = torch.tensor(counts)

    def encode(self, frame: pl.DataFrame) -> dict[str, Dense | Ragged]:
        """Nothing: the words are their own targets."""
        return {}

    def build_model(self, build: Builder) -> nn.Module:
        config, objective = self.config, self.objective
        embedding = cast(Embedding, self.features.build_embedding(build))
        width = config.features.output_dim
        representation = build(config.representation, input_dim=width)
        return LanguageModel(
            embedding=embedding,
            representation=representation,
            scorer=self._scorer(
                build, embedding, objective.width(config.representation.config.output_dim(width))
            ),
            objective=objective,
        )

    def _scorer(self, build: Builder, embedding: Embedding, width: int) -> WordScorer | AdaptiveWordScorer:
        config, tokens = self.config, self.word_feat.vocabulary.tokens
        words = len(tokens)
        tied = _word_vectors(embedding) if config.tie_weights else None
        leads_to = width if config.softmax == "adaptive" else words if tied is None else tied.shape[1]
        names = tokens if tied is None and config.softmax != "adaptive" else None
        decoder = build(config.decoder, input_dim=width, output_dim=leads_to, output_names=names)
        if config.softmax == "full":
            return WordScorer(decoder, tied, words=tokens)
        if self.frequencies is None:
            raise ValueError("the task is not fitted")
        frequencies = self.frequencies
        if config.softmax == "sampled":
            return SampledWordScorer(
                decoder, tied, words=tokens, frequencies=frequencies, samples=config.samples or SAMPLES
            )
        cutoffs = config.cutoffs or sorted({max(words // 10, 1), max(words // 3, 1)})
        if cutoffs[-1] >= words:
            raise ConfigError(
                [
                    Problem(
                        f"{self.features.path.removesuffix('.features')}.cutoffs",
                        f"`cutoffs` must be below the number of words, {words:,}, but has {cutoffs[-1]:,}",
                    )
                ]
            )
        return AdaptiveWordScorer(decoder, words=tokens, dim=width, frequencies=frequencies, cutoffs=cutoffs)

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
        softmax = [SOFTMAX_NOTICES[name] for name in SOFTMAX_NOTICES if name == self.config.softmax]
        lines, tokens = Counter[str](), Counter[str]()
        for (path, _), (cut_lines, cut_tokens) in self.truncated.items():
            lines[path] += cut_lines
            tokens[path] += cut_tokens
        return [*(NOTICES[name] for name in NOTICES if name == objective), *softmax] + [
            f"{path}: {lines[path]} lines are longer than `max_tokens` ({self.config.max_tokens})"
            f" and lost {tokens[path]} tokens"
            for path in lines
        ]


def _sum_rows(reading: ScoredReading, count: int) -> list[tuple[float, int]]:
    """Sum and number of the losses of each of the `count` rows of a batch."""
    losses, rows = reading.losses.cpu().double(), reading.rows.cpu()
    totals = torch.zeros(count, dtype=torch.float64).index_add_(0, rows, losses)
    return list(zip(totals.tolist(), rows.bincount(minlength=count).tolist(), strict=True))


def _word_vectors(embedding: Embedding) -> nn.Parameter:
    """The weight of the words' embedding, `[words, dim]`."""
    return cast(nn.Parameter, cast(WordEmbedding, embedding.parts["word_feat"]).weight)
