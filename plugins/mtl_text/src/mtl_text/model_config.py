"""Configs of the encoders, poolings and decoders. Free of torch."""

from __future__ import annotations

from typing import Literal

from attrs import Factory

from mtl import (
    Component,
    DecoderConfig,
    Direction,
    Output,
    PoolingConfig,
    PoolingInput,
    RepresentationConfig,
    configclass,
    option,
    slot,
)


@configclass
class BiLSTMConfig(RepresentationConfig):
    """LSTM in both directions or one: one vector per token.

    Graves and Schmidhuber, "Framewise Phoneme Classification with Bidirectional LSTM and Other
    Neural Network Architectures", Neural Networks 18, 2005. With one layer, the first half of a
    vector depends on the tokens up to its own, the second half on those from its own on.
    """

    lstm_dim: int = option(32, "Hidden size per direction.", minimum=1)
    num_layers: int = option(1, "Layers.", minimum=1, maximum=1000)
    dropout: float = option(0.4, "Dropout probability of the input of each layer.", minimum=0, below=1)
    bidirectional: bool = option(True, "Also read from right to left.")

    @property
    def output(self) -> Output:
        """One vector per token."""
        return Output.SEQUENCE

    @property
    def direction(self) -> Direction:
        """Split if no layer reads both directions of the layer below."""
        if not self.bidirectional:
            return Direction.CAUSAL
        return Direction.SPLIT if self.num_layers == 1 else Direction.BIDIRECTIONAL

    def output_dim(self, input_dim: int) -> int:
        """Width of both directions together."""
        return 2 * self.lstm_dim if self.bidirectional else self.lstm_dim


@configclass
class TransformerConfig(RepresentationConfig):
    """The encoder of the Transformer: one vector per token.

    Vaswani et al., "Attention Is All You Need", NeurIPS 2017; normalized before each part, as in Xiong
    et al., "On Layer Normalization in the Transformer Architecture", ICML 2020.
    """

    model_dim: int = option(128, "Model width.", minimum=1)
    num_layers: int = option(2, "Layers.", minimum=1, maximum=1000)
    num_heads: int = option(4, "Attention heads; `model_dim` must be a multiple.", minimum=1)
    feedforward_dim: int = option(512, "Width of the feed-forward layers.", minimum=1)
    dropout: float = option(0.1, "Dropout probability of all layers.", minimum=0, below=1)
    causal: bool = option(False, "Causal attention: a token attends to itself and to those before it.")

    def __attrs_post_init__(self) -> None:
        if self.model_dim % self.num_heads:
            raise ValueError(
                f"`model_dim` must be a multiple of `num_heads` ({self.num_heads}), but is {self.model_dim}"
            )

    @property
    def output(self) -> Output:
        """One vector per token."""
        return Output.SEQUENCE

    @property
    def direction(self) -> Direction:
        """Bidirectional unless `causal`."""
        return Direction.CAUSAL if self.causal else Direction.BIDIRECTIONAL

    def output_dim(self, input_dim: int) -> int:
        """Width of the vectors."""
        return self.model_dim


@configclass
class BiLSTMDocAttentionConfig(RepresentationConfig):
    """A sequence encoder, a pooling and dense layers: one vector per document.

    Lin et al., "A Structured Self-attentive Sentence Embedding", ICLR 2017, with one row of
    attention.
    """

    lstm: Component = slot(
        "representation", "BiLSTM", "Tokens to one vector per token.", output=Output.SEQUENCE
    )
    pooling: Component = slot(
        "pooling", "SelfAttention", "Token vectors to one document vector.", input=PoolingInput.SEQUENCE
    )
    mlp_dims: list[int] = option(
        Factory(list), "Widths of dense layers with ReLU after the pooling.", minimum=1
    )
    dropout: float = option(0.4, "Dropout probability of the pooled vector.", minimum=0, below=1)

    @property
    def output(self) -> Output:
        """One vector per document."""
        return Output.DOCUMENT

    def output_dim(self, input_dim: int) -> int:
        """Width of the last dense layer, or of the pooled vector if there is none."""
        return self.mlp_dims[-1] if self.mlp_dims else self.pooled_dim(input_dim)

    def pooled_dim(self, input_dim: int) -> int:
        """Width of the pooled vector."""
        dim: int = self.pooling.config.output_dim(self.lstm.config.output_dim(input_dim))
        return dim


@configclass
class DocNNConfig(RepresentationConfig):
    """Convolutions over tokens, then the maximum over time: one vector per document.

    Kim, "Convolutional Neural Networks for Sentence Classification", EMNLP 2014.
    """

    kernel_sizes: list[int] = option(
        Factory(lambda: [3, 4, 5]), "Width of each convolution, in tokens.", minimum=1
    )
    kernel_num: int = option(100, "Filters per convolution.", minimum=1)
    dropout: float = option(0.4, "Dropout probability of the document vector.", minimum=0, below=1)

    def __attrs_post_init__(self) -> None:
        if not self.kernel_sizes:
            raise ValueError("`kernel_sizes` must name at least one size, but is empty")

    @property
    def output(self) -> Output:
        """One vector per document."""
        return Output.DOCUMENT

    def output_dim(self, input_dim: int) -> int:
        """Filters of all convolutions."""
        return self.kernel_num * len(self.kernel_sizes)


