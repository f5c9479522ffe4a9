"""How text becomes words."""

from __future__ import annotations

from functools import lru_cache

import polars as pl

from mtl.components import Tokenizer

_CACHED_CHUNKS = 2**16


def split_words(text: pl.Series, tokenizer: Tokenizer = "whitespace") -> pl.Series:
    """Return the words of each text (`list[str]` per row), none of them empty.

    "whitespace" splits at Unicode whitespace; "unicode" also at the word boundaries of Unicode Standard
    Annex 29, as in `Don't | stop | .`, with each Chinese character a word; "characters" splits into
    what a reader takes for one character, a letter with its accents. Whitespace is never part of a word.
    """
    # Splitting at single spaces takes a third of the time, and most corpora are written that way.
    chunks = text.str.split(" ") if _has_single_spaces(text) else text.str.extract_all(r"\S+")
    if tokenizer == "whitespace":
        return chunks
    rows = [[word for chunk in row for word in _split_chunk(chunk, tokenizer)] for row in chunks.to_list()]
    return pl.Series(text.name, rows, dtype=pl.List(pl.String))


@lru_cache(_CACHED_CHUNKS)
def _split_chunk(chunk: str, tokenizer: Tokenizer) -> list[str]:
    """Return the words of a text without whitespace."""
    import regex

    if tokenizer == "characters":
        words: list[str] = regex.findall(r"\X", chunk)
    else:
        words = [word for word in regex.split(r"(?w)\b", chunk, flags=regex.VERSION1) if word]
    return words


def _has_single_spaces(text: pl.Series) -> bool:
    """Return whether each text consists of words with exactly one space between them."""
    if (text == "").any() or text.str.starts_with(" ").any() or text.str.ends_with(" ").any():
        return False
    if text.str.contains("  ", literal=True).any() or text.str.contains(r"[\t-\r]").any():
        return False
    # Searching for all of Unicode's whitespace is slow: only rows with more than ASCII need it.
    beyond_ascii = text.filter(text.str.len_bytes() != text.str.len_chars())
    return not beyond_ascii.str.contains(r"[^\S ]").any()
