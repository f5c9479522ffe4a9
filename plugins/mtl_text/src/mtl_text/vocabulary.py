"""Vocabularies: words and their ids."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
import polars as pl
from attrs import evolve, frozen

from mtl import DataError
from mtl_text.data_config import Normalization
from mtl_text.lines import bad_lines, read_lines
from mtl_text.text import SPECIAL_TOKENS, UNK_ID, UNKNOWN_IN_TEXT


class Vocabulary:
    """The special tokens, then `words`; a token's id is its position in `tokens`.

    With `lowercase`, tokens except special ones are looked up in lower case.
    """

    def __init__(self, words: Sequence[str], *, lowercase: bool = False) -> None:
        self.words = tuple(words)
        self.lowercase = lowercase
        self._enum = pl.Enum(self.tokens)

    @property
    def tokens(self) -> tuple[str, ...]:
        """Special tokens and words, in the order of their ids."""
        return SPECIAL_TOKENS + self.words

    def __len__(self) -> int:
        return len(SPECIAL_TOKENS) + len(self.words)

    def ids(self, tokens: pl.Series) -> pl.Series:
        """Return the id of each of `tokens` (`str`), as `Int32`; that of `UNK` for an unknown one."""
        looked_up = _lower(tokens) if self.lowercase else tokens
        codes = looked_up.cast(self._enum, strict=False).to_physical()
        return codes.cast(pl.Int32).fill_null(UNK_ID).alias("id")


@frozen
class WordList:
    """The contents of a vocabulary file: its words in order, each once, and the number of lines without a
    word and of lines that repeat one."""

    words: pl.Series
    idle_lines: int
    repeating_lines: int


def read_word_list(path: Path, *, lowercase: bool, normalization: Normalization) -> WordList:
    """Return the words of a file: one per line, optionally followed by a tab and text that is ignored.

    Raises `DataError` with file and line if the file is missing, is not UTF-8, lists no words, or has a
    space within a word.
    """
    lines = read_lines(path)
    if lines.bad:
        raise bad_lines(lines, lines.bad).error(lines.last)
    first = lines.texts.alias("word").str.split("\t").list.first().str.strip_chars()
    spaced = first.str.contains(r"\s").arg_true()
    if len(spaced):
        number = int(spaced[0])
        raise DataError(
            f"{path}:{number + 1}: a line must be a word, or a word, a tab and a count,"
            f" but {first[number]!r} has a space"
        )
    listed = normalize(first.filter(first != ""), normalization)
    named = _lower(listed) if lowercase else listed
    named = named.filter(_are_known(named))
    words = named.unique(maintain_order=True)
    if words.is_empty():
        raise DataError(f"{path}: a vocabulary file must list at least one word, but this one lists none")
    return WordList(words, len(first) - len(listed), len(named) - len(words))


def listed_words(words: Sequence[str], *, lowercase: bool, normalization: Normalization) -> pl.Series:
    """Return words of a file as a vocabulary has them; special tokens are left out."""
    named = normalize(pl.Series("word", words, dtype=pl.String), normalization)
    named = _lower(named) if lowercase else named
    return named.filter(_are_known(named) & (named != ""))


def saved_words(state: Mapping[str, Any], name: str) -> list[str]:
    """Return the words that a featurizer saved under `name`. Raises `DataError` for anything else."""
    words = state.get(name)
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise DataError(f"`{name}` must be a list of strings")
    if len({*SPECIAL_TOKENS, *words}) < len(SPECIAL_TOKENS) + len(words):
        raise DataError(f"`{name}` must differ from each other and from the special tokens")
    if any("\ud800" <= character <= "\udfff" for character in set().union(*words)):
        raise DataError(f"`{name}` must be text, but one has half a surrogate pair")
    return words


@frozen(eq=False)
class DistinctWords:
    """A column of words, with each distinct word once, so that work per word is done once.

    `words` are the distinct ones, `counts` how often each occurs (int64), and `places` the index in
    `words` of every word of every row, in order (int32).
    """

    words: pl.Series
    places: np.ndarray
    counts: np.ndarray

    @classmethod
    def of(cls, tokens: pl.Series) -> DistinctWords:
        """Return those of a column (`list[str]` per row)."""
        flat = flatten(tokens).cast(pl.Categorical)
        # In the type that NumPy indexes by: it would convert any other at each use.
        categories = flat.to_physical().to_numpy().astype(np.intp)
        # Polars numbers categories across all columns that exist at the time.
        counts = np.bincount(categories)
        present = counts.nonzero()[0]
        place_of = np.zeros(len(counts), dtype=np.int32)
        place_of[present] = np.arange(len(present), dtype=np.int32)
        where = np.zeros(len(counts), dtype=np.int32)
        where[categories] = np.arange(len(categories), dtype=np.int32)
        words = flat.gather(where[present]).cast(pl.String).alias("word")
        return cls(words, place_of[categories], counts[present])

    def spread(self, values: np.ndarray) -> pl.Series:
        """Return the value of each word of each row, given those of the distinct words."""
        return pl.Series(values[self.places])


class WordsOf:
    """Finds the distinct words of columns of words, in a Unicode normalization form.

    A column that it has seen before, and that still exists, is not searched again: what a featurizer is
    fitted to it often has to encode too.
    """

    def __init__(self, normalization: Normalization) -> None:
        self.normalization = normalization
        self._found: dict[int, DistinctWords] = {}

    def __call__(self, words: pl.Series) -> DistinctWords:
        key = id(words)
        if key not in self._found:
            found = DistinctWords.of(words)
            self._found[key] = evolve(found, words=normalize(found.words, self.normalization))
            weakref.finalize(words, self._found.pop, key).atexit = False
        return self._found[key]

    def state(self) -> dict[str, Any]:
        """Return the form, as JSON."""
        return {"normalization": self.normalization}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore the form; a run from before there was a choice did not normalize.

        Raises `DataError` for anything else.
        """
        form = state.get("normalization", "none")
        if form not in get_args(Normalization):
            raise DataError(f"`normalization` must be one of {', '.join(get_args(Normalization))}")
        self.normalization = form