@configclass
class PooledRepresentationConfig(RepresentationConfig):
    """Any sequence encoder and any pooling: one vector per document."""

    encoder: Component = slot(
        "representation", "BiLSTM", "Tokens to one vector per token.", output=Output.SEQUENCE
    )
    pooling: Component = slot(
        "pooling", "SelfAttention", "The tokens' vectors to one.", input=PoolingInput.SEQUENCE
    )

    @property
    def output(self) -> Output:
        """One vector per document."""
        return Output.DOCUMENT

    def output_dim(self, input_dim: int) -> int:
        """Width of the pooled vector."""
        dim: int = self.pooling.config.output_dim(self.encoder.config.output_dim(input_dim))
        return dim


@configclass
class StackConfig(RepresentationConfig):
    """Sequence encoders, each over the vectors of the one before: one vector per token.

    A stack of causal layers is causal. It is split only if it has a single layer that is split: a next
    layer would read both halves.
    """

    layers: list[Component] = slot(
        "representation", ["BiLSTM", "BiLSTM"], "The encoders, lowest first.", output=Output.SEQUENCE
    )

    @property
    def output(self) -> Output:
        """One vector per token."""
        return Output.SEQUENCE

    @property
    def direction(self) -> Direction:
        """That of the layers if they agree; causal if none depends on later tokens."""
        directions = {layer.config.direction for layer in self.layers}
        if len(self.layers) == 1 or directions == {Direction.ITSELF}:
            return Direction(self.layers[0].config.direction)
        is_causal = directions <= {Direction.ITSELF, Direction.CAUSAL}
        return Direction.CAUSAL if is_causal else Direction.BIDIRECTIONAL

    def output_dim(self, input_dim: int) -> int:
        """Width of the last layer's vectors."""
        for layer in self.layers:
            input_dim = layer.config.output_dim(input_dim)
        return input_dim


@configclass
class SelfAttentionConfig(PoolingConfig):
    """Mean of the sequence with learned weights.

    Lin et al., "A Structured Self-attentive Sentence Embedding", ICLR 2017, with one row of
    attention.
    """

    attn_dim: int = option(64, "Width of the hidden layer that scores a vector.", minimum=1)
    dropout: float = option(
        0.0, "Dropout probability of the vectors before they are scored.", minimum=0, below=1
    )


@configclass
class MaxPoolConfig(PoolingConfig):
    """Maximum of each dimension over the sequence."""


@configclass
class MeanPoolConfig(PoolingConfig):
    """Mean of the sequence."""


@configclass
class ConcatPoolConfig(PoolingConfig):
    """The vectors of several poolings, concatenated."""

    poolings: list[Component] = slot(
        "pooling", ["SelfAttention", "MeanPool", "MaxPool"], "The poolings, at least one."
    )

    @property
    def input(self) -> PoolingInput:
        """Two vectors if one of the poolings takes no others."""
        inputs = {pooling.config.input for pooling in self.poolings}
        return PoolingInput.PAIR if PoolingInput.PAIR in inputs else PoolingInput.SEQUENCE

    def output_dim(self, input_dim: int) -> int:
        """Width of all vectors together."""
        return sum(pooling.config.output_dim(input_dim) for pooling in self.poolings)


@configclass
class LastStepConfig(PoolingConfig):
    """The vector of the last token, or that of the last in each direction."""

    both_ends: bool = option(
        False,
        "Take the second half of the vector from the first token, where the backward half of a bidirectional"
        " encoder ends.",
    )


@configclass
class CompareConfig(PoolingConfig):
    """Two vectors u and v with |u - v| and u · v, concatenated.

    Mou et al., "Natural Language Inference by Tree-Based Convolution and Heuristic Matching", ACL 2016.
    """

    @property
    def input(self) -> PoolingInput:
        """Two vectors."""
        return PoolingInput.PAIR

    def output_dim(self, input_dim: int) -> int:
        """Width of the four parts together."""
        return 4 * input_dim


@configclass
class MLPDecoderConfig(DecoderConfig):
    """Linear layers; the last one returns the scores."""

    hidden_dims: list[int] = option(Factory(list), "Widths of the layers before the last.", minimum=1)
    activation: Literal["relu", "tanh", "gelu"] = option("relu", "Activation after each layer but the last.")
    dropout: float = option(0.0, "Dropout probability between layers.", minimum=0, below=1)
    bias: bool = option(True, "Whether the layers have a bias.")
