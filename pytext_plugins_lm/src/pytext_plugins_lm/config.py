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
    configclass,
    option,
    slot,
)

Objective = Literal["next-word", "both-directions", "masked", "unmasked"]

DEFAULT_OBJECTIVES: Mapping[Direction, Objective] = {
    Direction.CAUSAL: "next-word",
    Direction.SPLIT: "both-directions",
    Direction.BIDIRECTIONAL: "masked",
}
READABLE: Mapping[Objective, tuple[Direction, ...]] = {
    "next-word": (Direction.CAUSAL, Direction.SPLIT),
    "both-directions": (Direction.SPLIT,),
    "masked": tuple(Direction),
    "unmasked": tuple(Direction),
}
MASK_PROBABILITY = 0.15
STREAM_TOKENS = 35
SAMPLES = 1024


@configclass
class LMTaskConfig(TaskConfig):
    """Predicts the words of a text."""

    default_features: ClassVar[tuple[str, ...]] = ("word_feat",)

    batch_size: int = option(8, "Rows a batch.", minimum=1)
    data: Component = slot("data_source", "TextLines", "Where the lines are; they have `text`.")
    representation: Component = slot(
        "representation", "BiLSTM", "Tokens to a vector a token.", output=Output.SEQUENCE
    )
    decoder: Component = slot("decoder", "MLPDecoder", "A token's vector to one score a word.")
    objective: Literal["auto", "next-word", "both-directions", "masked", "unmasked"] = option(
        "auto",
        "What is predicted: the next word; with `both-directions` also the previous one, from the half"
        " of a vector that has not seen it; with `masked` words hidden from the input; with `unmasked`"
        " the next word from vectors that have seen it. `auto` is the first of these that the"
        " representation's direction allows without a leak.",
    )
    mask_probability: float | None = option(
        None,
        "Share of a row's words that `masked` predicts, at least one; 0.15 if absent.",
        above=0,
        maximum=1,
    )
    tie_weights: bool = option(
        False, "Score words with their embeddings, to whose width the decoder then leads."
    )
    softmax: Literal["full", "sampled", "adaptive"] = option(
        "full",
        "Learn the probabilities over all words; or over the word itself and some that are drawn in each"
        " step, which estimates the same, and is evaluated over all; or, another model, over groups of"
        " words of like frequency, with narrower vectors for the rare ones.",
    )
    samples: int | None = option(None, "Words drawn a step, with `sampled`; 1,024 if absent.", minimum=1)
    cutoffs: list[int] | None = option(
        None,
        "Where the groups begin, by the rank of their most frequent word, with `adaptive`; at a tenth and a"
        " third of the words if absent.",
        minimum=1,
    )
    rows: Literal["lines", "stream"] = option(
        "lines", "A row is a line, or a window of the stream of all lines, one after another."
    )
    max_tokens: int | None = option(
        None, "Tokens a row predicts at most; 35 where rows are windows, else no limit.", minimum=1
    )
    long_lines: Literal["split", "truncate"] = option(
        "split", "A line over `max_tokens` becomes several rows, or loses its end."
    )

    @property
    def columns(self) -> tuple[ColumnSpec, ...]:
        """`text`."""
        return (ColumnSpec("text"),)

    @property
    def metric(self) -> Metric:
        """Perplexity, of the predictions that the objective makes."""
        return Metric("perplexity", higher_is_better=False)

    @property
    def resolved_objective(self) -> Objective:
        """The objective, `auto` resolved."""
        if self.objective != "auto":
            return self.objective
        return DEFAULT_OBJECTIVES[self.representation.config.direction]

    @property
    def row_tokens(self) -> int | None:
        """Tokens a row predicts at most; None where lines stay whole."""
        return self.max_tokens or (STREAM_TOKENS if self.rows == "stream" else None)

    def check(self) -> Iterator[Problem]:
        """An objective that would see what it predicts, and settings that would do nothing."""
        yield from self._check_objective()
        yield from self._check_features()
        if self.softmax == "adaptive" and self.tie_weights:
            yield Problem(
                "tie_weights", "`tie_weights` needs the `softmax` full or sampled, but it is adaptive"
            )
        # The former default stands in the resolved configs of runs that were made with it.
        if self.mask_probability not in (None, MASK_PROBABILITY) and self.resolved_objective != "masked":
            yield Problem(
                "mask_probability",
                f'`mask_probability` needs `objective` "masked", but it is {self.resolved_objective!r}',
            )
        if self.samples is not None and self.softmax != "sampled":
            yield Problem("samples", f'`samples` needs `softmax` "sampled", but it is {self.softmax!r}')
        if self.cutoffs is not None and self.softmax != "adaptive":
            yield Problem("cutoffs", f'`cutoffs` needs `softmax` "adaptive", but it is {self.softmax!r}')
        if self.cutoffs is not None and self.cutoffs != sorted(set(self.cutoffs)):
            yield Problem("cutoffs", f"`cutoffs` must rise, but is {self.cutoffs}")
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
        names = list(self.features.featurizers)
        if "word_feat" not in names:
            yield Problem(
                "features",
                "`features` must name word_feat, whose words are predicted,"
                f" but names {', '.join(names) or 'none'}",
            )
        others = [name for name in names if name != "word_feat"]
        if self.resolved_objective == "masked" and others:
            yield Problem(
                "features",
                "`features` must be word_feat alone where words are masked, as the others still show the"
                f" word, but names {', '.join(others)} as well",
            )


@configclass
class WikiText2Config(DatasetConfig):
    """Verified good and featured articles of Wikipedia, rare words replaced by `<unk>`.

    Merity, Xiong, Bradbury and Socher, "Pointer Sentinel Mixture Models", ICLR 2017.
    """
