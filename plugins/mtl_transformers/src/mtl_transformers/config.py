"""Settings of pretrained models. Free of torch and transformers."""

from __future__ import annotations

from typing import Literal, Self

from attrs import Factory, evolve

from mtl import (
    Direction,
    FeaturizerConfig,
    FolderOrName,
    Output,
    PoolingConfig,
    RepresentationConfig,
    Unit,
    configclass,
    option,
)
from mtl_transformers.model_files import ModelDescription, describe_model, tokenizer_hash

DESCRIBED = ("hidden_size", "positions", "vocabulary", "model_type", "causal")
"""Settings that are read from the model."""


@configclass
class LoRAConfig:
    """Trains low-rank updates of a model's linear layers instead of the layers.

    Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", ICLR 2022.
    """

    rank: int = option(8, "Rank of the updates.", minimum=1)
    alpha: float = option(16.0, "Updates are scaled by `alpha / rank`.", above=0)
    dropout: float = option(0.0, "Share of an update's input that training drops.", minimum=0, below=1)
    target_modules: list[str] = option(
        Factory(list), "Names of the layers to update, such as `query`; peft's choice for the model if empty."
    )
    save: Literal["adapter", "whole", "merged"] = option(
        "adapter",
        "What the featurizer's `save_path` writes: the updates alone, with the name and the hash of the model"
        " that they need; the `whole` model with them; or the model with them `merged` into its weights,"
        " which `load_path` reads without `lora`.",
    )


@configclass
class PretrainedFeatConfig(FeaturizerConfig):
    """Vectors of words or pieces from a pretrained model of the Hugging Face ecosystem.

    The model is fine-tuned unless `freeze` is true. Its tokenizer, config and weights are saved with
    the run, which no longer needs the folder or the Hub.
    """

    model: FolderOrName = option(help="A folder with a model, or the name of one on the Hugging Face Hub.")
    revision: str | None = option(None, "Branch, tag or commit of a model on the Hub.")
    align: Literal["first", "mean", "last"] | None = option(
        "first",
        "Which of a word's pieces give its vector: the first, the mean of all, or the last. With null, every"
        " piece keeps its own vector, marks such as [CLS] included; a decoder then reads its begin token"
        " first.",
    )
    layers: Literal["last", "mean", "mix"] = option(
        "last",
        "The vectors of the last layer, the mean of the last `last_layers`, or a learned mix of all layers"
        " (Peters et al. 2018).",
    )
    last_layers: int = option(4, "Layers of the mean, with `layers` mean.", minimum=1)
    joint: bool = option(
        True, "Read the texts of a row as one sequence with separators; otherwise each text by itself."
    )
    max_length: int | None = option(
        None, "Pieces per sequence at most; as many as the model has positions for if absent.", minimum=4
    )
    long_texts: Literal["truncate", "windows", "error"] = option(
        "truncate",
        "What to do with a sequence longer than `max_length`: cut it, which is counted and reported, read it"
        " in overlapping windows, or refuse it.",
    )
    stride: int = option(64, "Pieces that neighboring windows share, at most half of one.", minimum=0)
    freeze_embeddings: bool = option(False, "Keep the model's embeddings as they are.")
    freeze_layers: int = option(0, "Keep so many of the lowest layers as they are.", minimum=0)
    gradient_checkpointing: bool = option(
        False, "Compute activations again in the backward pass instead of keeping them: slower, less memory."
    )
    dropout: float | None = option(
        None, "Dropout of the model's hidden layers; the model's own if absent.", minimum=0, below=1
    )
    lora: LoRAConfig | None = option(None, "Train low-rank updates instead of the model's own weights.")
    hidden_size: int | None = option(None, "Width of the vectors; read from the model.", minimum=1)
    positions: int | None = option(None, "Longest sequence of the model; read from it.", minimum=1)
    vocabulary: int | None = option(None, "Number of the model's pieces; read from it.", minimum=1)
    model_type: str | None = option(None, "Architecture of the model; read from it.")
    causal: bool | None = option(None, "Whether a piece sees only those before it; read from the model.")
    tokenizer_hash: str | None = option(None, "SHA-256 of the model's tokenizer; read from it.")

    def resolve(self) -> Self:
        """Return the config with what the model's own config says."""
        if all(getattr(self, name) is not None for name in (*DESCRIBED, "tokenizer_hash")):
            return self
        found = describe_model(self.model, self.revision)
        self.require(found)
        return evolve(  # type: ignore[misc]
            self,
            **{name: getattr(found, name) for name in DESCRIBED},
            tokenizer_hash=tokenizer_hash(self.model, self.revision),
        )

    def require(self, found: ModelDescription) -> None:
        """Raise `ValueError` if the config says something else of the model than the model itself."""
        for name in DESCRIBED:
            stated, real = getattr(self, name), getattr(found, name)
            if stated not in (None, real):
                raise ValueError(f"`{name}` must be {real!r}, as {self.model} says, but is {stated!r}")

    def __attrs_post_init__(self) -> None:
        longest = self.max_length or self.positions
        if longest is not None and self.positions is not None and longest > self.positions:
            raise ValueError(f"`max_length` must be at most {self.positions}, the model's, but is {longest}")
        if self.long_texts == "windows" and longest is not None and self.stride > longest // 2:
            raise ValueError(
                f"`stride` must be at most {longest // 2}, half of `max_length`, but is {self.stride}"
            )

    @property
    def output_dim(self) -> int:
        """Width of the vectors."""
        if self.hidden_size is None:
            raise ValueError("`hidden_size` is not known yet")
        return self.hidden_size

    @property
    def longest(self) -> int:
        """Pieces per sequence at most, marks included."""
        return self.max_length or self.positions or 512

    @property
    def direction(self) -> Direction:
        """Whether a piece sees those after it."""
        return Direction.CAUSAL if self.causal else Direction.BIDIRECTIONAL

    @property
    def unit(self) -> Unit:
        """Words if pieces are aligned to them."""
        return Unit.PIECE if self.align is None else Unit.WORD

    @property
    def reads_jointly(self) -> bool:
        """Whether several texts become one sequence."""
        return self.joint

    @property
    def predicts_tokens(self) -> bool:
        """A language model can predict pieces, but not words made of several, nor the pieces that windows
        repeat."""
        return self.align is None and self.long_texts != "windows"


@configclass
class IdentityConfig(RepresentationConfig):
    """The features as they are: for features that are an encoder, such as `pretrained_feat`."""

    @property
    def output(self) -> Output:
        """One vector per word or piece."""
        return Output.SEQUENCE

    @property
    def direction(self) -> Direction:
        """A position depends on its own vector only."""
        return Direction.CAUSAL

    def output_dim(self, input_dim: int) -> int:
        """The width of the features."""
        return input_dim


@configclass
class FirstTokenConfig(PoolingConfig):
    """The vector of the first token, such as BERT's [CLS], which `align` null keeps."""
