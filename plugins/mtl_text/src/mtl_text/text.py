"""The special tokens. Free of torch."""

from __future__ import annotations

PAD = "__PAD__"
UNK = "__UNK__"
BOS = "__BOS__"
EOS = "__EOS__"
MASK = "__MASK__"

SPECIAL_TOKENS = (PAD, UNK, BOS, EOS, MASK)
"""The first rows of every vocabulary, so that tasks that share one agree on every row."""

PAD_ID, UNK_ID, BOS_ID, EOS_ID, MASK_ID = range(len(SPECIAL_TOKENS))

UNKNOWN_IN_TEXT = "<unk>"
"""How corpora such as WikiText write a rare word."""
