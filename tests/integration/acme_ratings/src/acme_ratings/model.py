"""The modules."""

import torch
from attrs import define
from torch import Tensor, nn

from acme_ratings.config import AcmeGRUConfig, RatingTaskConfig
from mtl import Batch, Builder, Loss, ModelOutput


class AcmeGRU(nn.Module):
    """`[batch, time, input_dim]` to `[batch, time, hidden_dim]`."""

    def __init__(self, config: AcmeGRUConfig, build: Builder, *, input_dim: int) -> None:
        super().__init__()
        self.gru = nn.GRU(input_dim, config.hidden_dim, batch_first=True)

    def forward(self, embedded: Tensor, lengths: Tensor) -> Tensor:
        states, _ = self.gru(embedded)
        inside = torch.arange(embedded.shape[1], device=lengths.device) < lengths[:, None]
        return states * inside[..., None]


@define
class RatingOutput(ModelOutput):
    """`ratings` is `[batch]`."""

    ratings: Tensor


class RatingModel(nn.Module):
    """Embeds, encodes, and reads one number."""

    def __init__(self, config: RatingTaskConfig, embedding: nn.Module, build: Builder) -> None:
        super().__init__()
        dim = config.features.output_dim
        self.embedding = embedding
        self.representation = build(config.representation, input_dim=dim)
        self.output = nn.Linear(config.representation.config.output_dim(dim), 1)

    def forward(self, batch: Batch) -> RatingOutput:
        ratings = self.output(self.representation(*self.embedding(batch))).squeeze(-1)
        if "rating" not in batch:
            return RatingOutput(None, ratings)
        return RatingOutput(Loss((ratings - batch["rating"]).square().sum(), len(batch)), ratings)
