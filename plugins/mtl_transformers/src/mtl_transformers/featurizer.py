"""`pretrained_feat`: words to pieces, and the pretrained model that reads them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import numpy as np
import polars as pl
import torch
from torch import nn

from mtl import Builder, Column, ConfigError, Problem, Ragged, SpecialTokens, TokenFeaturizer, Unit
from mtl_transformers.config import PretrainedFeatConfig
from mtl_transformers.layout import Layout, PieceRows, offsets_of
from mtl_transformers.lora import share_base
from mtl_transformers.model_files import CONFIG, SPECIAL_NAMES, TOKENIZER, describe_model, fetch_model
from mtl_transformers.modules import PADDING, PretrainedEmbedding, load_model
from mtl_transformers.output_head import OutputHead, load_head
from mtl_transformers.pieces import PieceTokenizer


class PretrainedFeat(TokenFeaturizer[PretrainedFeatConfig]):
    """Vectors of words or pieces from a pretrained model."""

    def __init__(self, config: PretrainedFeatConfig) -> None:
        super().__init__(config)
        self._folder: Path | None = None
        self._tokenizer: PieceTokenizer | None = None
        self._layouts: dict[int, Layout] = {}
        self.cut_rows = 0
        self.cut_words = 0

    @property
    def folder(self) -> Path:
        """The folder with the model: that of the config or, in a run, the run's own."""
        if self._folder is None:
            self._folder = self._fetch()
        return self._folder

    def _fetch(self) -> Path:
        """Return the folder with the pretrained weights, which a run does not keep."""
        with self._config_errors():
            return fetch_model(self.config.model, self.config.revision)

    @property
    def tokenizer(self) -> PieceTokenizer:
        """The model's tokenizer."""
        if self._tokenizer is None:
            folder = self.folder
            assert self.config.vocabulary is not None
            with self._config_errors():
                self._tokenizer = PieceTokenizer.load(folder, self.config.vocabulary)
        return self._tokenizer

    def _layout(self, texts: int) -> Layout:
        if texts not in self._layouts:
            with_begin = self.config.align is None
            with self._config_errors():
                self._layouts[texts] = self.tokenizer.layout(texts, with_begin=with_begin)
        return self._layouts[texts]

    @contextmanager
    def _config_errors(self) -> Iterator[None]:
        """Turn what is wrong with the model's files into a mistake of the config that names them."""
        try:
            yield
        except ValueError as error:
            raise ConfigError([Problem(self.json_path, str(error))]) from error

    # --- texts to columns ------------------------------------------------------------------------

    def encode(self, words: pl.Series) -> dict[str, Column]:
        """Return `pieces` and `segments` (`[pieces]`), and `windows` (`[pieces]`) if long texts become
        windows.

        If pieces are aligned to words there is also `words` (`[words, 2]`), the span of each word's pieces;
        otherwise `starts` (`[pieces]`), whether a piece is the first of a word or a mark."""
        return self.encode_jointly([words])

    def encode_jointly(self, texts: Sequence[pl.Series]) -> dict[str, Column]:
        """Return the columns of one sequence of one or two texts, as `encode` does."""
        if len(texts) > 2:
            message = (
                f"at most two texts can be read jointly, but there are {len(texts)}; set `joint` to false"
            )
            raise ConfigError([Problem(self.json_path, message)])
        rows = self._rows(texts)
        offsets = offsets_of(rows.lengths)
        columns: dict[str, Column] = {
            "pieces": Ragged(torch.from_numpy(rows.ids), offsets, PADDING, Unit.PIECE),
            "segments": Ragged(torch.from_numpy(rows.segments), offsets, 0, Unit.PIECE),
        }
        if self.config.long_texts == "windows":
            columns["windows"] = Ragged(torch.from_numpy(rows.windows), offsets, 0, Unit.PIECE)
        if self.config.align is None:
            columns["starts"] = Ragged(torch.from_numpy(rows.starts), offsets, 0, Unit.PIECE)
        else:
            counts = sum(text.list.len().cast(pl.Int64).to_numpy() for text in texts)
            columns["words"] = Ragged(
                torch.from_numpy(rows.spans), offsets_of(cast(np.ndarray, counts)), 0, Unit.WORD
            )
        return columns

    def _rows(self, texts: Sequence[pl.Series]) -> PieceRows:
        config, layout = self.config, self._layout(len(texts))
        stride = config.stride if config.long_texts == "windows" else None
        with self._config_errors():
            rows = self.tokenizer.encode(texts, config.longest, stride, layout)
        if rows.cut_rows and config.long_texts == "error":
            texts_are = "1 text has" if rows.cut_rows == 1 else f"{rows.cut_rows:,} texts have"
            message = (
                f"{texts_are} more than {config.longest:,} pieces (`max_length`); set `long_texts` to"
                " truncate or windows to read them"
            )
            raise ConfigError([Problem(f"{self.json_path}.long_texts", message)])
        self.cut_rows += rows.cut_rows
        self.cut_words += rows.cut_words
        return rows

    @property
    def length_column(self) -> str:
        return "pieces" if self.config.align is None else "words"

    def notices(self) -> list[str]:
        """Return how many texts were too long, and how many words they lost."""
        if not self.cut_rows:
            return []
        texts = "1 text is" if self.cut_rows == 1 else f"{self.cut_rows:,} texts are"
        words = "1 word was" if self.cut_words == 1 else f"{self.cut_words:,} words were"
        return [f"{texts} longer than {self.config.longest:,} pieces (`max_length`); {words} cut off"]

    # --- pieces that a language model predicts ---------------------------------------------------

    @property
    def token_column(self) -> str:
        return "pieces"

    @property
    def word_start_column(self) -> str:
        return "starts"

    @property
    def special_tokens(self) -> SpecialTokens:
        return self.tokenizer.special_tokens(self._layout(1))

    def token_texts(self) -> Sequence[str]:
        return self.tokenizer.texts

    def output_weight(self, embedding: nn.Module) -> nn.Parameter | None:
        assert isinstance(embedding, PretrainedEmbedding)
        return embedding.piece_weight

    def output_head(self, embedding: nn.Module) -> OutputHead | None:
        assert isinstance(embedding, PretrainedEmbedding)
        with self._config_errors():
            folder = self._fetch() if embedding.is_pretrained else self.folder
            return load_head(folder, self.config, embedding)

    # --- the model -------------------------------------------------------------------------------

    def build_embedding(self, build: Builder) -> nn.Module:
        is_pretrained = not build.gets_weights(self.config)
        folder = self._fetch() if is_pretrained else self.folder
        with self._config_errors():
            self.config.require(describe_model(str(folder)))
            model = load_model(folder, self.config, with_weights=is_pretrained)
        if self.config.lora is not None:
            # Tasks with updates of their own read one base.
            share_base(model, build.frozen_parameters((self.config.model, self.config.revision)))
        return PretrainedEmbedding(model, self.config, is_pretrained=is_pretrained)

    def save_files(self, folder: Path) -> None:
        """Write the model's config and tokenizer; its weights are among those of the run."""
        for name in (CONFIG, TOKENIZER, *SPECIAL_NAMES):
            if (self.folder / name).is_file():
                shutil.copyfile(self.folder / name, folder / name)

    def load_files(self, folder: Path) -> None:
        self._folder = folder
        self._tokenizer = None
        self._layouts.clear()
