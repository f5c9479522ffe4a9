"""The texts of a row as one vector, whether they are read jointly or one by one."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from mtl import Batch, Builder, Features


class TextEncoder(nn.Module):
    """Encodes each sequence with the same modules and combines the vectors.

    *Shape:* a batch to `[batch, dim]`.
    """

    def __init__(
        self,
        embedding: nn.Module,
        representation: nn.Module,
        sequences: tuple[str, ...],
        combination: nn.Module | None,
    ) -> None:
        super().__init__()
        self.embedding = embedding
        self.representation = representation
        self.sequences = sequences
        self.combination = combination

    def forward(self, batch: Batch) -> Tensor:
        vectors = self.vectors(batch)
        if self.combination is None:
            return vectors.squeeze(1)
        counts = torch.full((len(vectors),), len(self.sequences), device=vectors.device)
        combined: Tensor = self.combination(vectors, counts)
        return combined

    def vectors(self, batch: Batch) -> Tensor:
        """Return the vector of each sequence, `[batch, sequences, dim]`."""
        return torch.stack(
            [self.representation(*self.embedding(batch, name)) for name in self.sequences], dim=1
        )


def build_encoder(config: Any, features: Features, build: Builder) -> tuple[TextEncoder, int]:
    """Build the encoder of a task's texts and return it with the width of its vectors.

    Texts that the featurizers read jointly are one sequence, which needs no combination.
    """
    sequences = features.sequences(config.texts)
    embedding = features.build_embedding(build)
    width = config.features.output_dim
    representation = build(config.representation, input_dim=width)
    width = config.representation.config.output_dim(width)
    if len(sequences) == 1:
        return TextEncoder(embedding, representation, sequences, None), width
    combination = build(config.combination, input_dim=width)
    width = config.combination.config.output_dim(width)
    return TextEncoder(embedding, representation, sequences, combination), width
