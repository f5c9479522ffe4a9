"""A task's featurizers together: tokens to columns, columns to one vector a token."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl
import torch
from attrs import frozen
from torch import Tensor, nn

from mtl.builder import Builder
from mtl.components import FeaturesConfig, Featurizer
from mtl.data.columns import Batch, Column
from mtl.errors import component_errors


@frozen(eq=False)
class Features:
    """The featurizers of one `features` block by name; a featurizer shared with another task is
    the same object there. `path` is the block's JSON path."""

    config: FeaturesConfig
    featurizers: Mapping[str, Featurizer[object]]
    path: str = "features"

    def encode(self, tokens: pl.Series) -> dict[str, Column]:
        """The columns of all featurizers, each named `featurizer.column`."""
        columns: dict[str, Column] = {}
        for name, featurizer in self.featurizers.items():
            with component_errors(featurizer, "to encode tokens"):
                columns |= {f"{name}.{key}": column for key, column in featurizer.encode(tokens).items()}
        return columns

    def build_embedding(self, build: Builder) -> nn.Module:
        """An `Embedding` of these features; the same module for all that share it."""
        return build.module(
            self.config, self.path, lambda: Embedding({n: self._part(n, build) for n in self.featurizers})
        )

    def _part(self, name: str, build: Builder) -> nn.Module:
        component = self.config.featurizers[name]
        featurizer = self.featurizers[name]

        def make() -> nn.Module:
            with component_errors(featurizer, f"to build {component.path}"):
                return featurizer.build_embedding(build)

        return build.module(component.config, component.path, make)


class Embedding(nn.Module):
    """Concatenates the featurizers' vectors: a batch to (`[batch, time, dim]`, lengths `[batch]`)."""

    def __init__(self, parts: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.parts = nn.ModuleDict(parts)

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        vectors: list[Tensor] = []
        lengths: Tensor | None = None
        for name, part in self.parts.items():
            columns = {
                key.removeprefix(f"{name}."): value
                for key, value in batch.tensors.items()
                if key.startswith(f"{name}.")
            }
            lengths = next(length for key, length in batch.lengths.items() if key.startswith(f"{name}."))
            vectors.append(part(columns))
        if lengths is None:
            raise ValueError("an embedding needs at least one featurizer")
        return (vectors[0] if len(vectors) == 1 else torch.cat(vectors, dim=-1)), lengths
