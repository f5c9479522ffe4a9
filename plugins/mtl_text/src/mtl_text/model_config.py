"""Settings of the encoders, poolings and decoders. Free of torch."""

from __future__ import annotations

from typing import Literal

from attrs import Factory

from mtl import (
    Component,
    DecoderConfig,
    Direction,
    Output,
    PoolingConfig,
    RepresentationConfig,
    configclass,
    option,
    slot,
)


@configclass
class BiLSTMConfig(RepresentationConfig):
    """LSTM in both directions or one: a vector a token.

    Graves and Schmidhuber, "Framewise Phoneme Classification with Bidirectional LSTM and Other
    Neural Network Architectures", Neural Networks 18, 2005. With one layer the two halves of a
    vector are apart: the first has read the tokens up to its own, the second those from its own on.
    """

    lstm_dim: int = option(32, "Width of one direction's vectors.", minimum=1)
    num_layers: int = option(1, "Layers, each over the vectors of the one below.", minimum=1, maximum=1000)
    dropout: float = option(0.4, "Share of each layer's input that training drops.", minimum=0, below=1)
    bidirectional: bool = option(True, "Read from the end to the start as well.")

    @property
    def output(self) -> Output:
        """A vector a token."""
        return Output.SEQUENCE

    @property
    def direction(self) -> Direction:
        """Apart by direction, but only where no layer reads what a layer below has joined."""
        if not self.bidirectional:
            return Direction.CAUSAL
        return Direction.SPLIT if self.num_layers == 1 else Direction.BIDIRECTIONAL

    def output_dim(self, input_dim: int) -> int:
        """Width of all directions together."""
        return 2 * self.lstm_dim if self.bidirectional else self.lstm_dim


@configclass
class TransformerConfig(RepresentationConfig):
    """The Transformer's encoder: a vector a token.

    Vaswani et al., "Attention Is All You Need", NeurIPS 2017; normalised before each part, as in Xiong
    et al., "On Layer Normalization in the Transformer Architecture", ICML 2020.
    """

    model_dim: int = option(128, "Width of the vectors.", minimum=1)
    num_layers: int = option(2, "Layers, each over the vectors of the one below.", minimum=1, maximum=1000)
    num_heads: int = option(4, "Parts of a vector that attend apart; they divide `model_dim`.", minimum=1)
    feedforward_dim: int = option(512, "Width of the layer between two attentions.", minimum=1)
    dropout: float = option(0.1, "Share that training drops, everywhere.", minimum=0, below=1)
    causal: bool = option(False, "See only the tokens up to one's own.")

    def __attrs_post_init__(self) -> None:
        if self.model_dim % self.num_heads:
            raise ValueError(
                f"`model_dim` must be a multiple of `num_heads` ({self.num_heads}), but is {self.model_dim}"
            )

    @property
    def output(self) -> Output:
        """A vector a token."""
        return Output.SEQUENCE

    @property
    def direction(self) -> Direction:
        """Both directions are mixed, unless it is causal."""
        return Direction.CAUSAL if self.causal else Direction.BIDIRECTIONAL

    def output_dim(self, input_dim: int) -> int:
        """Width of the vectors."""
        return self.model_dim


@configclass
class BiLSTMDocAttentionConfig(RepresentationConfig):
    """An encoder of sequences, a pooling and dense layers: a vector a document.

    Lin et al., "A Structured Self-attentive Sentence Embedding", ICLR 2017, with one row of
    attention.
    """

    lstm: Component = slot("representation", "BiLSTM", "Tokens to a vector a token.", output=Output.SEQUENCE)
    pooling: Component = slot("pooling", "SelfAttention", "The vectors of all tokens to one.")
    mlp_dims: list[int] = option(
        Factory(list), "Widths of dense layers with ReLU after the pooling; none if empty.", minimum=1
    )
    dropout: float = option(0.4, "Share of the pooled vector that training drops.", minimum=0, below=1)

    @property
    def output(self) -> Output:
        """A vector a document."""
        return Output.DOCUMENT

    def output_dim(self, input_dim: int) -> int:
        """Width of the last dense layer, or of the pooled vector where there is none."""
        return self.mlp_dims[-1] if self.mlp_dims else self.pooled_dim(input_dim)

    def pooled_dim(self, input_dim: int) -> int:
        """Width of the pooled vector."""
        dim: int = self.pooling.config.output_dim(self.lstm.config.output_dim(input_dim))
        return dim


