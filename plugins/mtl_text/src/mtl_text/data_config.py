"""Configs of the featurizers and data sources. Free of torch."""

from __future__ import annotations

import codecs
from typing import Any, ClassVar, Literal

from attrs import Factory

from mtl import ColumnType, DataSourceConfig, FeaturizerConfig, InputPath, Tokenizer, configclass, option

Normalization = Literal["NFC", "NFKC", "none"]


def _tokenizer() -> Any:
    return option(
        None,
        "How text is split into words: at `whitespace`, at `unicode` word boundaries as well, or into"
        " `characters`, as for languages without spaces; if null, as another featurizer of the block says, or"
        " at whitespace.",
    )


def _normalization() -> Any:
    return option(
        "NFC",
        "Unicode normalization form of words: an accented letter is the same letter whether it is one code"
        " point or two (NFC); also without variants such as ligatures and full-width forms (NFKC).",
    )


@configclass
class WordFeatConfig(FeaturizerConfig):
    """One vector per word: a row of an embedding.

    The vocabulary consists of the words of `vocab_file` and, with `vocab_from_train_data`, those in the
    training data of all tasks that share the features. Special tokens come first and do not count.
    """

    embed_dim: int = option(100, "Width of a word vector.", minimum=1)
    vocab_file: InputPath | None = option(
        None, "Vocabulary file with one word per line; what follows a tab, such as a count, is ignored."
    )
    vocab_size: int | None = option(
        None,
        "Keep only this many words, the most frequent in the training data.",
        minimum=1,
    )
    vocab_from_train_data: bool = option(
        True, "Take words from the training data, besides those of `vocab_file`."
    )
    min_count: int = option(
        1, "Take only words that occur at least this often in the training data.", minimum=1
    )
    lowercase: bool = option(True, "Read words in lower case.")
    tokenizer: Tokenizer | None = _tokenizer()
    normalization: Normalization = _normalization()
    vectors_file: InputPath | None = option(
        None,
        "File with pretrained vectors, `embed_dim` wide, from which the embedding starts: text of GloVe,"
        " fastText or word2vec, word2vec's binary format, or a NumPy array. A word that it lacks starts at"
        " random, distributed as its vectors. Train or `freeze` them.",
    )
    vectors_words: InputPath | None = option(
        None, "The words of a NumPy array in `vectors_file`, one per line in the order of its rows."
    )
    vocab_from_vectors: int = option(
        0, "Also take the first N words of `vectors_file`, its most frequent ones.", minimum=0
    )
    init_range: float | None = option(
        None,
        "Initialize uniformly between minus and plus this value; standard normal if absent.",
        above=0,
    )
    rare_word_dropout: float = option(
        0.0,
        "In training, replace a word that occurs n times in the training data by the unknown word with"
        " probability a / (a + n), where a is this value.",
        minimum=0,
    )

    def __attrs_post_init__(self) -> None:
        listed = self.vocab_file is not None or self.vocab_from_vectors
        if not listed and not self.vocab_from_train_data:
            raise ValueError("`vocab_from_train_data` must be true without a `vocab_file`, but is false")
        for name in ("vectors_words", "vocab_from_vectors"):
            if getattr(self, name) and self.vectors_file is None:
                raise ValueError(f"`{name}` needs a `vectors_file`")
        if self.vectors_file is not None and self.init_range is not None:
            raise ValueError("`init_range` and `vectors_file` exclude each other")

    @property
    def predicts_tokens(self) -> bool:
        """A language model can predict the words."""
        return True

    @property
    def output_dim(self) -> int:
        """Width of a word's vector."""
        return self.embed_dim


@configclass
class CharFeatConfig(FeaturizerConfig):
    """One vector per word from its characters: convolutions of several widths, then the maximum.

    Kim, Jernite, Sontag and Rush, "Character-Aware Neural Language Models", AAAI 2016, without its
    highway layers.
    """

    embed_dim: int = option(100, "Width of a character vector.", minimum=1)
    kernel_sizes: list[int] = option(
        Factory(lambda: [3, 4]),
        "Width of each convolution, in characters.",
        minimum=1,
    )
    kernel_num: int = option(100, "Filters per convolution.", minimum=1)
    max_word_length: int = option(20, "Characters of a word that are read; the rest is cut off.", minimum=1)
    min_count: int = option(
        1, "Keep only characters that occur at least this often in the training data.", minimum=1
    )
    tokenizer: Tokenizer | None = _tokenizer()
    normalization: Normalization = _normalization()

    def __attrs_post_init__(self) -> None:
        if not self.kernel_sizes:
            raise ValueError("`kernel_sizes` must name at least one size, but is empty")
        for size in self.kernel_sizes:
            if size > self.max_word_length:
                raise ValueError(
                    f"`kernel_sizes` must be at most {self.max_word_length} (`max_word_length`), not {size}"
                )

    @property
    def output_dim(self) -> int:
        """Width of a word's vector: all filters of all convolutions."""
        return self.kernel_num * len(self.kernel_sizes)


