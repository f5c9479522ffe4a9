"""The featurizers of a task: from texts to columns, from columns to vectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl
import torch
from attrs import frozen
from torch import Tensor, nn

from mtl.builder import Builder
from mtl.components import FeaturesConfig, Featurizer
from mtl.data.columns import Batch, Column, Ragged
from mtl.data.words import split_words
from mtl.errors import component_errors


@frozen(eq=False)
class Features:
    """The featurizers of one `features` block by name; a featurizer that another task shares is
    the same object there. `path` is the block's JSON path."""

    config: FeaturesConfig
    featurizers: Mapping[str, Featurizer[object]]
    path: str = "features"

    def split(self, text: pl.Series) -> pl.Series:
        """Return the words of each text (`list[str]` per row), split as the featurizers require; a column
        of lists of words is returned unchanged."""
        return text if isinstance(text.dtype, pl.List) else split_words(text, self.config.tokenizer)

    def sequences(self, texts: Sequence[str]) -> tuple[str, ...]:
        """Return the names of the sequences that the embedding gives for texts of these names: one for
        each, or a single `"a+b"` if the featurizers read texts jointly."""
        return ("+".join(texts),) if self.config.reads_jointly else tuple(texts)

    def encode(self, texts: Mapping[str, pl.Series]) -> dict[str, Column]:
        """Return the columns of all featurizers for texts by name (`list[str]` of words per row), each
        named `"{sequence}.{featurizer}.{column}"`."""
        is_joint = self.config.reads_jointly and len(texts) > 1
        columns: dict[str, Column] = {}
        for name, featurizer in self.featurizers.items():
            with component_errors(featurizer, "to encode texts"):
                if is_joint:
                    encoded = [featurizer.encode_jointly(list(texts.values()))]
                else:
                    encoded = [featurizer.encode(words) for words in texts.values()]
                for sequence, own in zip(self.sequences(list(texts)), encoded, strict=True):
                    _require_lengths(featurizer, own)
                    columns |= {f"{sequence}.{name}.{key}": column for key, column in own.items()}
        return columns

    def build_embedding(self, build: Builder) -> nn.Module:
        """Return the `Embedding` of these features: one module for all tasks that share them."""

        def make() -> nn.Module:
            parts = {name: self._part(name, build) for name in self.featurizers}
            return Embedding(parts, {name: each.length_column for name, each in self.featurizers.items()})

        return build.module(self.config, self.path, make)

    def _part(self, name: str, build: Builder) -> nn.Module:
        component = self.config.featurizers[name]
        featurizer = self.featurizers[name]

        def make() -> nn.Module:
            with component_errors(featurizer, f"to build {component.path}"):
                return featurizer.build_embedding(build)

        return build.module(component.config, component.path, make)


def _require_lengths(featurizer: Featurizer[object], columns: Mapping[str, Column]) -> None:
    """Raise `ValueError` if it cannot be told which column has one item per vector."""
    ragged = [name for name, column in columns.items() if isinstance(column, Ragged)]
    named = featurizer.length_column
    if named is None and len(ragged) != 1:
        raise ValueError(f"`length_column` must name one of several ragged columns, {', '.join(ragged)}")
    if named is not None and named not in ragged:
        raise ValueError(f"`length_column` names {named}, but the ragged columns are {', '.join(ragged)}")


class Embedding(nn.Module):
    """Concatenates the featurizers' vectors.

    `embedding(batch, sequence)` returns vectors `[batch, time, dim]` and lengths `[batch]`, counted in
    what the vectors stand for: words or pieces.
    """

    def __init__(
        self, parts: Mapping[str, nn.Module], length_columns: Mapping[str, str | None] | None = None
    ) -> None:
        super().__init__()
        self.parts = nn.ModuleDict(parts)
        self.length_columns = dict.fromkeys(parts) | dict(length_columns or {})

    def reads(self, batch: Batch, sequence: str = "text") -> list[tuple[str, Tensor]]:
        """Return the tensors, by name, that the vectors of a sequence depend on."""
        named = (*batch.tensors.items(), *batch.lengths.items())
        return [(name, tensor) for name, tensor in named if name.startswith(f"{sequence}.")]

    def forward(self, batch: Batch, sequence: str = "text") -> tuple[Tensor, Tensor]:
        vectors: list[Tensor] = []
        lengths: Tensor | None = None
        for name, part in self.parts.items():
            prefix = f"{sequence}.{name}."
            columns = {
                key.removeprefix(prefix): value
                for key, value in batch.tensors.items()
                if key.startswith(prefix)
            }
            lengths = self._lengths(batch, name, prefix)
            vectors.append(part(columns))
        if lengths is None:
            raise ValueError("an embedding needs at least one featurizer")
        return (vectors[0] if len(vectors) == 1 else torch.cat(vectors, dim=-1)), lengths

    def _lengths(self, batch: Batch, name: str, prefix: str) -> Tensor:
        column = self.length_columns[name]
        if column is not None:
            return batch.lengths[prefix + column]
        return next(length for key, length in batch.lengths.items() if key.startswith(prefix))
