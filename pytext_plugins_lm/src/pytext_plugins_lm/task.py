"""Language modeling."""

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
    TokenFeaturizer,
    Unit,
)
from pytext_plugins_lm.config import SAMPLES, LMTaskConfig
from pytext_plugins_lm.metrics import LMMetrics, perplexities
from pytext_plugins_lm.model import LanguageModel, LMOutput, NextWords, ScoredReading
from pytext_plugins_lm.objectives import Objective, Tokens, make_objective
from pytext_plugins_lm.rows import LMRows, RowMaker
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

PIECES_NOTICE = (
    "`perplexity` is per piece of {}, not per word: compare it only with that of models with the same pieces"
)


class LMTask(Task[LMTaskConfig]):
    """Predicts the words of a text according to the objective."""

    def __init__(self, config: LMTaskConfig, *, name: str, features: Features) -> None:
        super().__init__(config, name=name, features=features)
        self.truncated: dict[tuple[str, int], tuple[int, int]] = {}
        self.frequencies: torch.Tensor | None = None

    @property
    def predicted(self) -> str:
        """The name of the featurizer whose tokens are predicted."""
        return self.config.token_featurizers[0].name

    @property
    def token_featurizer(self) -> TokenFeaturizer[Any]:
        """The featurizer whose tokens are predicted."""
        return cast(TokenFeaturizer[Any], self.features.featurizers[self.predicted])

    @property
    def unit(self) -> Unit:
        """The ids and the number of the tokens."""
        return self.config.features.unit

    @property
    def objective(self) -> Objective:
        """What is predicted from which vectors. The vocabulary must be known."""
        featurizer = self.token_featurizer
        [sequence] = self.features.sequences(self.config.texts)
        column = f"{sequence}.{self.predicted}.{featurizer.token_column}"
        starts = featurizer.word_start_column
        tokens = Tokens(
            column,
            featurizer.vocabulary_size,
            featurizer.special_tokens,
            self.unit,
            None if starts is None else f"{sequence}.{self.predicted}.{starts}",
        )
        return make_objective(self.config, tokens)

    @property
    def _maker(self) -> RowMaker:
        return RowMaker(self.features, self.token_featurizer.bounds, self.unit is Unit.PIECE)

    def prepare(self, table: Table) -> pl.DataFrame:
        """Return `text` as words and `line`; see `rows`.

        A stream is also cut where a chunk of its file ends. Raises `DataError` for a line too long to
        be a row if nothing cuts it.
        """
        maker = self._maker
        lines = maker.split(table.frame)
        if self.config.row_tokens is None:
            maker.refuse_endless(lines, table.path)
        rows = self._rows(maker, lines)
        if rows.cut_lines:
            self.truncated[table.path, table.frame["line"][0]] = rows.cut_lines, rows.cut_words
        return rows.frame

    def prepare_input(self, table: Table) -> pl.DataFrame:
        """Like `prepare`, but each line stays whole."""
        return self._maker.split(table.frame)

    def _rows(self, maker: RowMaker, lines: pl.DataFrame) -> LMRows:
        max_words = self.config.row_tokens
        if self.config.rows == "stream" and max_words is not None:
            return maker.stream(lines, max_words=max_words)
        return maker.lines(lines, max_words=max_words, truncate=self.config.long_lines == "truncate")

    def fit(self, frames: Iterable[pl.DataFrame]) -> None:
        """Count the tokens, if the softmax needs their frequencies."""
        if self.config.softmax != "full":
            featurizer = self.token_featurizer
            self.frequencies = torch.zeros(featurizer.vocabulary_size, dtype=torch.int64)
            for frame in frames:
                ids = cast(Ragged, featurizer.encode(frame["text"])[featurizer.token_column]).values
                self.frequencies += ids.bincount(minlength=len(self.frequencies))

    def state(self) -> dict[str, Any]:
        """Return how often each token occurs in the training data, if the softmax needs it."""
        return {} if self.frequencies is None else {"frequencies": self.frequencies.tolist()}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore `state()`. Raises `DataError` for anything else."""
        counts = state.get("frequencies")
        if counts is None:
            return
        words = self.token_featurizer.vocabulary_size
        if not isinstance(counts, list) or len(counts) != words or not all(type(n) is int for n in counts):
            raise DataError(f"`frequencies` must be a count for each of {words:,} tokens")
        self.frequencies = torch.tensor(counts)

    def encode(self, frame: pl.DataFrame) -> dict[str, Dense | Ragged]:
        """Return no columns: the tokens are their own targets."""
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
        config, tokens = self.config, self.token_featurizer.token_texts()
        words = len(tokens)
        part = embedding.parts[self.predicted]
        if config.head == "pretrained":
            head = self.token_featurizer.output_head(part)
            if head is None:
                raise self._misfit("head", '`head` "pretrained" needs a pretrained output layer, but')
            return WordScorer(head, words=tokens)
        tied = self.token_featurizer.output_weight(part) if config.tie_weights else None
        if config.tie_weights and tied is None:
            raise self._misfit("tie_weights", "`tie_weights` needs one vector per token, but")
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
                        f"{self._path}.cutoffs",
                        f"`cutoffs` must be below the number of words, {words:,}, but has {cutoffs[-1]:,}",
                    )
                ]
            )
        return AdaptiveWordScorer(decoder, words=tokens, dim=width, frequencies=frequencies, cutoffs=cutoffs)

    @property
    def _path(self) -> str:
        """The JSON path of the config."""
        return self.features.path.removesuffix(".features")

    def _misfit(self, option: str, needs: str) -> ConfigError:
        part = self.config.token_featurizers[0]
        return ConfigError([Problem(f"{self._path}.{option}", f"{needs} {part.path} has none")])

    def metrics(self) -> LMMetrics:
        return LMMetrics(self.objective.readings)

    def predictions(self, output: LMOutput, batch: Batch) -> list[dict[str, Any]]:
        """Return how likely each row is, `{"perplexity": 80.1, "tokens": 12, "log_probability": -52.6}`,
        and, if the objective predicts them, the likeliest words after it, `"next": [{"word":
        "film", "probability": 0.2}, ...]`."""
        sums = {name: _sum_rows(reading, len(batch)) for name, reading in output.readings.items()}
        rows = [{name: parts[row] for name, parts in sums.items()} for row in range(len(batch))]
        answers = [{**perplexities(row), "log_probability": -sum(s for s, _ in row.values())} for row in rows]
        if output.next_words is None:
            return answers
        following = self._named(output.next_words)
        return [{**answer, "next": words} for answer, words in zip(answers, following, strict=True)]

    def _named(self, next_words: NextWords) -> list[list[dict[str, Any]]]:
        tokens = self.token_featurizer.token_texts()
        return [
            [{self.unit.value: tokens[word], "probability": p} for word, p in zip(words, likely, strict=True)]
            for words, likely in zip(
                next_words.words.tolist(), next_words.probabilities.tolist(), strict=True
            )
        ]

    def notices(self) -> list[str]:
        """Say how the perplexity must not be read, and what was cut off."""
        objective = self.config.resolved_objective
        softmax = [SOFTMAX_NOTICES[name] for name in SOFTMAX_NOTICES if name == self.config.softmax]
        lines, tokens = Counter[str](), Counter[str]()
        for (path, _), (cut_lines, cut_tokens) in self.truncated.items():
            lines[path] += cut_lines
            tokens[path] += cut_tokens
        pieces = [PIECES_NOTICE.format(self.predicted)] if self.unit is Unit.PIECE else []
        return [*(NOTICES[name] for name in NOTICES if name == objective), *softmax, *pieces] + [
            f"{path}: {lines[path]} lines are longer than `max_tokens` ({self.config.max_tokens})"
            f" and lost {tokens[path]} tokens"
            for path in lines
        ]


def _sum_rows(reading: ScoredReading, count: int) -> list[tuple[float, int]]:
    """Return sum and number of the losses of each of the `count` rows of a batch."""
    losses, rows = reading.losses.cpu().double(), reading.rows.cpu()
    totals = torch.zeros(count, dtype=torch.float64).index_add_(0, rows, losses)
    return list(zip(totals.tolist(), rows.bincount(minlength=count).tolist(), strict=True))
