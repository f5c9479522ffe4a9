"""Tokens: how text becomes words, and which words are special. Free of torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

PAD = "__PAD__"
UNK = "__UNK__"
BOS = "__BOS__"
EOS = "__EOS__"
MASK = "__MASK__"

SPECIAL_TOKENS = (PAD, UNK, BOS, EOS, MASK)
"""The first rows of every vocabulary, whoever uses it: two users never see shifted rows."""

PAD_ID, UNK_ID, BOS_ID, EOS_ID, MASK_ID = range(len(SPECIAL_TOKENS))

UNKNOWN_IN_TEXT = "<unk>"
"""How corpora such as WikiText write a word that they left out."""


def split_words(text: pl.Series) -> pl.Series:
    """The words of each text (`list[str]`): what stands between Unicode whitespace, never empty."""
    # To split at single spaces takes a third of the time, and most corpora are written so.
    return text.str.split(" ") if _has_single_spaces(text) else text.str.extract_all(r"\S+")


def _has_single_spaces(text: pl.Series) -> bool:
    """Whether in each text there is nothing but single spaces between words, and nothing around them."""
    if (text == "").any() or text.str.starts_with(" ").any() or text.str.ends_with(" ").any():
        return False
    if text.str.contains("  ", literal=True).any() or text.str.contains(r"[\t-\r]").any():
        return False
    # The whole of Unicode is looked for only where there is more than ASCII: that takes long.
    beyond_ascii = text.filter(text.str.len_bytes() != text.str.len_chars())
    return not beyond_ascii.str.contains(r"[^\S ]").any()
