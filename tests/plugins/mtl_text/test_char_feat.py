"""char_feat: words as characters, and the CNN against a plain one."""

from __future__ import annotations

import json
from typing import Any

import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mtl import Builder, Ragged
from mtl_text import BOS, EOS, PAD, SPECIAL_TOKENS, UNK, CharFeat, CharFeatConfig
from mtl_text.featurizers import CharEmbedding

quick = settings(deadline=None, max_examples=60)
ROWS = st.lists(st.lists(st.text("abcé中x", min_size=1, max_size=9), max_size=5), max_size=5)


def featurizer(rows: list[list[str]], **options: Any) -> CharFeat:
    made = CharFeat(CharFeatConfig(**{"max_word_length": 6, "embed_dim": 4, "kernel_num": 3, **options}))
    made.fit({"A": [pl.Series(rows, dtype=pl.List(pl.String))]})
    return made


def column(featurizer: CharFeat, rows: list[list[str]]) -> Ragged:
    characters = featurizer.encode(pl.Series(rows, dtype=pl.List(pl.String)))["characters"]
    assert isinstance(characters, Ragged)
    return characters


def embedding(featurizer: CharFeat) -> CharEmbedding:
    torch.manual_seed(0)
    module = featurizer.build_embedding(Builder())
    assert isinstance(module, CharEmbedding)
    return module.double()


def embed(module: CharEmbedding, words: Tensor) -> Tensor:
    """`[words, max_word_length]` as one row."""
    return module({"characters": words[None]})[0]


@quick
@given(ROWS, ROWS)
def test_characters_equal_a_plain_implementation(rows: list[list[str]], unseen: list[list[str]]) -> None:
    made = featurizer(rows)
    row = {token: i for i, token in enumerate(made.vocabulary.tokens)}
    expected = [
        [row.get(character, 1) for character in word[:6]] + [0] * (6 - len(word[:6]))
        for words in unseen
        for word in words
    ]
    encoded = column(made, unseen)
    assert encoded.values.shape == (len(expected), 6)
    assert encoded.values.dtype == torch.int16
    assert encoded.values.tolist() == expected
    assert encoded.lengths.tolist() == [len(words) for words in unseen]
    assert set(made.vocabulary.words) == {character for words in rows for word in words for character in word}
    loaded = CharFeat(made.config)
    loaded.load_state(json.loads(json.dumps(made.state())))
    assert torch.equal(column(loaded, unseen).values, encoded.values)


def test_special_tokens_are_single_and_never_spelled_out() -> None:
    made = featurizer([[BOS, "ab", "<unk>", EOS]])
    assert set(made.vocabulary.words) == {"a", "b"}
    characters = column(made, [[*SPECIAL_TOKENS, "<unk>"]]).values
    assert characters[:, 0].tolist() == [0, 1, 2, 3, 4, 1]
    assert not characters[:, 1:].any()


def test_rare_characters_are_unknown() -> None:
    made = featurizer([["aab", "ac"]], min_count=2)
    assert made.vocabulary.words == ("a",)
    assert column(made, [["ab"]]).values[0].tolist() == [5, 1, 0, 0, 0, 0]


def test_words_cut_off_are_reported() -> None:
    made = featurizer([["abc"]])
    assert made.report([pl.Series([["abcdef", "abcdefg"], []], dtype=pl.List(pl.String))]) == {
        "truncated": 0.5
    }


def test_more_characters_than_int16_holds() -> None:
    alphabet = [chr(i) for i in range(0x4E00, 0x4E00 + 20_000)] + [
        chr(i) for i in range(0xAC00, 0xAC00 + 11_000)
    ]
    alphabet += [chr(i) for i in range(0x20000, 0x20000 + 3_000)]
    made = featurizer([alphabet])
    characters = column(made, [[made.vocabulary.words[-1]]])
    assert characters.values.dtype == torch.int32
    assert characters.values[0, 0] == len(alphabet) + 4


def reference(module: CharEmbedding, ids: list[int]) -> Tensor:
    """One word's vector, window by window."""
    vectors = module.embedding(torch.tensor(ids))
    parts = []
    for convolution in module.convolutions:
        assert isinstance(convolution, torch.nn.Conv1d)
        size = convolution.kernel_size[0]
        word = torch.cat([vectors, vectors.new_zeros(max(size - len(ids), 0), vectors.shape[1])])
        windows = [
            torch.einsum("fek,ke->f", convolution.weight, word[at : at + size]) + convolution.bias
            for at in range(len(word) - size + 1)
        ]
        parts.append(torch.stack(windows).relu().amax(dim=0))
    return torch.cat(parts)


@quick
@given(st.lists(st.text("abcde", min_size=1, max_size=6), min_size=1, max_size=6))
def test_vectors_equal_a_plain_convolution(words: list[str]) -> None:
    made = featurizer([list("abcde")], kernel_sizes=[1, 3, 4])
    module = embedding(made)
    characters = column(made, [words]).values
    expected = torch.stack([reference(module, [i for i in word.tolist() if i]) for word in characters])
    torch.testing.assert_close(embed(module, characters), expected)
    assert expected.shape == (len(words), made.config.output_dim)


@quick
@given(st.lists(st.text("abcde", min_size=1, max_size=6), min_size=1, max_size=6), st.integers(6, 15))
def test_padding_changes_no_vector(words: list[str], width: int) -> None:
    made = featurizer([list("abcde")], kernel_sizes=[2, 5])
    module = embedding(made)
    characters = column(made, [words]).values
    padded = torch.nn.functional.pad(characters, (0, width - 6))
    torch.testing.assert_close(embed(module, padded), embed(module, characters))


def test_padding_tokens_are_zero_and_gradients_finite() -> None:
    made = featurizer([["abc", "d"]])
    module = embedding(made)
    characters = column(made, [["abc", PAD, UNK]]).values
    vectors = embed(module, characters)
    assert not vectors[1].any()
    vectors.sum().backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name
    assert module.embedding.weight.grad is not None
    assert not module.embedding.weight.grad[0].any()


@pytest.mark.parametrize("options", [{"kernel_sizes": []}, {"kernel_sizes": [7], "max_word_length": 6}])
def test_kernel_sizes_that_cannot_be(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="`kernel_sizes` must"):
        CharFeatConfig(**options)


def test_output_dim_is_that_of_all_filters() -> None:
    assert CharFeatConfig(kernel_sizes=[2, 3, 4], kernel_num=7).output_dim == 21
