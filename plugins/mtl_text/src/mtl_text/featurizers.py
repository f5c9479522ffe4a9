"""Featurizers: words to ids and characters, and the embeddings that read them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mtl import Builder, DataError, Dense, Featurizer, Ragged
from mtl_text.data_config import CharFeatConfig, WordFeatConfig
from mtl_text.text import PAD_ID, SPECIAL_TOKENS, UNK_ID, UNKNOWN_IN_TEXT
from mtl_text.vocabulary import (
    Vocabulary,
    count_tokens,
    flatten,
    most_frequent,
    read_word_list,
    saved_words,
    share,
)


class WordFeat(Featurizer[WordFeatConfig]):
    """A row of an embedding a word.

    `vocabulary` is there after `fit` or `load_state`; all tasks that share the featurizer have this one.
    """

    vocabulary: Vocabulary

    def __init__(self, config: WordFeatConfig) -> None:
        super().__init__(config)
        self._notices: list[str] = []

    def fit(self, corpora: Mapping[str, Iterable[pl.Series]]) -> None:
        """Choose the words. Raises `DataError` where the vocabulary file cannot be used, or no word
        is left."""
        config = self.config
        counts = count_tokens(
            (tokens for corpus in corpora.values() for tokens in corpus), lowercase=config.lowercase
        )
        words = counts.filter(pl.col("count") >= config.min_count)["word"]
        if config.vocab_file is not None:
            listed = read_word_list(config.vocab_file, lowercase=config.lowercase)
            words = pl.concat([listed.words, words]) if config.vocab_from_train_data else listed.words
            if listed.idle_lines:
                self._notices.append(
                    f"{config.vocab_file}: {listed.idle_lines:,} lines without a word are left out"
                )
            if listed.repeating_lines:
                repeat = (
                    "1 line repeats"
                    if listed.repeating_lines == 1
                    else f"{listed.repeating_lines:,} lines repeat"
                )
                case = ", read in lower case" if config.lowercase else ""
                self._notices.append(f"{config.vocab_file}: {repeat} a word{case}")
        kept = most_frequent(words, counts, config.vocab_size)
        if not kept:
            raise DataError(
                "`word_feat` must have at least one word, but the training data has none that occurs"
                f" {config.min_count:,} times (`min_count`)"
            )
        if len(kept) < words.n_unique():
            self._notices.append(
                f"vocabulary: the {len(kept):,} words most frequent in the training data are kept,"
                f" of {words.n_unique():,} (`vocab_size`)"
            )
        self._set_words(kept)

    def _set_words(self, words: Sequence[str]) -> None:
        self.vocabulary = Vocabulary(words, lowercase=self.config.lowercase)

    def encode(self, tokens: pl.Series) -> dict[str, Dense | Ragged]:
        """`ids`: an id a token."""
        ids = self.vocabulary.ids(flatten(tokens))
        return {"ids": Ragged.from_lists(tokens, ids, dtype=torch.int32, padding=PAD_ID)}

    def build_embedding(self, build: Builder) -> nn.Module:
        return WordEmbedding(len(self.vocabulary), self.config)

    def state(self) -> dict[str, Any]:
        return {"words": list(self.vocabulary.words)}

    def load_state(self, state: Mapping[str, Any]) -> None:
        self._set_words(saved_words(state, "words"))

    def report(self, corpus: Iterable[pl.Series]) -> dict[str, float]:
        """`unknown`: the share of words that are not in the vocabulary; special tokens are no words."""
        return {"unknown": share(self._unknown(tokens) for tokens in corpus)}

    def _unknown(self, tokens: pl.Series) -> pl.Series:
        ids = self.vocabulary.ids(flatten(tokens))
        return ids.filter((ids == UNK_ID) | (ids >= len(SPECIAL_TOKENS))) == UNK_ID

    def notices(self) -> list[str]:
        """What `fit` left out."""
        return self._notices


class WordEmbedding(nn.Module):
    """Ids `[batch, time]` to vectors `[batch, time, embed_dim]`; that of padding is zero."""

    def __init__(self, size: int, config: WordFeatConfig) -> None:
        super().__init__()
        self.embedding = nn.Embedding(size, config.embed_dim, padding_idx=PAD_ID)
        if config.init_range is not None:
            nn.init.uniform_(self.weight, -config.init_range, config.init_range)
            with torch.no_grad():
                self.weight[PAD_ID].zero_()

    @property
    def weight(self) -> Tensor:
        """A row a token, `[tokens, embed_dim]`."""
        return self.embedding.weight

    def forward(self, columns: Mapping[str, Tensor]) -> Tensor:
        vectors: Tensor = self.embedding(columns["ids"])
        return vectors


class CharFeat(Featurizer[CharFeatConfig]):
    """A vector a word from its characters; a special token is a character of its own.

    `vocabulary` is that of the characters, there after `fit` or `load_state`.
    """

    vocabulary: Vocabulary

    def fit(self, corpora: Mapping[str, Iterable[pl.Series]]) -> None:
        """Choose the characters."""
        words = count_tokens(tokens for corpus in corpora.values() for tokens in corpus)
        characters = words.select(pl.col("word").str.split(""), "count").explode("word")
        counts = characters.group_by("word").agg(pl.col("count").sum())
        frequent = counts.filter(pl.col("count") >= self.config.min_count)["word"]
        self.vocabulary = Vocabulary(most_frequent(frequent, counts))

    def encode(self, tokens: pl.Series) -> dict[str, Dense | Ragged]:
        """`characters`: `[tokens, max_word_length]`, padded."""
        flat = flatten(tokens)
        words = flat.unique()
        places = flat.cast(pl.Enum(words)).to_physical()
        table = self._spell(words)
        lists = Ragged.from_lists(tokens, places, dtype=torch.int64)
        return {"characters": Ragged(table[lists.values], lists.offsets, PAD_ID)}

    def _spell(self, words: pl.Series) -> Tensor:
        """The ids of the characters of each word, `[words, max_word_length]`."""
        spelled = words.str.slice(0, self.config.max_word_length).str.split("")
        lengths = spelled.list.len().to_numpy()
        ids = self.vocabulary.ids(flatten(spelled)).to_numpy()
        table = np.full((len(words), self.config.max_word_length), PAD_ID, dtype=np.int32)
        table[np.arange(self.config.max_word_length) < lengths[:, None]] = ids
        whole = words.is_in([*SPECIAL_TOKENS, UNKNOWN_IN_TEXT]).arg_true().to_numpy()
        table[whole] = PAD_ID
        table[whole, 0] = self.vocabulary.ids(words[whole]).to_numpy()
        small = len(self.vocabulary) <= torch.iinfo(torch.int16).max
        return torch.from_numpy(table).to(torch.int16 if small else torch.int32)

    def build_embedding(self, build: Builder) -> nn.Module:
        return CharEmbedding(len(self.vocabulary), self.config)

    def state(self) -> dict[str, Any]:
        return {"characters": list(self.vocabulary.words)}

    def load_state(self, state: Mapping[str, Any]) -> None:
        self.vocabulary = Vocabulary(saved_words(state, "characters"))

    def report(self, corpus: Iterable[pl.Series]) -> dict[str, float]:
        """`truncated`: the share of words that are longer than `max_word_length`."""
        longest = self.config.max_word_length
        return {"truncated": share(flatten(tokens).str.len_chars() > longest for tokens in corpus)}


class CharEmbedding(nn.Module):
    """Characters `[batch, time, max_word_length]` to vectors `[batch, time, output_dim]`.

    `max over p of relu(filter · characters[p : p + kernel_size])`, windows that begin in the word;
    a word shorter than the kernel is one window, filled up with zeros. Padding gives zeros.
    """

    def __init__(self, size: int, config: CharFeatConfig) -> None:
        super().__init__()
        self.embedding = nn.Embedding(size, config.embed_dim, padding_idx=PAD_ID)
        self.convolutions = nn.ModuleList(
            nn.Conv1d(config.embed_dim, config.kernel_num, kernel_size) for kernel_size in config.kernel_sizes
        )

    def forward(self, columns: Mapping[str, Tensor]) -> Tensor:
        characters = columns["characters"]
        flat = characters.flatten(0, 1).int()
        lengths = (flat != PAD_ID).sum(dim=1, keepdim=True)
        embedded = self.embedding(flat).transpose(1, 2)
        pooled = [self._pool(convolution, embedded, lengths) for convolution in self.convolutions]
        return torch.cat(pooled, dim=1).view(*characters.shape[:2], -1)

    @staticmethod
    def _pool(convolution: nn.Module, embedded: Tensor, lengths: Tensor) -> Tensor:
        """`embedded` `[words, embed_dim, characters]` to `[words, kernel_num]`.

        Zero stands for the windows that do not count: after relu it never beats one that does.
        """
        assert isinstance(convolution, nn.Conv1d)
        kernel_size = convolution.kernel_size[0]
        windows = F.relu(convolution(embedded))
        starts = torch.arange(windows.shape[2], device=lengths.device)
        idle = (starts > (lengths - kernel_size).clamp(min=0)) | (lengths == 0)
        return windows.masked_fill(idle[:, None, :], 0.0).amax(dim=2)
