"""Hashed character n-grams: a vector for every word, including unseen ones."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor, nn

from mtl import Builder, Column, Featurizer, Ragged
from mtl_text.data_config import NgramFeatConfig
from mtl_text.text import SPECIAL_TOKENS, UNKNOWN_IN_TEXT
from mtl_text.vocabulary import DistinctWords, WordsOf, share

NONE_ID = 0
"""Padding after a word's n-grams; its vector is zero."""


class NgramFeat(Featurizer[NgramFeatConfig]):
    """One vector per word: the mean of the vectors of its character n-grams, which are hashed into `buckets`
    rows.

    A word gets a mark at either end, so that "<th" differs from "th" within a word. Unseen words share
    n-grams with known ones: Bojanowski et al., "Enriching Word Vectors with Subword
    Information", TACL 2017. Nothing is learned from the data.
    """

    def __init__(self, config: NgramFeatConfig) -> None:
        super().__init__(config)
        self._words_of = WordsOf(config.normalization)

    def encode(self, tokens: pl.Series) -> dict[str, Column]:
        """Return `ngrams`: `[words, max_ngrams]`, padded; a special token is one of its own."""
        words = self._words_of(tokens)
        lists = Ragged.from_lists(tokens, pl.Series(words.places), dtype=torch.int64)
        return {"ngrams": Ragged(self._table(words.words)[lists.values], lists.offsets, NONE_ID)}

    def _table(self, words: pl.Series) -> Tensor:
        """Return the rows of the n-grams of each word, `[words, max_ngrams]`."""
        table = np.full((len(words), self.config.max_ngrams), NONE_ID, dtype=np.int32)
        for number, word in enumerate(words.to_list()):
            rows = self.ngrams(word)
            table[number, : len(rows)] = rows
        return torch.from_numpy(table)

    def ngrams(self, word: str) -> list[int]:
        """Return the rows of a word's first `max_ngrams` n-grams, short ones first."""
        if word in SPECIAL_TOKENS or word == UNKNOWN_IN_TEXT:
            return [self._row(word)]
        marked = f"<{word}>"
        texts = (
            marked[start : start + size]
            for size in range(self.config.shortest, self.config.longest + 1)
            for start in range(len(marked) - size + 1)
        )
        rows = [self._row(text) for text, _ in zip(texts, range(self.config.max_ngrams), strict=False)]
        return rows or [self._row(marked)]

    def _row(self, text: str) -> int:
        # Python's own hash differs from one process to the next.
        return 1 + zlib.crc32(text.encode()) % self.config.buckets

    def build_embedding(self, build: Builder) -> nn.Module:
        return NgramEmbedding(self.config)

    def state(self) -> dict[str, Any]:
        return self._words_of.state()

    def load_state(self, state: Mapping[str, Any]) -> None:
        self._words_of.load_state(state)

    def report(self, corpus: Iterable[pl.Series]) -> dict[str, float]:
        """Return `truncated`: the share of words with more than `max_ngrams` n-grams."""
        return {"truncated": share(self._truncated(self._words_of(tokens)) for tokens in corpus)}

    def _truncated(self, words: DistinctWords) -> tuple[np.ndarray, np.ndarray]:
        lengths = words.words.str.len_chars().to_numpy().astype(np.int64) + 2
        sizes = np.arange(self.config.shortest, self.config.longest + 1)
        counts = np.maximum(lengths[:, None] - sizes + 1, 0).sum(axis=1)
        return counts > self.config.max_ngrams, words.counts


class NgramEmbedding(nn.Module):
    """N-grams `[batch, time, max_ngrams]` to vectors `[batch, time, embed_dim]`; padding becomes zeros."""

    def __init__(self, config: NgramFeatConfig) -> None:
        super().__init__()
        self.config = config
        self.bag = nn.EmbeddingBag(config.buckets + 1, config.embed_dim, mode="mean", padding_idx=NONE_ID)
        nn.init.normal_(self.bag.weight, std=0.1)
        with torch.no_grad():
            self.bag.weight[NONE_ID].zero_()

    def row_names(self) -> dict[str, Sequence[str]]:
        """Return names that say which n-grams a row stands for: with other settings none is the same."""
        config = self.config
        kind = f"{config.shortest} to {config.longest} characters, row"
        return {"bag.weight": [f"{kind} {row} of {config.buckets}" for row in range(config.buckets + 1)]}

    def forward(self, columns: Mapping[str, Tensor]) -> Tensor:
        ngrams = columns["ngrams"]
        vectors: Tensor = self.bag(ngrams.flatten(0, 1))
        return vectors.view(*ngrams.shape[:2], vectors.shape[-1])
