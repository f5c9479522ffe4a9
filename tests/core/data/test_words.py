"""How text becomes words."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtl import split_words

MOSTLY_SPACES = st.text(alphabet=" ab\t\x0b\x85\xa0\u2003\u3000é", max_size=8)


@given(texts=st.lists(MOSTLY_SPACES | st.text(), max_size=4))
def test_words_stand_between_whitespace_of_any_kind(texts: list[str]) -> None:
    separators = "\x1c\x1d\x1e\x1f"  # whitespace to Python alone: Unicode's White_Space has none of them
    texts = ["".join(c for c in text if c not in separators) for text in texts]
    assert split_words(pl.Series(texts, dtype=pl.String)).to_list() == [text.split() for text in texts]


def split(text: str, tokenizer: Any) -> list[str]:
    [words] = split_words(pl.Series([text]), tokenizer).to_list()
    return list(words)


@given(text=st.text(), tokenizer=st.sampled_from(["unicode", "characters"]))
def test_finer_splits_lose_nothing_and_cut_words_further(text: str, tokenizer: Any) -> None:
    words = split(text, "whitespace")
    finer = split(text, tokenizer)
    assert all(finer)
    assert "".join(finer) == "".join(words)
    ends, finer_ends = (
        {len("".join(parts[:count])) for count in range(len(parts) + 1)} for parts in (words, finer)
    )
    assert ends <= finer_ends


@pytest.mark.parametrize(
    ("text", "words", "characters"),
    [
        ("Don't stop, 3.14!", ["Don't", "stop", ",", "3.14", "!"], [*"Don'tstop,3.14!"]),
        ("我喜欢。", [*"我喜欢。"], [*"我喜欢。"]),
        ("カタカナ 한국어", ["カタカナ", "한국어"], [*"カタカナ한국어"]),
        ("cafe\u0301 👩‍👧", ["cafe\u0301", "👩‍👧"], ["c", "a", "f", "e\u0301", "👩‍👧"]),
    ],
)
def test_words_and_characters_of_unicode(text: str, words: list[str], characters: list[str]) -> None:
    assert split(text, "unicode") == words
    assert split(text, "characters") == characters
