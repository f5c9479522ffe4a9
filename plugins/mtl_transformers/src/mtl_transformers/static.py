"""`static_feat`: a vector per piece, whatever is around it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import polars as pl
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from mtl import Builder, Column, ConfigError, Featurizer, Problem, Ragged, Unit
from mtl_transformers.layout import Layout, offsets_of
from mtl_transformers.model_files import CONFIG, SPECIAL_NAMES, STATIC, TOKENIZER, WEIGHTS, fetch_model
from mtl_transformers.modules import PADDING, align_pieces
from mtl_transformers.pieces import PieceTokenizer
from mtl_transformers.static_config import StaticFeatConfig

NO_MARKS = Layout([np.zeros(0, np.int32)] * 2, [np.zeros(0, np.int32)] * 2, [0])
ENDLESS = 2**31


class StaticFeat(Featurizer[StaticFeatConfig]):
    """Vectors of words or pieces from a table."""

    def __init__(self, config: StaticFeatConfig) -> None:
        super().__init__(config)
        self._folder: Path | None = None
        self._tokenizer: PieceTokenizer | None = None

    @contextmanager
    def _config_errors(self) -> Iterator[None]:
        """Turn what is wrong with the model's files into a mistake of the config that names them."""
        try:
            yield
        except ValueError as error:
            raise ConfigError([Problem(self.json_path, str(error))]) from error

    def _fetch(self) -> Path:
        with self._config_errors():
            return fetch_model(self.config.model, self.config.revision)

    @property
    def folder(self) -> Path:
        """The folder with the model: that of the config or, in a run, the run's own."""
        if self._folder is None:
            self._folder = self._fetch()
        return self._folder

    @property
    def tokenizer(self) -> PieceTokenizer:
        """The model's tokenizer."""
        if self._tokenizer is None:
            assert self.config.vocabulary is not None
            with self._config_errors():
                self._tokenizer = PieceTokenizer.load(self.folder, self.config.vocabulary)
        return self._tokenizer

    def encode(self, words: pl.Series) -> dict[str, Column]:
        """Return `pieces` (`[pieces]`) and, if they are aligned to words, `words` (`[words, 2]`), the span of
        each word's pieces."""
        with self._config_errors():
            rows = self.tokenizer.encode([words], ENDLESS, None, NO_MARKS)
        offsets = offsets_of(rows.lengths)
        columns: dict[str, Column] = {
            "pieces": Ragged(torch.from_numpy(rows.ids), offsets, PADDING, Unit.PIECE)
        }
        if self.config.align is not None:
            counts = words.list.len().fill_null(0).cast(pl.Int64).to_numpy()
            columns["words"] = Ragged(torch.from_numpy(rows.spans), offsets_of(counts), 0, Unit.WORD)
        return columns

    @property
    def length_column(self) -> str:
        return "pieces" if self.config.align is None else "words"

    def build_embedding(self, build: Builder) -> nn.Module:
        embedding = StaticEmbedding(self.config)
        if not build.gets_weights(self.config):
            with self._config_errors():
                embedding.load(self._fetch() / WEIGHTS)
        return embedding

    def save_files(self, folder: Path) -> None:
        """Write the tokenizer; the table is among the run's weights."""
        for name in (CONFIG, TOKENIZER, *SPECIAL_NAMES):
            if (self.folder / name).is_file():
                shutil.copyfile(self.folder / name, folder / name)

    def load_files(self, folder: Path) -> None:
        self._folder = folder
        self._tokenizer = None


class StaticEmbedding(nn.Module):
    """Pieces to vectors of pieces or words.

    *Shape:* `pieces` `[batch, pieces]`, with -1 in the padding, to `[batch, pieces, dim]`; with `words`
    `[batch, words, 2]`, the span of each word's pieces, to `[batch, words, dim]`.
    """

    def __init__(self, config: StaticFeatConfig) -> None:
        super().__init__()
        self.align = config.align
        self.weight = nn.Parameter(torch.zeros(config.vocabulary or 0, config.output_dim))

    def load(self, path: Path) -> None:
        """Read the table from a file. Raises `ValueError` if it has none of this size."""
        try:
            tensors = load_file(path)
        except Exception as error:
            raise ValueError(f"{path} cannot be read: {error}") from error
        tables = [tensors[name] for name in STATIC if name in tensors]
        if not tables or tables[0].shape != self.weight.shape or not tables[0].isfinite().all():
            raise ValueError(f"{path} must have a table of finite vectors {list(self.weight.shape)}")
        with torch.no_grad():
            self.weight.copy_(tables[0])

    def forward(self, columns: Mapping[str, Tensor]) -> Tensor:
        ids = columns["pieces"].long()
        inside = ids >= 0
        vectors = nn.functional.embedding(ids.clamp(min=0), self.weight) * inside[..., None]
        return vectors if self.align is None else align_pieces(vectors, columns["words"], self.align)
