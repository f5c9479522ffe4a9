"""Configs. Free of torch."""

from __future__ import annotations

from typing import ClassVar, Literal

from attrs import Factory
from mtl import (
    ColumnSpec,
    Component,
    DatasetConfig,
    DataSourceConfig,
    Metric,
    Output,
    TaskConfig,
    Unit,
    configclass,
    option,
    slot,
)


@configclass
class WordTaggingTaskConfig(TaskConfig):
    """One tag per word: O outside of spans, and in them B, I, E or S with the span's type.

    IOB2, IOB1 and IOBES are read as they come: see `mtl_tagging.spans`.
    """

    default_features: ClassVar[tuple[str, ...]] = ("word_feat",)

    data: Component = slot("data_source", "TaggedLines", "Rows with `text` and `tags`, one tag per word.")
    representation: Component = slot(
        "representation", "BiLSTM", "Words to one vector per word.", output=Output.SEQUENCE
    )
    decoder: Component = slot("decoder", "MLPDecoder", "A word's vector to one score per tag.")
    head: Literal["crf", "softmax"] = option(
        "crf", "Whether a sentence's tags are scored together, with their order (`crf`), or each alone."
    )

    @property
    def accepts(self) -> tuple[Unit, ...]:
        """A tag needs the vector of its word."""
        return (Unit.WORD,)

    @property
    def columns(self) -> tuple[ColumnSpec, ...]:
        """`text`, the words, and the target `tags`, one for each of them."""
        return ColumnSpec("text"), ColumnSpec("tags", input=False)

    @property
    def metric(self) -> Metric:
        """The F1 of whole spans."""
        return Metric("span_f1", higher_is_better=True, minimum=0.0, maximum=1.0)


@configclass
class CoNLLConfig(DataSourceConfig):
    """One word per line with its columns, a blank line after each sentence; quotes have no meaning.

    Columns are separated by tabs if a line has one, else by spaces. Lines of `-DOCSTART-`, which begin
    documents, are left out and counted by `mtl plan`.
    """

    columns: dict[str, int] = option(
        Factory(dict),
        "Where each of the task's columns is, counted from 0, or from the last one back as -1, -2 and so on;"
        " `text`, the words, is the first and `tags` the last if absent.",
    )


@configclass
class MadeUpNamesConfig(DatasetConfig):
    """Sentences with names of people, places and companies, made by a grammar.

    There is nothing to fetch: `mtl data sample` writes it.
    """
