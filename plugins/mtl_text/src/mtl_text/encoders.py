"""Representations: embedded tokens to one vector per token or per document."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from mtl import Builder
from mtl_text.decoders import dense_layers
from mtl_text.dropout import Dropout
from mtl_text.model_config import (
    BiLSTMConfig,
    BiLSTMDocAttentionConfig,
    DocNNConfig,
    PooledRepresentationConfig,
    StackConfig,
)
from mtl_text.pooling import has_padding, masked_max, zero_padding


class BiLSTM(nn.Module):
    """LSTM in both directions or one (Graves and Schmidhuber 2005).

    The first half of a vector is the forward state, the second the backward state. Returns what
    `torch.nn.LSTM` returns for packed sequences, without packing, which slows the backward pass on a CPU
    quadratically in time. Padding cannot change a forward state, and the backward direction reads each
    row reversed within its length.

    *Shape:* `embedded` `[batch, time, input_dim]`, `lengths` `[batch]` to
    `[batch, time, output_dim]`, zeros after a row's length.
    """

    def __init__(self, config: BiLSTMConfig, build: Builder, *, input_dim: int) -> None:
        super().__init__()
        input_dims = [input_dim] + [config.output_dim(input_dim)] * (config.num_layers - 1)

        def layers() -> nn.ModuleList:
            return nn.ModuleList(nn.LSTM(dim, config.lstm_dim, batch_first=True) for dim in input_dims)

        self.dropout = Dropout(config.dropout)
        self.forward_layers = layers()
        self.backward_layers = layers() if config.bidirectional else None

    def forward(self, embedded: Tensor, lengths: Tensor) -> Tensor:
        mirror = _mirror(lengths, embedded.shape[1])
        states = embedded
        for depth, forward_layer in enumerate(self.forward_layers):
            inputs = self.dropout(states)
            states, _ = forward_layer(inputs)
            if self.backward_layers is not None:
                backward_states, _ = self.backward_layers[depth](mirror(inputs))
                states = torch.cat([states, mirror(backward_states)], dim=-1)
        return zero_padding(states, lengths)


def _mirror(lengths: Tensor, time: int) -> Callable[[Tensor], Tensor]:
    """Return a function that reverses each row of a `[batch, time, dim]` within its length."""
    if not has_padding(lengths, time):
        return lambda sequence: sequence.flip(1)
    place = torch.arange(time, device=lengths.device)
    mirrored = torch.where(place < lengths[:, None], lengths[:, None] - 1 - place, place)
    starts = time * torch.arange(lengths.shape[0], device=lengths.device)
    # One index into the flattened positions is several times faster than two.
    flat = (starts[:, None] + mirrored).flatten()
    return lambda sequence: sequence.flatten(0, 1).index_select(0, flat).view_as(sequence)


class BiLSTMDocAttention(nn.Module):
    """A sequence encoder, a pooling, dropout and dense layers (Lin et al. 2017).

    *Shape:* `embedded` `[batch, time, input_dim]`, `lengths` `[batch]` to `[batch, output_dim]`.
    """

    def __init__(self, config: BiLSTMDocAttentionConfig, build: Builder, *, input_dim: int) -> None:
        super().__init__()
        self.lstm = build(config.lstm, input_dim=input_dim)
        self.pooling = build(config.pooling, input_dim=config.lstm.config.output_dim(input_dim))
        self.dropout = Dropout(config.dropout)
        self.dense = dense_layers(config.pooled_dim(input_dim), config.mlp_dims)

    def forward(self, embedded: Tensor, lengths: Tensor) -> Tensor:
        pooled = self.pooling(self.lstm(embedded, lengths), lengths)
        document: Tensor = self.dense(self.dropout(pooled))
        return document


class PooledRepresentation(nn.Module):
    """A sequence encoder and a pooling.

    *Shape:* `embedded` `[batch, time, input_dim]`, `lengths` `[batch]` to `[batch, output_dim]`.
    """

    def __init__(self, config: PooledRepresentationConfig, build: Builder, *, input_dim: int) -> None:
        super().__init__()
        self.encoder = build(config.encoder, input_dim=input_dim)
        self.pooling = build(config.pooling, input_dim=config.encoder.config.output_dim(input_dim))

    def forward(self, embedded: Tensor, lengths: Tensor) -> Tensor:
        document: Tensor = self.pooling(self.encoder(embedded, lengths), lengths)
        return document


class Stack(nn.Module):
    """Sequence encoders, each over the vectors of the one before.

    *Shape:* `embedded` `[batch, time, input_dim]`, `lengths` `[batch]` to
    `[batch, time, output_dim]`, zeros after a row's length.
    """

    def __init__(self, config: StackConfig, build: Builder, *, input_dim: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList()
        for layer in config.layers:
            self.layers.append(build(layer, input_dim=input_dim))
            input_dim = layer.config.output_dim(input_dim)

    def forward(self, embedded: Tensor, lengths: Tensor) -> Tensor:
        for layer in self.layers:
            embedded = layer(embedded, lengths)
        return embedded


class DocNN(nn.Module):
    """Convolutions over tokens, ReLU and the maximum over time (Kim 2014).

    Rows are padded with zeros on both sides, so that every window that overlaps the row counts, and rows
    shorter than a kernel work.

    *Shape:* `embedded` `[batch, time, input_dim]`, `lengths` `[batch]` to `[batch, output_dim]`.
    """

    def __init__(self, config: DocNNConfig, build: Builder, *, input_dim: int) -> None:
        super().__init__()
        self.kernel_sizes = config.kernel_sizes
        self.convolutions = nn.ModuleList(
            nn.Conv1d(input_dim, config.kernel_num, size, padding=size - 1) for size in self.kernel_sizes
        )
        self.dropout = Dropout(config.dropout)

    def forward(self, embedded: Tensor, lengths: Tensor) -> Tensor:
        channels = zero_padding(embedded, lengths).transpose(1, 2)
        vectors = []
        for size, convolution in zip(self.kernel_sizes, self.convolutions, strict=True):
            windows = torch.where(lengths > 0, lengths + size - 1, 0)
            vectors.append(masked_max(convolution(channels).transpose(1, 2), windows).relu())
        document: Tensor = self.dropout(torch.cat(vectors, dim=-1))
        return document
