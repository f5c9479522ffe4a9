"""The Transformer's encoder."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mtl import Builder
from mtl_text.dropout import Dropout
from mtl_text.model_config import TransformerConfig
from mtl_text.pooling import padding_mask


class EncoderLayer(nn.TransformerEncoderLayer):
    """A pre-norm layer of torch with dropout masks that are sampled fast on a CPU."""

    def __init__(self, dim: int, heads: int, feedforward_dim: int, dropout: float) -> None:
        super().__init__(
            dim, heads, feedforward_dim, dropout, activation="gelu", batch_first=True, norm_first=True
        )
        self.dropout, self.dropout1, self.dropout2 = (Dropout(dropout) for _ in range(3))
        self.attention_dropout = Dropout(dropout)

    def _sa_block(
        self,
        x: Tensor,
        attn_mask: Tensor | None,
        key_padding_mask: Tensor | None,
        is_causal: bool = False,
    ) -> Tensor:
        """Attend as torch does; the dropout of attention weights is torch's own.

        Masks are floats that are added to the scores, `[time, time]` and `[batch, time]`.
        """
        draws_on_cpu = self.training and self.attention_dropout.p and x.device.type == "cpu"
        if not draws_on_cpu or torch.compiler.is_compiling():
            return super()._sa_block(x, attn_mask, key_padding_mask, is_causal)
        batch, time, dim = x.shape
        attention = self.self_attn
        projected = F.linear(x, attention.in_proj_weight, attention.in_proj_bias)
        query, key, value = (
            part.view(batch, time, attention.num_heads, -1).transpose(1, 2) for part in projected.chunk(3, -1)
        )
        scores = query @ key.transpose(-2, -1) * attention.head_dim**-0.5
        if attn_mask is not None:
            scores = scores + attn_mask
        if key_padding_mask is not None:
            scores = scores + key_padding_mask[:, None, None, :]
        attended = self.attention_dropout(scores.softmax(-1)) @ value
        mixed = attention.out_proj(attended.transpose(1, 2).reshape(batch, time, dim))
        dropped: Tensor = self.dropout1(mixed)
        return dropped


class Transformer(nn.Module):
    """Pre-norm layers of self-attention (Vaswani et al. 2017; Xiong et al. 2020).

    Positions are sinusoidal, so a text may have any length. A causal encoder attends to a position's own
    token and those before it; padding is never attended to.

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
            EncoderLayer(config.model_dim, config.num_heads, config.feedforward_dim, config.dropout)
            for _ in range(config.num_layers)
        )
        self.norm = nn.LayerNorm(config.model_dim)

    def forward(self, embedded: Tensor, lengths: Tensor) -> Tensor:
        time = embedded.shape[1]
        padded = padding_mask(lengths, time)
        # A softmax over nothing is NaN: a row without tokens attends to its first position.
        hidden = padding_mask(lengths.clamp(min=1), time)
        future = _future(time, embedded.device) if self.causal else None
        states = self.projection(embedded) + sinusoids(time, self.model_dim, embedded)
        states = self.dropout(states)
        for layer in self.layers:
            states = layer(states, src_mask=future, src_key_padding_mask=hidden)
        normed: Tensor = self.norm(states)
        return normed.masked_fill(padded[:, :, None], 0)


def _future(time: int, device: torch.device) -> Tensor:
    """Return a mask that is True where a position (first dimension) must not attend to another:
    `[time, time]`."""
    return torch.ones(time, time, dtype=torch.bool, device=device).triu(1)


def sinusoids(time: int, dim: int, like: Tensor) -> Tensor:
    """Return positions as sines and cosines of wavelengths from 2 pi to 20,000 pi, `[time, dim]`.

    Vaswani et al., "Attention Is All You Need", NeurIPS 2017, section 3.5.
    """
    position = torch.arange(time, device=like.device)[:, None]
    rates = torch.exp(torch.arange(0, dim, 2, device=like.device) * (-math.log(10_000) / dim))
    angles = position * rates
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)[:, :dim].to(like.dtype)
