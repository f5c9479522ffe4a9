"""Modules: what each kind declares before it is built, and what its `forward` takes and gives."""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, Self, TypeVar

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
    """One vector per token: `[batch, time, dim]`."""
    DOCUMENT = "document"
    """One vector per row: `[batch, dim]`."""


class Unit(enum.Enum):
    """What one vector of a sequence stands for."""

    WORD = "word"
    """A word of the text."""
    PIECE = "piece"
    """A part of a word, or a mark such as a separator, as a subword tokenizer makes them."""


Tokenizer = Literal["whitespace", "unicode", "characters"]
"""How text is split into words."""


class Direction(enum.Enum):
    """Which tokens a position of a sequence may depend on."""

    ITSELF = "itself"
    """Its own token alone."""
    CAUSAL = "causal"
    """Its own token and those before it."""
    BIDIRECTIONAL = "bidirectional"
    """All tokens."""
    SPLIT = "split"
    """For the first half of the vector its own token and those before it, for the second half its own
    token and those after it."""


@configclass
class RepresentationConfig(ModuleConfig):
    """Maps embedded tokens to a sequence or a document.

    The module's `forward(embedded, lengths)` takes `embedded` `[batch, time, input_dim]` and
    `lengths` `[batch]` and returns `[batch, time, output_dim]` or `[batch, output_dim]`. Padding
    after a row's length must not change the row's output; in a sequence, positions after the
    length hold zeros.
    """

    @property
    def output(self) -> Output:
        """Whether the module returns one vector per token or one per row."""
        raise NotImplementedError

    @property
    def direction(self) -> Direction:
        """Which tokens a position depends on; a document depends on all."""
        return Direction.BIDIRECTIONAL

    @property
    def accepts(self) -> tuple[Unit, ...]:
        """What one vector of the input may stand for."""
        return tuple(Unit)

    def output_dim(self, input_dim: int) -> int:
        """Width of the output vectors."""
        raise NotImplementedError


@configclass
class PoolingConfig(ModuleConfig):
    """Reduces a sequence to one vector: `forward(sequence, lengths)` maps `[batch, time, input_dim]`
    and `[batch]` to `[batch, output_dim]`."""

    def output_dim(self, input_dim: int) -> int:
        """Width of the output vector."""
        return input_dim


@configclass
class DecoderConfig(ModuleConfig):
    """Maps the last dimension: `forward(inputs)` maps `[..., input_dim]` to `[..., output_dim]`."""


@configclass
class FeaturizerConfig(ModuleConfig):
    """Turns words into numbers and embeds them.

    The properties are declarations that are checked with the config. All featurizers of one `features`
    block must have the same `unit`, `reads_jointly` and `tokenizer`.
    """

    @property
    def output_dim(self) -> int:
        """Width of the vectors."""
        raise NotImplementedError

    @property
    def direction(self) -> Direction:
        """Which words of the text a vector depends on."""
        return Direction.ITSELF

    @property
    def unit(self) -> Unit:
        """What one vector stands for."""
        return Unit.WORD

    @property
    def reads_jointly(self) -> bool:
        """Whether the texts of a row become one sequence; otherwise each becomes its own."""
        return False

    @property
    def tokenizer(self) -> Tokenizer | None:
        """How text is split into words; None if any split will do."""
        return None


ConfigT = TypeVar("ConfigT")


class Featurizer(ABC, Generic[ConfigT]):
    """Turns lists of words into numericalised columns and builds the embedding that reads them.

    Featurizers with the same key are one object: one vocabulary, built from the data of all its users.
    """

    def __init__(self, config: ConfigT) -> None:
        self.config = config

    def fit(self, corpora: Mapping[str, Iterable[pl.Series]]) -> None:
        """Build the vocabulary.

        `corpora` maps each task that uses the featurizer to its training texts (`list[str]` of words
        per row), all texts of a row included, in chunks that fit into memory; each may be iterated
        several times. Called once, before `encode`, and not when a model is loaded.
        """

    @abstractmethod
    def encode(self, words: pl.Series) -> dict[str, Column]:
        """Return the numericalised columns of one text (`list[str]` of words per row), by name.

        Each chunk of a large file is encoded alone, into columns of the same names, types and widths.
        """

    def encode_jointly(self, texts: Sequence[pl.Series]) -> dict[str, Column]:
        """Return the columns of the one sequence that each row's texts make together.

        Called instead of `encode` for tasks with several texts if the config says `reads_jointly`.
        """
        raise NotImplementedError(f"{type(self).__name__} reads texts jointly, but has no `encode_jointly`")

    @property
    def length_column(self) -> str | None:
        """Name of the column with one item per vector; None if `encode` returns only one ragged column."""
        return None

    @abstractmethod
    def build_embedding(self, build: Builder) -> nn.Module:
        """Return a module whose `forward(columns)` maps this featurizer's padded columns by name, each
        `[batch, time, ...]`, to `[batch, time, output_dim]`."""

    def state(self) -> dict[str, Any]:
        """Return what `fit` learned, as JSON; it is saved in the model folder."""
        return {}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore `state()`; called instead of `fit()` when a model is loaded."""

    def save_files(self, folder: Path) -> None:
        """Write the files that a run needs besides `state`, such as a tokenizer's, into an empty folder."""

    def load_files(self, folder: Path) -> None:
        """Read the files that `save_files` wrote, instead of those that the config names.

        Called before `load_state` when a model is loaded, and before `fit` or `load_state` when a run is
        resumed. The files stay there as long as the object is used.
        """

    def report(self, corpus: Iterable[pl.Series]) -> dict[str, float]:
        """Return shares that a user should see about the texts of a file (`list[str]` of words per row,
        in chunks as for `fit`), such as `{"unknown": 0.05}`."""
        return {}

    def notices(self) -> list[str]:
        """Return what a user should know after `fit`, such as lines of a file that were ignored."""
        return []