@configclass
class DocNNConfig(RepresentationConfig):
    """Convolutions over tokens, then the maximum over time: a vector a document.

    Kim, "Convolutional Neural Networks for Sentence Classification", EMNLP 2014.
    """

    kernel_sizes: list[int] = option(
        Factory(lambda: [3, 4, 5]), "Tokens that a convolution sees at once, for each convolution.", minimum=1
    )
    kernel_num: int = option(100, "Filters of each convolution.", minimum=1)
    dropout: float = option(0.4, "Share of the document's vector that training drops.", minimum=0, below=1)

    def __attrs_post_init__(self) -> None:
        if not self.kernel_sizes:
            raise ValueError("`kernel_sizes` must name at least one size, but is empty")

    @property
    def output(self) -> Output:
        """A vector a document."""
        return Output.DOCUMENT

    def output_dim(self, input_dim: int) -> int:
        """All filters of all convolutions."""
        return self.kernel_num * len(self.kernel_sizes)


@configclass
class PooledRepresentationConfig(RepresentationConfig):
    """Any encoder of sequences and any pooling: a vector a document."""

    encoder: Component = slot(
        "representation", "BiLSTM", "Tokens to a vector a token.", output=Output.SEQUENCE
    )
    pooling: Component = slot("pooling", "SelfAttention", "The vectors of all tokens to one.")

    @property
    def output(self) -> Output:
        """A vector a document."""
        return Output.DOCUMENT

    def output_dim(self, input_dim: int) -> int:
        """Width of the pooled vector."""
        dim: int = self.pooling.config.output_dim(self.encoder.config.output_dim(input_dim))
        return dim


@configclass
class StackConfig(RepresentationConfig):
    """Encoders of sequences, each over the vectors of the one before: a vector a token.

    Layers that see nothing after a token make a stack that does not either. Halves that are apart by
    direction stay so in a stack of one layer alone, since the next layer reads both halves.
    """

    layers: list[Component] = slot(
        "representation", ["BiLSTM", "BiLSTM"], "The encoders, the lowest first.", output=Output.SEQUENCE
    )

    @property
    def output(self) -> Output:
        """A vector a token."""
        return Output.SEQUENCE

    @property
    def direction(self) -> Direction:
        """That of a single layer; of several, causal where all are."""
        directions = [layer.config.direction for layer in self.layers]
        if len(directions) == 1:
            return Direction(directions[0])
        is_causal = all(direction is Direction.CAUSAL for direction in directions)
        return Direction.CAUSAL if is_causal else Direction.BIDIRECTIONAL

    def output_dim(self, input_dim: int) -> int:
        """Width of the last layer's vectors."""
        for layer in self.layers:
            input_dim = layer.config.output_dim(input_dim)
        return input_dim


@configclass
class SelfAttentionConfig(PoolingConfig):
    """Mean of the sequence with learnt weights.

    Lin et al., "A Structured Self-attentive Sentence Embedding", ICLR 2017, with one row of
    attention.
    """

    attn_dim: int = option(64, "Width of the hidden layer that scores a vector.", minimum=1)
    dropout: float = option(
        0.0, "Share of the vectors that training drops before they are scored.", minimum=0, below=1
    )


@configclass
class MaxPoolConfig(PoolingConfig):
    """Maximum of each dimension over the sequence."""


@configclass
class MeanPoolConfig(PoolingConfig):
    """Mean of the sequence."""


@configclass
class ConcatPoolConfig(PoolingConfig):
    """The vectors of several poolings, joined."""

    poolings: list[Component] = slot(
        "pooling", ["SelfAttention", "MeanPool", "MaxPool"], "The poolings, at least one."
    )

    def output_dim(self, input_dim: int) -> int:
        """Width of all vectors together."""
        return sum(pooling.config.output_dim(input_dim) for pooling in self.poolings)


@configclass
class LastStepConfig(PoolingConfig):
    """The vector of the last token, or where each of two directions ends."""

    both_ends: bool = option(
        False,
        "Take the second half of the vector from the first token: for an encoder of both directions, whose"
        " backward half ends there.",
    )


@configclass
class MLPDecoderConfig(DecoderConfig):
    """Linear layers; the last one gives the scores."""

    hidden_dims: list[int] = option(Factory(list), "Widths of the layers before the last.", minimum=1)
    activation: Literal["relu", "tanh", "gelu"] = option("relu", "What follows a layer, but not the last.")
    dropout: float = option(0.0, "Share that training drops between layers.", minimum=0, below=1)
    bias: bool = option(True, "Whether the layers add a learnt constant.")
