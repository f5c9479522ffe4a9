"""Configs of the language model and of the WikiText-2 dataset."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar, Literal

from mtl import (
    ColumnSpec,
    Component,
    DatasetConfig,
    Direction,
    Metric,
    Output,
    Problem,
    TaskConfig,
    Unit,
    configclass,
    option,
    slot,
)

Objective = Literal["next-word", "both-directions", "masked", "unmasked"]

DEFAULT_OBJECTIVES: Mapping[Direction, Objective] = {
    Direction.ITSELF: "next-word",
    Direction.CAUSAL: "next-word",
    Direction.SPLIT: "both-directions",
    Direction.BIDIRECTIONAL: "masked",
}
READABLE: Mapping[Objective, tuple[Direction, ...]] = {
    "next-word": (Direction.ITSELF, Direction.CAUSAL, Direction.SPLIT),
    "both-directions": (Direction.SPLIT,),
    "masked": tuple(Direction),
    "unmasked": tuple(Direction),
}
"""What a representation may depend on for each objective."""
READABLE_FEATURES: Mapping[Objective, tuple[Direction, ...]] = {
    "next-word": (Direction.ITSELF, Direction.CAUSAL),
    "both-directions": (Direction.ITSELF,),
    "masked": tuple(Direction),
    "unmasked": tuple(Direction),
}
"""What the features may depend on for each objective."""
MASK_PROBABILITY = 0.15
STREAM_TOKENS = 35
SAMPLES = 1024


@configclass
class LMTaskConfig(TaskConfig):
    """Predicts the words of a text."""

    default_features: ClassVar[tuple[str, ...]] = ("word_feat",)

    batch_size: int = option(8, "Rows per batch.", minimum=1)
    data: Component = slot("data_source", "TextLines", "Data source of the column `text`.")
    representation: Component = slot(
        "representation", "BiLSTM", "Tokens to one vector per token.", output=Output.SEQUENCE
    )
    decoder: Component = slot("decoder", "MLPDecoder", "Token vector to one score per word.")
    objective: Literal["auto", "next-word", "both-directions", "masked", "unmasked"] = option(
        "auto",
        "What is predicted: the next word; `both-directions`: also the previous one, from the half of a"
        " vector that has not seen it; `masked`: words hidden in the input; `unmasked`: the next word, from"
        " vectors that have seen it. `auto` is what the directions of features and representation allow"
        " without a leak.",
    )
    mask_probability: float | None = option(
        None,
        "Share of the words of a row that `masked` predicts (at least one word); 0.15 if null.",
        above=0,
        maximum=1,
    )
    whole_words: bool = option(False, "Whole-word masking: `masked` hides all pieces of a word together.")
    head: Literal["decoder", "pretrained"] = option(
        "decoder",
        "Score words with `decoder`, or with the pretrained output layer of the featurizer; `decoder` is then"
        " not used.",
    )
    tie_weights: bool = option(
        False, "Score words with their embeddings; the decoder then has their width as output."
    )
    softmax: Literal["full", "sampled", "adaptive"] = option(
        "full",
        "Train with the `full` softmax, with an estimate of it from `sampled` words (evaluation is over all),"
        " or with an `adaptive` one, in which rare words have narrower vectors.",
    )
    samples: int | None = option(None, "Words sampled per step, with `sampled`; 1,024 if null.", minimum=1)
    cutoffs: list[int] | None = option(
        None,
        "Ranks by frequency at which the groups of `adaptive` begin; a tenth and a third of the vocabulary if"
        " null.",
        minimum=1,
    )
    rows: Literal["lines", "stream"] = option(
        "lines", "Whether a row is a line or a window of the stream of all lines."
    )
    max_tokens: int | None = option(
        None,
        "Maximum number of words that a row predicts; if null, 35 with `stream` and no limit with `lines`.",
        minimum=1,
    )
    long_lines: Literal["split", "truncate"] = option(
        "split", "Whether a line longer than `max_tokens` is split into several rows or truncated."
    )

    @property
    def columns(self) -> tuple[ColumnSpec, ...]:
        """`text`."""
        return (ColumnSpec("text"),)

    @property
    def metric(self) -> Metric:
        """Perplexity of the objective's predictions."""
        return Metric("perplexity", higher_is_better=False, minimum=1.0)

    @property
    def resolved_objective(self) -> Objective:
        """The objective, `auto` resolved."""
        if self.objective != "auto":
            return self.objective
        objective = DEFAULT_OBJECTIVES[self.representation.config.direction]
        if self.features.direction in READABLE_FEATURES[objective]:
            return objective
        return "next-word" if self.features.direction in READABLE_FEATURES["next-word"] else "masked"

    @property
    def token_featurizers(self) -> list[Component]:
        """The featurizers whose tokens can be predicted; one, if the config is right."""
        return [part for part in self.features.featurizers.values() if part.config.predicts_tokens]

    @property
    def row_tokens(self) -> int | None:
        """Maximum number of words that a row predicts; None if lines stay whole."""
        return self.max_tokens or (STREAM_TOKENS if self.rows == "stream" else None)

    def check(self) -> Iterator[Problem]:
        """Find an objective that would leak what it predicts, and settings without effect."""
        yield from self._check_objective()
        yield from self._check_features()
        yield from self._check_head()
        if self.softmax == "adaptive" and self.tie_weights:
            yield Problem(
                "tie_weights", "`tie_weights` needs the `softmax` full or sampled, but it is adaptive"
            )
        # Resolved configs of older runs contain the former default.
        if self.mask_probability not in (None, MASK_PROBABILITY) and self.resolved_objective != "masked":
            yield Problem(
                "mask_probability",
                f'`mask_probability` needs `objective` "masked", but it is {self.resolved_objective!r}',
            )
        if self.whole_words and self.resolved_objective != "masked":
            yield Problem(
                "whole_words",
                f'`whole_words` needs `objective` "masked", but it is {self.resolved_objective!r}',
            )
        elif self.whole_words and self.features.unit is Unit.WORD:
            yield Problem("whole_words", "`whole_words` needs features of pieces, but these are of words")
        if self.samples is not None and self.softmax != "sampled":
            yield Problem("samples", f'`samples` needs `softmax` "sampled", but it is {self.softmax!r}')
        if self.cutoffs is not None and self.softmax != "adaptive":
            yield Problem("cutoffs", f'`cutoffs` needs `softmax` "adaptive", but it is {self.softmax!r}')
        if self.cutoffs is not None and self.cutoffs != sorted(set(self.cutoffs)):
            yield Problem("cutoffs", f"`cutoffs` must increase, but is {self.cutoffs}")
        if self.long_lines == "truncate" and (self.rows == "stream" or self.max_tokens is None):
            needed = '`rows` "lines"' if self.rows == "stream" else "`max_tokens`"
            yield Problem("long_lines", f'`long_lines` "truncate" needs {needed}')

    def _check_objective(self) -> Iterator[Problem]:
        objective = self.resolved_objective
        declared = self.representation.config.direction
        readable = READABLE[objective]
        if declared not in readable:
            needed = " or ".join(direction.value for direction in readable)
            yield Problem(
                "objective",
                f"`objective` {objective!r} needs a representation that is {needed},"
                f" but {self.representation.name} here is {declared.value}: a vector has seen the word"
                " that it would predict",
                f"{DEFAULT_OBJECTIVES[declared]!r} works with it",
            )

    def _check_features(self) -> Iterator[Problem]:
        """Yield features without a vocabulary to predict, and those that show a word that is predicted."""
        featurizers = self.features.featurizers.values()
        if len(self.token_featurizers) != 1:
            names = ", ".join(part.name for part in featurizers) or "none"
            yield Problem(
                "features",
                "`features` must name one featurizer whose tokens can be predicted, such as word_feat,"
                f" but names {names}",
            )
            return
        [predicted] = self.token_featurizers
        objective = self.resolved_objective
        for part in featurizers:
            if part.config.direction not in READABLE_FEATURES[objective]:
                yield Problem(
                    f"features.{part.name}",
                    f"`objective` {objective!r} needs features that depend on"
                    f" {DEPENDS_ON[READABLE_FEATURES[objective]]}, but {part.name} is"
                    f" {part.config.direction.value}: a vector that {self.representation.path} reads has seen"
                    " the word that it would predict",
                    "remove it, or use another task's features",
                )
            elif objective == "masked" and part is not predicted:
                yield Problem(
                    f"features.{part.name}",
                    f"`objective` 'masked' hides words in {predicted.path} only, but {part.name} still shows"
                    " them",
                    "remove it, or use another task's features",
                )

    def _check_head(self) -> Iterator[Problem]:
        """Yield settings that do not fit a pretrained output layer."""
        if self.head != "pretrained":
            return
        if self.softmax != "full" or self.tie_weights:
            yield Problem("head", '`head` "pretrained" needs the full `softmax` without `tie_weights`')
        width = self.features.output_dim
        made = self.representation.config.output_dim(width)
        if made != width or self.resolved_objective == "both-directions":
            yield Problem(
                "head",
                f'`head` "pretrained" reads vectors of {width} numbers, those of the features,'
                f" but {self.representation.name} makes vectors of {made}",
            )


DEPENDS_ON: Mapping[tuple[Direction, ...], str] = {
    (Direction.ITSELF,): "their own word only",
    (Direction.ITSELF, Direction.CAUSAL): "their own word and those before it only",
}


@configclass
class WikiText2Config(DatasetConfig):
    """Verified good and featured articles of Wikipedia, rare words replaced by `<unk>`.

    Merity, Xiong, Bradbury and Socher, "Pointer Sentinel Mixture Models", ICLR 2017.
    """
