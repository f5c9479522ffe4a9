"""How text becomes words."""

from __future__ import annotations

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from mtl import split_words

MOSTLY_SPACES = st.text(alphabet=" ab\t\x0b\x85\xa0\u2003\u3000é", max_size=8)


@given(texts=st.lists(MOSTLY_SPACES | st.text(), max_size=4))
def test_words_stand_between_whitespace_of_any_kind(texts: list[str]) -> None:
    separators = "\x1c\x1d\x1e\x1f"  # whitespace to Python alone: Unicode's White_Space has none of them
    texts = ["".join(c for c in text if c not in separators) for text in texts]
    assert split_words(pl.Series(texts, dtype=pl.String)).to_list() == [text.split() for text in texts]
