"""What is done to words is done to each once, with the figures of doing it to every token."""

from __future__ import annotations

import gc
from collections import Counter
from unittest import mock

import polars as pl
import torch
from hypothesis import given
from hypothesis import strategies as st

from mtl import Featurizer
from mtl_text.data_config import CharFeatConfig, NgramFeatConfig, WordFeatConfig
from mtl_text.featurizers import CharFeat, WordFeat
from mtl_text.ngrams import NgramFeat
from mtl_text.text import BOS, SPECIAL_TOKENS, UNK_ID, UNKNOWN_IN_TEXT
from mtl_text.vocabulary import DistinctWords, WordsOf, count_tokens, most_frequent

WORDS = st.sampled_from(["a", "A", "b", "B", "Ångström", "ångström", "z", "naïve", BOS, UNKNOWN_IN_TEXT])
ROWS = st.lists(st.lists(WORDS, max_size=6), max_size=8)


def column(rows: list[list[str]]) -> pl.Series:
    return pl.Series(rows, dtype=pl.List(pl.String))


@given(rows=ROWS, others=ROWS)
def test_words_counts_and_places_are_those_of_the_tokens(
    rows: list[list[str]], others: list[list[str]]
) -> None:
    before = DistinctWords.of(column(others))  # whose words polars has numbered already
    found = DistinctWords.of(column(rows))
    tokens = [token for row in rows for token in row]
    assert found.words.gather(found.places).to_list() == tokens
    assert dict(zip(found.words, found.counts.tolist(), strict=True)) == Counter(tokens)
    assert before.counts.sum() == sum(map(len, others))


@given(corpora=st.lists(ROWS, max_size=3), lowercase=st.booleans(), size=st.integers(1, 9) | st.none())
def test_a_vocabulary_is_what_counting_every_token_gives(
    corpora: list[list[list[str]]], lowercase: bool, size: int | None
) -> None:
    tokens = [token for rows in corpora for row in rows for token in row]
    named = [token if token in SPECIAL_TOKENS or not lowercase else token.lower() for token in tokens]
    expected = Counter(token for token in named if token not in (*SPECIAL_TOKENS, UNKNOWN_IN_TEXT))
    counts = count_tokens((DistinctWords.of(column(rows)) for rows in corpora), lowercase=lowercase)
    assert dict(counts.iter_rows()) == expected
    words = pl.concat([counts["word"], pl.Series("word", ["unseen"])])
    ordered = sorted([*expected, "unseen"], key=lambda word: (-expected[word], word))
    assert most_frequent(words, counts, size) == ordered[:size]


@given(rows=ROWS.filter(any), lowercase=st.booleans(), size=st.integers(1, 4))
def test_ids_and_the_share_of_unknown_words_are_those_of_a_lookup_of_each_token(
    rows: list[list[str]], lowercase: bool, size: int
) -> None:
    featurizer = WordFeat(WordFeatConfig(vocab_size=size, lowercase=lowercase))
    featurizer.fit({"task": [column([*rows, ["seen"]])]})
    row_of = {token: row for row, token in enumerate(featurizer.vocabulary.tokens)}
    named = [t if t in SPECIAL_TOKENS or not lowercase else t.lower() for row in rows for t in row]
    expected = [row_of.get(token, UNK_ID) for token in named]
    tokens = column(rows)
    for _ in range(2):  # anew, and known
        ids = featurizer.encode(tokens)["ids"].values
        assert ids.dtype == torch.int32 and ids.tolist() == expected
        words = [token for token in named if token not in SPECIAL_TOKENS]
        unknown = sum(token not in row_of for token in words) / max(len(words), 1)
        assert featurizer.report([tokens]) == {"unknown": unknown}


def test_other_words_give_other_ids_of_tokens_that_were_encoded_before() -> None:
    featurizer, tokens = WordFeat(WordFeatConfig()), column([["a", "b"]])
    featurizer.load_state({"words": ["a", "b"]})
    assert featurizer.encode(tokens)["ids"].values.tolist() == [5, 6]
    featurizer.load_state({"words": ["b", "a"]})
    assert featurizer.encode(tokens)["ids"].values.tolist() == [6, 5]


def test_tokens_are_looked_at_once_and_forgotten_when_they_are_gone() -> None:
    featurizers: list[Featurizer[object]] = [
        WordFeat(WordFeatConfig()),
        CharFeat(CharFeatConfig()),
        NgramFeat(NgramFeatConfig()),
    ]
    for featurizer in featurizers:
        tokens = column([["a", "b"], ["a"]])
        with mock.patch.object(DistinctWords, "of", wraps=DistinctWords.of) as of:
            featurizer.fit({"task": [tokens]})
            featurizer.encode(tokens)
            featurizer.report([tokens])
        assert of.call_count == 1
    words_of, tokens = WordsOf("none"), column([["a"]])
    words_of(tokens)
    assert len(words_of._found) == 1
    del tokens
    gc.collect()
    assert not words_of._found
