"""Poolings: a sequence `[batch, time, dim]` to one vector per row `[batch, dim]`.

Padding does not count, and a row of length 0 becomes zeros. The sequence may be shared with other tasks
and is never written to.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mtl import Builder
from mtl_text.dropout import Dropout
from mtl_text.model_config import (
    CompareConfig,
    ConcatPoolConfig,
    LastStepConfig,
    MaxPoolConfig,
    MeanPoolConfig,
    SelfAttentionConfig,
)


def padding_mask(lengths: Tensor, time: int) -> Tensor:
    """Return a mask that is True after the end of a row: `[batch]` to `[batch, time]`."""
    return torch.arange(time, device=lengths.device) >= lengths[:, None]


def has_padding(lengths: Tensor, time: int) -> bool:
    """Return whether a row may end before `time`; always true on a GPU, as finding out would synchronize."""
    known = lengths.device.type == "cpu" and not torch.compiler.is_compiling()
    return not known or bool((lengths < time).any())


def zero_padding(sequence: Tensor, lengths: Tensor) -> Tensor:
    """Return `[batch, time, dim]` with zeros after the end of each row; without padding, the input."""
    time = sequence.shape[1]
    if not has_padding(lengths, time):
        return sequence
    return sequence.masked_fill(padding_mask(lengths, time)[:, :, None], 0)


def masked_max(sequence: Tensor, lengths: Tensor) -> Tensor:
    """Return the maximum over each row's length, `[batch, dim]`; zeros for length 0."""
    padded = padding_mask(lengths, sequence.shape[1])
    highest = sequence.masked_fill(padded[:, :, None], float("-inf")).amax(dim=1)
    return highest.masked_fill((lengths == 0)[:, None], 0)


class SelfAttention(nn.Module):
    """`softmax(w2 tanh(W1 x))` over time weighs the vectors `x` (Lin et al. 2017).

    *Shape:* `sequence` `[batch, time, input_dim]`, `lengths` `[batch]` to `[batch, input_dim]`.
    """

    def __init__(self, config: SelfAttentionConfig, build: Builder, *, input_dim: int) -> None:
        super().__init__()
        self.dropout = Dropout(config.dropout)
        self.hidden = nn.Linear(input_dim, config.attn_dim, bias=False)
        self.score = nn.Linear(config.attn_dim, 1, bias=False)
        for layer in (self.hidden, self.score):
            nn.init.uniform_(layer.weight, -0.1, 0.1)

    def forward(self, sequence: Tensor, lengths: Tensor) -> Tensor:
        time = sequence.shape[1]
        sequence = zero_padding(sequence, lengths)
        scores = self.score(self.hidden(self.dropout(sequence)).tanh()).squeeze(-1)
        if has_padding(lengths, time):
            # The lowest finite number: a softmax over -inf only is NaN.
            scores = scores.masked_fill(padding_mask(lengths, time), torch.finfo(scores.dtype).min)
        weights = scores.softmax(dim=-1).to(sequence.dtype)
        return torch.einsum("bt,btd->bd", weights, sequence)


class MaxPool(nn.Module):
    """Maximum of each dimension over time.

    *Shape:* `sequence` `[batch, time, input_dim]`, `lengths` `[batch]` to `[batch, input_dim]`.
    """

    def __init__(self, config: MaxPoolConfig, build: Builder, *, input_dim: int) -> None:
        super().__init__()

    def forward(self, sequence: Tensor, lengths: Tensor) -> Tensor:
        return masked_max(sequence, lengths)


class MeanPool(nn.Module):
    """Mean over time.

    *Shape:* `sequence` `[batch, time, input_dim]`, `lengths` `[batch]` to `[batch, input_dim]`.
    """

    def __init__(self, config: MeanPoolConfig, build: Builder, *, input_dim: int) -> None:
        super().__init__()

    def forward(self, sequence: Tensor, lengths: Tensor) -> Tensor:
        total = zero_padding(sequence, lengths).sum(dim=1)
        return total / lengths.clamp(min=1)[:, None]


class ConcatPool(nn.Module):
    """The vectors of several poolings, concatenated.

    *Shape:* `sequence` `[batch, time, input_dim]`, `lengths` `[batch]` to `[batch, output_dim]`.
    """

    def __init__(self, config: ConcatPoolConfig, build: Builder, *, input_dim: int) -> None:
        super().__init__()
        self.poolings = nn.ModuleList(build(pooling, input_dim=input_dim) for pooling in config.poolings)

    def forward(self, sequence: Tensor, lengths: Tensor) -> Tensor:
        return torch.cat([pooling(sequence, lengths) for pooling in self.poolings], dim=-1)


class LastStep(nn.Module):
    """The vector at the last position of a row; with `both_ends`, its second half is that of the
    first position, as in the final states of a bidirectional `torch.nn.LSTM`.

    *Shape:* `sequence` `[batch, time, input_dim]`, `lengths` `[batch]` to `[batch, input_dim]`.
    """

    def __init__(self, config: LastStepConfig, build: Builder, *, input_dim: int) -> None:
        super().__init__()
        self.both_ends = config.both_ends

    def forward(self, sequence: Tensor, lengths: Tensor) -> Tensor:
        rows = torch.arange(lengths.shape[0], device=lengths.device)
        vectors = sequence[rows, (lengths - 1).clamp(min=0)]
        if self.both_ends:
            half = sequence.shape[-1] // 2
            vectors = torch.cat([vectors[:, :half], sequence[:, 0, half:]], dim=-1)
        return vectors.masked_fill((lengths == 0)[:, None], 0)


class Compare(nn.Module):
    """Concatenates two vectors u and v with |u - v| and u · v (Mou et al. 2016).

    *Shape:* `[batch, 2, dim]` to `[batch, 4 * dim]`.
    """

    def __init__(self, config: CompareConfig, build: Builder, *, input_dim: int) -> None:
        super().__init__()

    def forward(self, vectors: Tensor, lengths: Tensor) -> Tensor:
        first, second = vectors.unbind(dim=1)
        return torch.cat([first, second, (first - second).abs(), first * second], dim=-1)
