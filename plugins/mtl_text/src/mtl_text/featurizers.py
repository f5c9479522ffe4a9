"""Featurizers: words to ids and characters, and their embeddings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import polars as pl
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mtl import (
    Builder,
    ConfigError,
    DataError,
    Dense,
    Featurizer,
    Problem,
    Ragged,
    SpecialTokens,
    TokenFeaturizer,
)
from mtl_text.data_config import CharFeatConfig, WordFeatConfig
from mtl_text.text import (
    BOS,
    BOS_ID,
    EOS,
    EOS_ID,
    MASK_ID,
    PAD_ID,
    SPECIAL_TOKENS,
    UNK_ID,
    UNKNOWN_IN_TEXT,
)
from mtl_text.vectors import VectorFile
from mtl_text.vocabulary import (
    DistinctWords,
    Vocabulary,
    WordsOf,
    count_tokens,
    flatten,
    listed_words,
    most_frequent,
    read_word_list,
    saved_words,
    share,
)


class WordFeat(TokenFeaturizer[WordFeatConfig]):
    """One row of an embedding per word.

    `vocabulary` exists after `fit` or `load_state`; tasks that share the featurizer share it. With
    `rare_word_dropout`, so does `counts`: how often each of its words occurs in their training data.
    """

    vocabulary: Vocabulary
    counts: Sequence[int] | None = None

    def __init__(self, config: WordFeatConfig) -> None:
        super().__init__(config)
        self._words_of = WordsOf(config.normalization)
        self._notices: list[str] = []
        self._known: list[str] = []
        self._vectors: tuple[np.ndarray, np.ndarray] | None = None

    def start_from(self, state: Mapping[str, Any]) -> None:
        """Keep the words of another run, before those of the training data."""
        self._known = saved_words(state, "words")

    def fit(self, corpora: Mapping[str, Iterable[pl.Series]]) -> None:
        """Choose the words. Raises `DataError` if the vocabulary file cannot be used, or no word is
        left."""
        config = self.config
        counts = count_tokens(
            (self._words_of(tokens) for corpus in corpora.values() for tokens in corpus),
            lowercase=config.lowercase,
        )
        words = counts.filter(pl.col("count") >= config.min_count)["word"]
        if not config.vocab_from_train_data:
            words = words.clear()
        if config.vocab_file is not None:
            listed = read_word_list(
                config.vocab_file, lowercase=config.lowercase, normalization=config.normalization
            )
            words = pl.concat([listed.words, words])
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
        if config.vocab_from_vectors:
            words = pl.concat([words, self._words_with_vectors()])
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
        kept = self._after_known(kept)
        self._set_words(kept)
        if config.vectors_file is not None:
            self._vectors = self._read_vectors()
            self._note_coverage(counts)
        if config.rare_word_dropout:
            counted = pl.DataFrame({"word": kept}).join(counts, on="word", how="left", maintain_order="left")
            self.counts = counted["count"].fill_null(0).to_list()

    def _after_known(self, words: list[str]) -> list[str]:
        """Return words after those of the run that this one starts from, each once."""
        if not self._known:
            return words
        known = set(self._known)
        new = [word for word in words if word not in known]
        self._notices.append(
            f"vocabulary: {len(self._known):,} words of the run that this one starts from, {len(new):,} new"
        )
        return [*self._known, *new]

    @property
    def _vector_file(self) -> VectorFile:
        """The file with pretrained vectors.

        Raises `DataError` if it holds none, `ConfigError` if they have another width.
        """
        config = self.config
        assert config.vectors_file is not None
        file = VectorFile.open(config.vectors_file, config.vectors_words)
        if file.width != config.embed_dim:
            message = (
                f"`embed_dim` must be {file.width}, the width of the vectors in {file.path},"
                f" but is {config.embed_dim}"
            )
            raise ConfigError([Problem(f"{self.json_path}.embed_dim", message)])
        return file

    def _words_with_vectors(self) -> pl.Series:
        words = self._vector_file.first_words(self.config.vocab_from_vectors)
        return listed_words(words, lowercase=self.config.lowercase, normalization=self.config.normalization)

    def _read_vectors(self) -> tuple[np.ndarray, np.ndarray]:
        config = self.config
        return self._vector_file.vectors_of(
            self.vocabulary.words, lowercase=config.lowercase, normalization=config.normalization
        )

    def _note_coverage(self, counts: pl.DataFrame) -> None:
        """Report how many words have a vector."""
        assert self._vectors is not None
        found = self._vectors[1]
        if not found.any():
            raise DataError(
                f"{self.config.vectors_file}: must have a vector for at least one word, but has none"
            )
        frame = pl.DataFrame({"word": self.vocabulary.words, "found": found})
        read = counts.join(frame, on="word", how="left").with_columns(pl.col("found").fill_null(False))
        covered, total = int(read.filter("found")["count"].sum()), max(int(read["count"].sum()), 1)
        self._notices.append(
            f"{self.config.vectors_file}: {found.sum():,} of {len(found):,} words have a vector,"
            f" {100 * covered / total:.1f} % of the words in the training data"
        )

    def _set_words(self, words: Sequence[str]) -> None:
        self.vocabulary = Vocabulary(words, lowercase=self.config.lowercase)
        self._ids_of = WeakKeyDictionary[DistinctWords, np.ndarray]()

    def encode(self, tokens: pl.Series) -> dict[str, Dense | Ragged]:
        """Return `ids`: one id per word."""
        words = self._words_of(tokens)
        ids = words.spread(self._ids(words))
        return {"ids": Ragged.from_lists(tokens, ids, dtype=torch.int32, padding=PAD_ID)}

    def _ids(self, words: DistinctWords) -> np.ndarray:
        if words not in self._ids_of:
            self._ids_of[words] = self.vocabulary.ids(words.words).to_numpy()
        return self._ids_of[words]

    @property
    def special_tokens(self) -> SpecialTokens:
        return SpecialTokens(padding=PAD_ID, unknown=UNK_ID, begin=BOS_ID, end=EOS_ID, mask=MASK_ID)

    def token_texts(self) -> Sequence[str]:
        return self.vocabulary.tokens

    @property
    def bounds(self) -> tuple[str, str]:
        return BOS, EOS

    def output_weight(self, embedding: nn.Module) -> nn.Parameter:
        assert isinstance(embedding, WordEmbedding)
        return embedding.weight

    def build_embedding(self, build: Builder) -> nn.Module:
        embedding = WordEmbedding(self.vocabulary.tokens, self.config, self.counts)
        if self.config.vectors_file is not None and not build.is_loading:
            # A run that is resumed before its first checkpoint has not fitted anything.
            embedding.start_from(*(self._vectors or self._read_vectors()))
            self._vectors = None
        return embedding

    def state(self) -> dict[str, Any]:
        counts = {} if self.counts is None else {"counts": list(self.counts)}
        return {"words": list(self.vocabulary.words), **counts, **self._words_of.state()}

    def load_state(self, state: Mapping[str, Any]) -> None:
        words = saved_words(state, "words")
        self._words_of.load_state(state)
        self._set_words(words)
        if self.config.rare_word_dropout:
            self.counts = _saved_counts(state, len(words))

    def report(self, corpus: Iterable[pl.Series]) -> dict[str, float]:
        """Return `unknown`: the share of words, special tokens aside, that are not in the vocabulary."""
        return {"unknown": share(self._unknown(self._words_of(tokens)) for tokens in corpus)}

    def _unknown(self, words: DistinctWords) -> tuple[np.ndarray, np.ndarray]:
        ids = self._ids(words)
        counted = (ids == UNK_ID) | (ids >= len(SPECIAL_TOKENS))
        return ids[counted] == UNK_ID, words.counts[counted]

    def notices(self) -> list[str]:
        """Return what `fit` ignored."""
        return self._notices


def _saved_counts(state: Mapping[str, Any], words: int) -> list[int]:
    """Return how often each word occurs in the training data. Raises `DataError` for anything else."""
    counts = state.get("counts")
    if isinstance(counts, list) and len(counts) == words and all(type(n) is int and n >= 0 for n in counts):
        return counts
    raise DataError(f"`counts` must be a number from 0 for each of {words:,} words")


class WordEmbedding(nn.Module):
    """Ids `[batch, time]` to vectors `[batch, time, embed_dim]`; that of padding is zero.

    With `rare_word_dropout` a, training replaces a word by `UNK` with probability a / (a + n), where n
    is the word's entry in `counts` (which has none for special tokens), so that `UNK` is learned from
    words like those it will stand for: Kiperwasser and Goldberg, "Simple and Accurate
    Dependency Parsing Using Bidirectional LSTM Feature Representations", TACL 2016.
    """

    drop_probabilities: Tensor | None

    def __init__(
        self, tokens: Sequence[str], config: WordFeatConfig, counts: Sequence[int] | None = None
    ) -> None:
        super().__init__()
        self.tokens = tokens
        self.embedding = nn.Embedding(len(tokens), config.embed_dim, padding_idx=PAD_ID)
        if config.init_range is not None:
            nn.init.uniform_(self.weight, -config.init_range, config.init_range)
            with torch.no_grad():
                self.weight[PAD_ID].zero_()
        probabilities = None if counts is None else _drop_probabilities(counts, config.rare_word_dropout)
        self.register_buffer("drop_probabilities", probabilities, persistent=False)

    def start_from(self, vectors: np.ndarray, found: np.ndarray) -> None:
        """Set the vectors of words, `[words, embed_dim]`; those not `found` are drawn as the others are
        distributed."""
        given, known = torch.from_numpy(vectors), torch.from_numpy(found)
        mean, deviation = given[known].mean(0), given[known].std(0, correction=0)
        with torch.no_grad():
            self.weight.copy_(mean + deviation * torch.randn_like(self.weight))
            self.weight[len(SPECIAL_TOKENS) :][known] = given[known]
            self.weight[PAD_ID].zero_()

    def row_names(self) -> dict[str, Sequence[str]]:
        """Return the words, special tokens included."""
        return {"embedding.weight": self.tokens}

    @property
    def weight(self) -> nn.Parameter:
        """One row per token, `[tokens, embed_dim]`."""
        weight: nn.Parameter = self.embedding.get_parameter("weight")
        return weight

    def forward(self, columns: Mapping[str, Tensor]) -> Tensor:
        ids = columns["ids"]
        if self.training and self.drop_probabilities is not None:
            dropped = torch.rand(ids.shape, device=ids.device) < self.drop_probabilities[ids]
            ids = ids.masked_fill(dropped, UNK_ID)
        vectors: Tensor = self.embedding(ids)
        return vectors


def _drop_probabilities(counts: Sequence[int], dropout: float) -> Tensor:
    """Return the probability of each token, `[tokens]`; that of special ones, which come first, is 0."""
    of_words = dropout / (dropout + torch.tensor(counts, dtype=torch.float32))
    return torch.cat([torch.zeros(len(SPECIAL_TOKENS)), of_words])


class CharFeat(Featurizer[CharFeatConfig]):
    """One vector per word from its characters; a special token is a character of its own.

    `vocabulary` is that of the characters; it exists after `fit` or `load_state`.
    """

    vocabulary: Vocabulary

    def __init__(self, config: CharFeatConfig) -> None:
        super().__init__(config)
        self._words_of = WordsOf(config.normalization)
        self._known: list[str] = []

    def start_from(self, state: Mapping[str, Any]) -> None:
        """Keep the characters of another run, before those of the training data."""
        self._known = saved_words(state, "characters")

    def fit(self, corpora: Mapping[str, Iterable[pl.Series]]) -> None:
        """Choose the characters."""
        words = count_tokens(self._words_of(tokens) for corpus in corpora.values() for tokens in corpus)
        characters = words.select(pl.col("word").str.split(""), "count").explode("word")
        counts = characters.group_by("word").agg(pl.col("count").sum())
        frequent = counts.filter(pl.col("count") >= self.config.min_count)["word"]
        chosen = most_frequent(frequent, counts)
        self.vocabulary = Vocabulary(list(dict.fromkeys([*self._known, *chosen])))

    def encode(self, tokens: pl.Series) -> dict[str, Dense | Ragged]:
        """Return `characters`: `[words, max_word_length]`, padded."""
        words = self._words_of(tokens)
        table = self._spell(words.words)
        lists = Ragged.from_lists(tokens, pl.Series(words.places), dtype=torch.int64)
        return {"characters": Ragged(table[lists.values], lists.offsets, PAD_ID)}

    def _spell(self, words: pl.Series) -> Tensor:
        """Return the ids of the characters of each word, `[words, max_word_length]`."""
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
        return CharEmbedding(self.vocabulary.tokens, self.config)

    def state(self) -> dict[str, Any]:
        return {"characters": list(self.vocabulary.words), **self._words_of.state()}

    def load_state(self, state: Mapping[str, Any]) -> None:
        self.vocabulary = Vocabulary(saved_words(state, "characters"))
        self._words_of.load_state(state)

    def report(self, corpus: Iterable[pl.Series]) -> dict[str, float]:
        """Return `truncated`: the share of words longer than `max_word_length`."""
        return {"truncated": share(self._truncated(self._words_of(tokens)) for tokens in corpus)}

    def _truncated(self, words: DistinctWords) -> tuple[np.ndarray, np.ndarray]:
        return words.words.str.len_chars().to_numpy() > self.config.max_word_length, words.counts


class CharEmbedding(nn.Module):
    """Characters `[batch, time, max_word_length]` to vectors `[batch, time, output_dim]`.

    `max over p of relu(filter · characters[p : p + kernel_size])` over the windows that begin in the word;
    a word shorter than the kernel is one window, padded with zeros. Padding becomes zeros.
    """

    def __init__(self, characters: Sequence[str], config: CharFeatConfig) -> None:
        super().__init__()
        self.characters = characters
        self.embedding = nn.Embedding(len(characters), config.embed_dim, padding_idx=PAD_ID)
        self.convolutions = nn.ModuleList(
            nn.Conv1d(config.embed_dim, config.kernel_num, kernel_size) for kernel_size in config.kernel_sizes
        )

    def row_names(self) -> dict[str, Sequence[str]]:
        """Return the characters, special tokens included."""
        return {"embedding.weight": self.characters}

    def forward(self, columns: Mapping[str, Tensor]) -> Tensor:
        characters = columns["characters"]
        flat = characters.flatten(0, 1).int()
        lengths = (flat != PAD_ID).sum(dim=1, keepdim=True)
        embedded = self.embedding(flat).transpose(1, 2)
        pooled = [self._pool(convolution, embedded, lengths) for convolution in self.convolutions]
        vectors = torch.cat(pooled, dim=1)
        return vectors.view(*characters.shape[:2], vectors.shape[-1])

    @staticmethod
    def _pool(convolution: nn.Module, embedded: Tensor, lengths: Tensor) -> Tensor:
        """Return `embedded` `[words, embed_dim, characters]` to `[words, kernel_num]`.

        Windows that do not count become zero, which after relu never beats one that does.
        """
        assert isinstance(convolution, nn.Conv1d)
        kernel_size = convolution.kernel_size[0]
        windows = F.relu(convolution(embedded))
        starts = torch.arange(windows.shape[2], device=lengths.device)
        idle = (starts > (lengths - kernel_size).clamp(min=0)) | (lengths == 0)
        return windows.masked_fill(idle[:, None, :], 0.0).amax(dim=2)
