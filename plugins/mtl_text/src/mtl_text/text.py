"""The special tokens. Free of torch."""

from __future__ import annotations

PAD = "__PAD__"
"""Fills up a batch."""
UNK = "__UNK__"
"""Stands for every word that the vocabulary does not have."""
BOS = "__BOS__"
"""Begins a sequence."""
EOS = "__EOS__"
"""Ends a sequence."""
MASK = "__MASK__"
"""Stands for a word that a masked language model predicts."""

SPECIAL_TOKENS = (PAD, UNK, BOS, EOS, MASK)
"""The first rows of every vocabulary, so that tasks that share one agree on every row."""

PAD_ID, UNK_ID, BOS_ID, EOS_ID, MASK_ID = range(len(SPECIAL_TOKENS))
"""The ids of the special tokens."""

UNKNOWN_IN_TEXT = "<unk>"
"""How corpora such as WikiText write a rare word."""
