"""Combinations: the vectors of a row's texts as one."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mtl import Builder
from mtl_tasks.model_config import CompareConfig


class Compare(nn.Module):
    """Joins two vectors u and v with |u - v| and u · v.

    Mou et al., "Natural Language Inference by Tree-Based Convolution and Heuristic Matching", ACL 2016.

    *Shape:* `[batch, 2, dim]` to `[batch, 4 * dim]`.
    """

    def __init__(self, config: CompareConfig, build: Builder, *, input_dim: int) -> None:
        super().__init__()

    def forward(self, vectors: Tensor, lengths: Tensor) -> Tensor:
        first, second = vectors.unbind(dim=1)
        return torch.cat([first, second, (first - second).abs(), first * second], dim=-1)
