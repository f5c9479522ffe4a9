"""Modules: what each kind declares before it is built, and what its `forward` takes and gives."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Literal, Self

from mtl.fields import InputPath, OutputPath, configclass, option


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


class FeatureWidth(int):
    """The width of the vectors of a `features` block; `parts` are those of its featurizers, in order.

    It is an integer like any other. A module that passes its input on unchanged passes on the parts as well;
    what is computed from the width has none.
    """

    parts: Mapping[str, int]

    def __new__(cls, parts: Mapping[str, int]) -> Self:
        width = super().__new__(cls, sum(parts.values()))
        width.parts = dict(parts)
        return width

    def __getnewargs__(self) -> tuple[Mapping[str, int]]:  # type: ignore[override]
        return (self.parts,)

    def fits(self, other: FeatureWidth) -> bool:
        """Return whether each featurizer of both has the same columns in both."""
        ours, theirs = self._columns(), other._columns()
        return all(ours[name] == theirs[name] for name in ours.keys() & theirs.keys())

    def _columns(self) -> dict[str, range]:
        columns, start = {}, 0
        for name, width in self.parts.items():
            columns[name] = range(start, start := start + width)
        return columns

    def __str__(self) -> str:
        return f"{self:d} ({', '.join(f'{name}: {width}' for name, width in self.parts.items())})"


class PoolingInput(enum.Enum):
    """Which vectors a pooling makes one of."""

    SEQUENCE = "sequence"
    """Those of a sequence of any length."""
    PAIR = "pair"
    """Exactly two, such as those of two texts."""


@configclass
class PoolingConfig(ModuleConfig):
    """Reduces a sequence to one vector: `forward(sequence, lengths)` maps `[batch, time, input_dim]`
    and `[batch]` to `[batch, output_dim]`."""

    @property
    def input(self) -> PoolingInput:
        """Which vectors the module takes; one that takes a sequence takes a pair, too."""
        return PoolingInput.SEQUENCE

    def output_dim(self, input_dim: int) -> int:
        """Width of the output vector."""
        return input_dim


@configclass
class DecoderConfig(ModuleConfig):
    """Maps the last dimension: `forward(inputs)` maps `[..., input_dim]` to `[..., output_dim]`."""
