"""ngram_feat: words as bags of hashed n-grams, against a plain implementation."""

from __future__ import annotations

import subprocess
import sys
import zlib
from typing import Any

import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mtl import Builder, Ragged
from mtl_text import SPECIAL_TOKENS, NgramFeat, NgramFeatConfig
from mtl_text.ngrams import NONE_ID, NgramEmbedding

ROWS = st.lists(st.lists(st.text("abcé中x", min_size=1, max_size=9), max_size=5), max_size=5)


def featurizer(**options: Any) -> NgramFeat:
    return NgramFeat(NgramFeatConfig(**{"embed_dim": 4, "buckets": 50, **options}))


def column(made: NgramFeat, rows: list[list[str]]) -> Ragged:
    ngrams = made.encode(pl.Series(rows, dtype=pl.List(pl.String)))["ngrams"]
    assert isinstance(ngrams, Ragged)
    return ngrams


def plain(word: str, shortest: int, longest: int, buckets: int, most: int) -> list[int]:
    if word in SPECIAL_TOKENS or word == "<unk>":
        return [1 + zlib.crc32(word.encode()) % buckets]
    marked = "<" + word + ">"
    texts = [
        marked[i : i + n]
        for n in range(shortest, longest + 1)
        for i in range(len(marked))
        if i + n <= len(marked)
    ]
    return [1 + zlib.crc32(text.encode()) % buckets for text in (texts[:most] or [marked])]


@given(ROWS, st.integers(1, 4), st.integers(0, 3), st.integers(1, 12))
def test_ngrams_equal_a_plain_implementation(
    rows: list[list[str]], shortest: int, more: int, most: int
) -> None:
    made = featurizer(shortest=shortest, longest=shortest + more, max_ngrams=most)
    rows = [*rows, [*SPECIAL_TOKENS, "<unk>"]]
    encoded = column(made, rows)
    assert encoded.lengths.tolist() == [len(words) for words in rows]
    expected = [plain(word, shortest, shortest + more, 50, most) for words in rows for word in words]
    assert encoded.values.tolist() == [ngrams + [NONE_ID] * (most - len(ngrams)) for ngrams in expected]
    counts = [
        sum(max(len(word) + 2 - n + 1, 0) for n in range(shortest, shortest + more + 1))
        for words in rows
        for word in words
    ]
    share = sum(count > most for count in counts) / len(counts)
    assert made.report([pl.Series(rows, dtype=pl.List(pl.String))])["truncated"] == pytest.approx(share)


def test_a_word_is_the_mean_of_its_ngrams_and_padding_is_nothing() -> None:
    made = featurizer()
    module = made.build_embedding(Builder())
    assert isinstance(module, NgramEmbedding)
    encoded = column(made, [["film", "a"]]).values
    padded = torch.cat([encoded, torch.zeros_like(encoded[:1])])[None]
    vectors = module({"ngrams": padded})[0]
    for word, vector in zip(encoded, vectors, strict=False):
        rows = word[word != NONE_ID]
        torch.testing.assert_close(vector, module.bag.weight[rows].mean(0))
    assert not vectors[2].any()
    vectors.sum().backward()
    assert module.bag.weight.grad is not None and not module.bag.weight.grad[NONE_ID].any()


def test_unseen_words_share_what_they_have_in_common() -> None:
    made = featurizer(buckets=100_000)
    known, like, unlike = (set(made.ngrams(word)) for word in ("wonderful", "wonderfully", "dull"))
    assert len(known & like) > len(known) // 2 and not known & unlike


def test_rows_are_the_same_in_every_process() -> None:
    program = (
        "from mtl_text import NgramFeat, NgramFeatConfig; print(NgramFeat(NgramFeatConfig()).ngrams('film'))"
    )
    printed = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": seed, "PATH": ""},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert printed == {f"{NgramFeat(NgramFeatConfig()).ngrams('film')}\n"}


def test_sizes_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ValueError, match="`longest` must be at least 4"):
        NgramFeatConfig(shortest=4, longest=3)