@configclass
class NgramFeatConfig(FeaturizerConfig):
    """One vector per word from its hashed character n-grams.

    Bojanowski et al., "Enriching Word Vectors with Subword Information", TACL 2017.
    """

    embed_dim: int = option(100, "Width of a word's vector.", minimum=1)
    shortest: int = option(
        3, "Characters of the shortest n-grams, including the marks at a word's ends.", minimum=1
    )
    longest: int = option(5, "Characters of the longest n-grams.", minimum=1)
    buckets: int = option(20000, "Rows that n-grams are hashed into.", minimum=1)
    max_ngrams: int = option(24, "N-grams of a word that are read, short ones first.", minimum=1)
    tokenizer: Tokenizer | None = _tokenizer()
    normalization: Normalization = _normalization()

    def __attrs_post_init__(self) -> None:
        if self.longest < self.shortest:
            raise ValueError(
                f"`longest` must be at least {self.shortest} (`shortest`), but is {self.longest}"
            )

    @property
    def output_dim(self) -> int:
        """Width of a word's vector."""
        return self.embed_dim


@configclass
class LineSourceConfig(DataSourceConfig):
    """One row per line.

    Files may be compressed with gzip, bzip2, xz or zstd, or be the only file in a zip archive.
    """

    encoding: str = option("utf-8", "Encoding of the text, such as `cp1252`, `utf-16` or `gb18030`.")

    def __attrs_post_init__(self) -> None:
        try:
            "".encode(self.encoding)
            codecs.getincrementaldecoder(self.encoding)
        except (LookupError, ValueError):
            raise ValueError(
                f"`encoding` must be a text encoding that Python knows, but is {self.encoding!r}"
            ) from None


@configclass
class TableConfig(LineSourceConfig):
    """Rows of cells.

    Columns are found by `columns`, or else by the header's names (`text` or `sentence`, `label`), or
    else by position, in the order in which the task reads them, if there are as many.
    """

    columns: dict[str, str | int] = option(
        Factory(dict), "Where each of the task's columns is: a name in the header, or a position from 0."
    )
    header: Literal["auto", "yes", "no"] = option(
        "auto", "Whether the first line names the columns; `auto` looks for a name that the task reads."
    )
    list_separator: str = option(",", "The text between two items of a list within a cell.")

    @property
    def column_types(self) -> frozenset[ColumnType]:
        """All; numbers and lists are read from text."""
        return frozenset(ColumnType)

    def __attrs_post_init__(self) -> None:
        LineSourceConfig.__attrs_post_init__(self)
        if not self.list_separator:
            raise ValueError("`list_separator` must be text, but is empty")
        check_distinct(self.columns)
        for name, place in self.columns.items():
            if isinstance(place, int) and place < 0:
                raise ValueError(f"`columns.{name}` must be a position from 0, but is {place}")
            if isinstance(place, str) and self.header == "no":
                raise ValueError(f"`columns.{name}` must be a position without a header, but is {place!r}")


@configclass
class TSVConfig(TableConfig):
    """One row per line, with cells separated by tabs; columns are found as in any table.

    Lines of fastText (`__label__x text`) are recognised.
    """

    endings: ClassVar[tuple[str, ...]] = (".tsv", ".tab")

    quotes: Literal["auto", "text"] = option(
        "auto", "`auto` refuses a table with cells in double quotes, as in CSV; `text` reads quotes as text."
    )
    delimiter: str = option("\t", "The text between two columns.")

    def __attrs_post_init__(self) -> None:
        TableConfig.__attrs_post_init__(self)
        if not self.delimiter or "\n" in self.delimiter or "\r" in self.delimiter:
            raise ValueError(f"`delimiter` must be text without line breaks, but is {self.delimiter!r}")


@configclass
class JSONLConfig(LineSourceConfig):
    """One JSON object per line."""

    endings: ClassVar[tuple[str, ...]] = (".jsonl", ".ndjson")

    columns: dict[str, str] = option(
        Factory(dict),
        "The key of each of the task's columns in the objects, dotted for one within an object or for one of"
        " each object of a list; `text` (or `sentence`) and `label` if absent.",
    )

    @property
    def column_types(self) -> frozenset[ColumnType]:
        """All."""
        return frozenset(ColumnType)

    def __attrs_post_init__(self) -> None:
        LineSourceConfig.__attrs_post_init__(self)
        check_distinct(self.columns)


@configclass
class TextLinesConfig(LineSourceConfig):
    """Plain text with one row per line; lines without a word are skipped."""

    endings: ClassVar[tuple[str, ...]] = (".txt", ".tokens")


def check_distinct(columns: dict[str, str | int] | dict[str, str]) -> None:
    """Raise `ValueError` if two columns are said to be in one place."""
    places = list(columns.values())
    for name, place in columns.items():
        if places.count(place) > 1:
            raise ValueError(f"`columns.{name}` must differ from the others, but {place!r} is there twice")
