"""The Transformer's encoder."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from mtl import Builder
from mtl_text.dropout import Dropout
from mtl_text.model_config import TransformerConfig
from mtl_text.pooling import padding_mask


class Transformer(nn.Module):
    """Layers of self-attention, normalised before each part (Vaswani et al. 2017; Xiong et al. 2020).

    Positions are sines, so that a text may be of any length. A causal one attends to a position's own
    token and those before it; padding is attended to by nobody.

    *Shape:* `embedded` `[batch, time, input_dim]`, `lengths` `[batch]` to `[batch, time, model_dim]`,
    zeros after a row's length.
    """

    def __init__(self, config: TransformerConfig, build: Builder, *, input_dim: int) -> None:
        super().__init__()
        self.causal = config.causal
        self.model_dim = config.model_dim
        self.projection = nn.Linear(input_dim, config.model_dim)
        self.dropout = Dropout(config.dropout)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                config.model_dim,
                config.num_heads,
                config.feedforward_dim,
                config.dropout,
                activation="gelu",
                batch_first=True,
                norm_first=True,
            )
            for _ in range(config.num_layers)
        )
        self.norm = nn.LayerNorm(config.model_dim)

    def forward(self, embedded: Tensor, lengths: Tensor) -> Tensor:
        time = embedded.shape[1]
        padded = padding_mask(lengths, time)
        # A softmax over nothing is NaN, so a row without tokens attends to its first position.
        hidden = padding_mask(lengths.clamp(min=1), time)
        future = _future(time, embedded.device) if self.causal else None
        states = self.projection(embedded) + sinusoids(time, self.model_dim, embedded)
        states = self.dropout(states)
        for layer in self.layers:
            states = layer(states, src_mask=future, src_key_padding_mask=hidden)
        normed: Tensor = self.norm(states)
        return normed.masked_fill(padded[:, :, None], 0)


def _future(time: int, device: torch.device) -> Tensor:
    """True where a position (first dimension) may not see another (second): `[time, time]`."""
    return torch.ones(time, time, dtype=torch.bool, device=device).triu(1)


def sinusoids(time: int, dim: int, like: Tensor) -> Tensor:
    """Positions as sines and cosines of wavelengths from 2 pi to 20,000 pi: `[time, dim]`.

    Vaswani et al., "Attention Is All You Need", NeurIPS 2017, section 3.5.
    """
    position = torch.arange(time, device=like.device)[:, None]
    rates = torch.exp(torch.arange(0, dim, 2, device=like.device) * (-math.log(10_000) / dim))
    angles = position * rates
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)[:, :dim].to(like.dtype)