def normalize(words: pl.Series, form: Normalization) -> pl.Series:
    """Return words in a Unicode normalization form."""
    if form == "none" or not (words.str.len_bytes() != words.str.len_chars()).any():
        return words
    return words.str.normalize(form)


def count_tokens(corpora: Iterable[DistinctWords], *, lowercase: bool = False) -> pl.DataFrame:
    """Return how often each word occurs in `corpora`: columns `word` and `count`.

    Special tokens and `<unk>` are not counted.
    """
    counts = pl.DataFrame(schema={"word": pl.String, "count": pl.Int64})
    for corpus in corpora:
        counted = pl.DataFrame({"word": corpus.words, "count": corpus.counts})
        if lowercase:
            counted = counted.with_columns(_lower(counted["word"]))
        counted = counted.filter(_are_known(counted["word"]))
        counts = pl.concat([counts, counted]).group_by("word").agg(pl.col("count").sum())
    return counts


def most_frequent(words: pl.Series, counts: pl.DataFrame, size: int | None = None) -> list[str]:
    """Return the `size` most frequent words by `counts` (from `count_tokens`), each once, most frequent
    first.

    Ties are in code point order, so that the same data always gives the same rows.
    """
    counted = words.unique().alias("word").to_frame().join(counts, on="word", how="left")
    counted = counted.with_columns(pl.col("count").fill_null(0))
    if size is not None and size < len(counted):
        # Most words of a corpus are rare and need not be sorted.
        counted = counted.filter(pl.col("count") >= counted["count"].top_k(size).min())
    ordered = counted.sort("count", "word", descending=[True, False])["word"]
    return ordered.head(len(ordered) if size is None else size).to_list()


def flatten(tokens: pl.Series) -> pl.Series:
    """Return all items of all rows, in order."""
    return tokens.filter(tokens.list.len() > 0).explode()


def share(parts: Iterable[tuple[np.ndarray, np.ndarray]]) -> float:
    """Return the weighted share of true flags over parts of (flags, weights); 0 without any."""
    trues, total = 0, 0
    for flags, counts in parts:
        trues += int(counts[flags].sum())
        total += int(counts.sum())
    return trues / max(total, 1)


def _are_known(tokens: pl.Series) -> pl.Series:
    """Return False for special tokens and `<unk>`."""
    return ~tokens.is_in([*SPECIAL_TOKENS, UNKNOWN_IN_TEXT])


def _lower(tokens: pl.Series) -> pl.Series:
    lowered = tokens.str.to_lowercase()
    special = tokens.is_in(SPECIAL_TOKENS)
    return tokens.zip_with(special, lowered) if special.any() else lowered
