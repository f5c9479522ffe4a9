"""Vocabularies: which words there are, and the row of each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
from attrs import frozen

from mtl import DataError
from mtl_text.lines import bad_lines, read_lines
from mtl_text.text import SPECIAL_TOKENS, UNK_ID, UNKNOWN_IN_TEXT


class Vocabulary:
    """The special tokens, then `words`; a token's id is its place in `tokens`.

    With `lowercase` tokens are looked up in lower case, special ones as they are.
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
        """The id of each of `tokens` (`str`), as `Int32`; that of `UNK` for one that is not known."""
        looked_up = _lower(tokens) if self.lowercase else tokens
        codes = looked_up.cast(self._enum, strict=False).to_physical()
        return codes.cast(pl.Int32).fill_null(UNK_ID).alias("id")


@frozen
class WordList:
    """What a vocabulary file lists: its words in order, each once, lines that name none, and lines
    that name one again."""

    words: pl.Series
    idle_lines: int
    repeating_lines: int


def read_word_list(path: Path, *, lowercase: bool) -> WordList:
    """The words of a file: one a line, or a word, a tab and something that is not read.

    Raises `DataError` with file and line for a file that is missing, is no UTF-8, lists no words,
    or has a space within a word.
    """
    lines = read_lines(path)
    if lines.bad:
        raise bad_lines(lines, lines.bad).error(lines.last)
    first = pl.Series("word", lines.texts, dtype=pl.String).str.split("\t").list.first().str.strip_chars()
    spaced = first.str.contains(r"\s").arg_true()
    if len(spaced):
        number = int(spaced[0])
        raise DataError(
            f"{path}:{number + 1}: a line must be a word, or a word, a tab and a count,"
            f" but {first[number]!r} has a space"
        )
    listed = first.filter(first != "")
    named = _lower(listed) if lowercase else listed
    named = named.filter(_are_known(named))
    words = named.unique(maintain_order=True)
    if words.is_empty():
        raise DataError(f"{path}: a vocabulary file must list at least one word, but this one lists none")
    return WordList(words, len(first) - len(listed), len(named) - len(words))


def saved_words(state: Mapping[str, Any], name: str) -> list[str]:
    """The words that a featurizer saved under `name`. Raises `DataError` for what is no vocabulary."""
    words = state.get(name)
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise DataError(f"`{name}` must be a list of strings")
    if len({*SPECIAL_TOKENS, *words}) < len(SPECIAL_TOKENS) + len(words):
        raise DataError(f"`{name}` must differ from each other and from the special tokens")
    if any("\ud800" <= character <= "\udfff" for character in set().union(*words)):
        raise DataError(f"`{name}` must be text, but one has half a surrogate pair")
    return words


def count_tokens(corpora: Iterable[pl.Series], *, lowercase: bool = False) -> pl.DataFrame:
    """How often each token occurs in `corpora` (`list[str]` a row): columns `word` and `count`.

    Special tokens, and words that a corpus has left out itself, are not counted.
    """
    counts = pl.DataFrame(schema={"word": pl.String, "count": pl.Int64})
    for corpus in corpora:
        # What is done to words is done to each once, after they are counted.
        counted = flatten(corpus).alias("word").value_counts(name="count").cast({"count": pl.Int64})
        if lowercase:
            counted = counted.with_columns(_lower(counted["word"]))
        counted = counted.filter(_are_known(counted["word"]))
        counts = pl.concat([counts, counted]).group_by("word").agg(pl.col("count").sum())
    return counts


def most_frequent(words: pl.Series, counts: pl.DataFrame, size: int | None = None) -> list[str]:
    """The `size` words that occur most often, by `counts` (as from `count_tokens`), each once.

    The most frequent come first, and of two that are equally frequent the one first in code
    point order, so that the same data always gives the same rows.
    """
    counted = words.unique().alias("word").to_frame().join(counts, on="word", how="left")
    counted = counted.with_columns(pl.col("count").fill_null(0))
    ordered = counted.sort("count", "word", descending=[True, False])
    return ordered["word"].head(len(ordered) if size is None else size).to_list()


def flatten(tokens: pl.Series) -> pl.Series:
    """All tokens of all rows, in order; a row without tokens gives none."""
    return tokens.filter(tokens.list.len() > 0).explode()


def share(flags: Iterable[pl.Series]) -> float:
    """The share of true ones among all; 0 where there are none at all."""
    trues, count = 0, 0
    for each in flags:
        trues += int(each.sum())
        count += len(each)
    return trues / max(count, 1)


def _are_known(tokens: pl.Series) -> pl.Series:
    """False for special tokens, and for a word that the corpus left out itself."""
    return ~tokens.is_in([*SPECIAL_TOKENS, UNKNOWN_IN_TEXT])


def _lower(tokens: pl.Series) -> pl.Series:
    lowered = tokens.str.to_lowercase()
    special = tokens.is_in(SPECIAL_TOKENS)
    return tokens.zip_with(special, lowered) if special.any() else lowered
