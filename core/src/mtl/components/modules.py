"""Modules: what each kind declares before it is built, and what its `forward` takes and gives."""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from mtl.fields import InputPath, OutputPath, configclass, option

if TYPE_CHECKING:
    import polars as pl
    from torch import nn

    from mtl.builder import Builder
    from mtl.data.columns import Column


@configclass
class ModuleConfig:
    """What every module slot takes beside its own settings."""

    shared_module_key: str | None = option(None, "Modules with the same key are one module.")
    freeze: bool = option(False, "Keep this module's parameters as they are.")
    load_path: InputPath | None = option(None, "Start from this module's weights (safetensors).")
    save_path: OutputPath | None = option(None, "Write this module's best weights there (safetensors).")

    def resolve(self) -> Self:
        """Return the config with the values that are found elsewhere, such as a width in a model's folder.

        Called once, when a config is read; the run's config holds the result, so it reads nothing and
        returns itself if no value is missing. Raises `ValueError` or `OSError` if one cannot be found.
        """
        return self


class Output(enum.Enum):
    """What a representation makes of embedded tokens `[batch, time, dim]`."""

    SEQUENCE = "sequence"
    """A vector a token: `[batch, time, dim]`."""
    DOCUMENT = "document"
    """A vector a row: `[batch, dim]`."""


class Direction(enum.Enum):
    """Which tokens a position of a sequence may depend on."""

    CAUSAL = "causal"
    """On itself and the tokens before it."""
    BIDIRECTIONAL = "bidirectional"
    """On all tokens."""
    SPLIT = "split"
    """The first half of the vector on itself and the tokens before, the second on itself and the
    tokens after."""


@configclass
class RepresentationConfig(ModuleConfig):
    """Maps embedded tokens to a sequence or a document.

    The module's `forward(embedded, lengths)` takes `embedded` `[batch, time, input_dim]` and
    `lengths` `[batch]` and gives `[batch, time, output_dim]` or `[batch, output_dim]`. What stands
    in the padding after a row's length never changes what the row gets; positions after the
    length hold zeros in a sequence.
    """

    @property
    def output(self) -> Output:
        """Whether a vector a token or a vector a row comes out."""
        raise NotImplementedError

    @property
    def direction(self) -> Direction:
        """What a position sees; a document sees everything."""
        return Direction.BIDIRECTIONAL

    def output_dim(self, input_dim: int) -> int:
        """Width of the vectors that come out."""
        raise NotImplementedError


@configclass
class PoolingConfig(ModuleConfig):
    """Makes one vector of a sequence: `forward(sequence, lengths)`,
    `[batch, time, input_dim]` and `[batch]` to `[batch, output_dim]`."""

    def output_dim(self, input_dim: int) -> int:
        """Width of the vector that comes out."""
        return input_dim


@configclass
class DecoderConfig(ModuleConfig):
    """Maps the last dimension: `forward(inputs)`, `[..., input_dim]` to `[..., output_dim]`."""


@configclass
class FeaturizerConfig(ModuleConfig):
    """Turns tokens into numbers and embeds them."""

    @property
    def output_dim(self) -> int:
        """Width of a token's vector."""
        raise NotImplementedError


ConfigT = TypeVar("ConfigT")


class Featurizer(ABC, Generic[ConfigT]):
    """Turns lists of tokens into numericalised columns and builds the embedding that reads them.

    Featurizers with one key are one object: one vocabulary, built from all its users' data.
    """

    def __init__(self, config: ConfigT) -> None:
        self.config = config

    def fit(self, corpora: Mapping[str, Iterable[pl.Series]]) -> None:
        """Build the vocabulary. `corpora` gives the training tokens (`list[str]` a row) of each
        task that uses it, in pieces that fit into memory; each may be iterated several times. Called
        once, before `encode`, and not when a model is loaded."""

    @abstractmethod
    def encode(self, tokens: pl.Series) -> dict[str, Column]:
        """The numericalised columns of `tokens` (`list[str]` a row), by a name of one's own. Each
        piece of a large file is encoded alone, into columns of the same names, types and widths."""

    @abstractmethod
    def build_embedding(self, build: Builder) -> nn.Module:
        """A module whose `forward(columns)` takes this featurizer's padded columns by name, each
        `[batch, time, ...]`, and gives `[batch, time, output_dim]`."""

    def state(self) -> dict[str, Any]:
        """What `fit` found, as JSON: it goes into the model folder."""
        return {}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` gave, in place of `fit`."""

    def save_files(self, folder: Path) -> None:
        """Write the files that a run needs besides `state`, such as a tokenizer's, into an empty folder."""

    def load_files(self, folder: Path) -> None:
        """Read the files that `save_files` wrote, instead of those that the config names.

        Called before `load_state` when a model is loaded, and before `fit` or `load_state` when a run is
        resumed. The files stay there as long as the object is used.
        """

    def report(self, corpus: Iterable[pl.Series]) -> dict[str, float]:
        """Figures about the tokens of a file (`list[str]` a row), in pieces as for `fit`, that a user
        should see, such as `{"unknown": 0.05}`."""
        return {}

    def notices(self) -> list[str]:
        """What a user should know once `fit` is done, such as lines of a file that were left out."""
        return []
