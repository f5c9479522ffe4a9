"""How text becomes words."""

from __future__ import annotations

import polars as pl

from mtl.components import Tokenizer


def split_words(text: pl.Series, tokenizer: Tokenizer = "whitespace") -> pl.Series:
    """Return the words of each text (`list[str]` per row), none of them empty.

    "whitespace" splits at Unicode whitespace.
    """
    # Splitting at single spaces takes a third of the time, and most corpora are written that way.
    return text.str.split(" ") if _has_single_spaces(text) else text.str.extract_all(r"\S+")


def _has_single_spaces(text: pl.Series) -> bool:
    """Whether each text consists of words with exactly one space between them."""
    if (text == "").any() or text.str.starts_with(" ").any() or text.str.ends_with(" ").any():
        return False
    if text.str.contains("  ", literal=True).any() or text.str.contains(r"[\t-\r]").any():
        return False
    # Searching for all of Unicode's whitespace is slow: only rows with more than ASCII need it.
    beyond_ascii = text.filter(text.str.len_bytes() != text.str.len_chars())
    return not beyond_ascii.str.contains(r"[^\S ]").any()
