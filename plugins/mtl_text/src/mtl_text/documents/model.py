"""The texts of a row as one vector."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mtl import Batch, Builder, Features
from mtl_text.documents.config import DocumentTaskConfig
from mtl_text.model_config import CompareConfig
from mtl_text.pooling import Compare


class DocumentModel(nn.Module):
    """Encodes each sequence of a row with the same modules, and combines the vectors of several.

    What it adds to its parts is a decoder: subclasses define `forward`.
    """

    def __init__(
        self,
        *,
        embedding: nn.Module,
        representation: nn.Module,
        decoder: nn.Module,
        sequences: Sequence[str] = ("text",),
        combination: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.embedding = embedding
        self.representation = representation
        self.combination = combination
        self.decoder = decoder
        self.sequences = tuple(sequences)

    def vectors(self, batch: Batch) -> list[Tensor]:
        """Return the vectors of each sequence, `[batch, dim]`."""
        return [self.representation(*self.embedding(batch, name)) for name in self.sequences]

    def vector(self, batch: Batch) -> Tensor:
        """Return the vector of each row, `[batch, dim]`."""
        vectors = self.vectors(batch)
        if self.combination is None:
            return vectors[0]
        counts = torch.full((vectors[0].shape[0],), len(vectors), device=vectors[0].device)
        combined: Tensor = self.combination(torch.stack(vectors, dim=1), counts)
        return combined

    def scores(self, batch: Batch) -> Tensor:
        """Return the decoder's output for each row's vector, float32 `[batch, scores]`."""
        scores: Tensor = self.decoder(self.vector(batch))
        return scores.float()


def document_modules(
    config: DocumentTaskConfig,
    features: Features,
    build: Builder,
    *,
    output_dim: int,
    output_names: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Build the modules of a `DocumentModel` and return them as its arguments.

    Texts that the featurizers read jointly are one sequence.
    """
    sequences = features.sequences(config.texts)
    embedding = features.build_embedding(build)
    width = config.features.output_dim
    representation = build(config.representation, input_dim=width)
    width = config.representation.config.output_dim(width)
    combination: nn.Module | None = None
    if len(sequences) > 1:
        chosen = config.combination_of_texts
        if chosen is None:
            combination, width = Compare(CompareConfig(), build, input_dim=width), 4 * width
        else:
            combination = build(chosen, input_dim=width)
            width = chosen.config.output_dim(width)
    names: dict[str, Any] = {} if output_names is None else {"output_names": output_names}
    decoder = build(config.decoder, input_dim=width, output_dim=output_dim, **names)
    return {
        "embedding": embedding,
        "representation": representation,
        "combination": combination,
        "decoder": decoder,
        "sequences": sequences,
    }
