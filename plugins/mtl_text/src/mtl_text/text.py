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
    if text.str.contains(r"^$|^ | $|  |[^\S ]").any():
        return text.str.extract_all(r"\S+")
    return text.str.split(" ")
