"""The components of mtl_text. Free of torch."""

from __future__ import annotations

from mtl import ComponentSpec, hookimpl

mtl_api = ">=1,<2"


def _spec(name: str, config: str, factory: str, summary: str) -> ComponentSpec:
    config, factory = f"mtl_text.{config}", f"mtl_text.{factory}"
    return ComponentSpec(name=name, config=config, factory=factory, summary=summary)


def _data(name: str, module: str, base: str, summary: str) -> ComponentSpec:
    return _spec(name, f"data_config:{base}Config", f"{module}:{base}", summary)


def _model(name: str, module: str, summary: str) -> ComponentSpec:
    return _spec(name, f"model_config:{name}Config", f"{module}:{name}", summary)


@hookimpl
def mtl_data_sources() -> list[ComponentSpec]:
    return [
        _data("TSV", "tsv", "TSV", "One row per line, cells separated by tabs, with or without a header"),
        _data("JSONL", "jsonl", "JSONL", "One JSON object per line"),
        _data("TextLines", "sources", "TextLines", "Plain text, one row per line"),
    ]


@hookimpl
def mtl_featurizers() -> list[ComponentSpec]:
    return [
        _data("word_feat", "featurizers", "WordFeat", "One vector per word of a vocabulary"),
        _data("char_feat", "featurizers", "CharFeat", "One vector per word from its characters, by a CNN"),
        _data("ngram_feat", "ngrams", "NgramFeat", "One vector per word from its hashed character n-grams"),
    ]


@hookimpl
def mtl_representations() -> list[ComponentSpec]:
    return [
        _model("BiLSTM", "encoders", "LSTM in both directions or one: one vector per token"),
        _model("BiLSTMDocAttention", "encoders", "BiLSTM, pooling and dense layers: one vector per document"),
        _model("Transformer", "transformer", "Layers of self-attention: one vector per token"),
        _model("PooledRepresentation", "encoders", "Any encoder and any pooling: one vector per document"),
        _model("Stack", "encoders", "Encoders on top of each other: one vector per token"),
        _model("DocNN", "encoders", "Convolutions over words and a maximum: one vector per document"),
    ]


@hookimpl
def mtl_poolings() -> list[ComponentSpec]:
    return [
        _model("SelfAttention", "pooling", "Mean of the sequence with learned weights"),
        _model("MaxPool", "pooling", "Maximum of the sequence"),
        _model("MeanPool", "pooling", "Mean of the sequence"),
        _model("ConcatPool", "pooling", "Vectors of several poolings, concatenated"),
        _model("LastStep", "pooling", "Last vector of the sequence, in each direction"),
        _model("Compare", "pooling", "Two vectors, their difference and their product, concatenated"),
    ]


@hookimpl
def mtl_decoders() -> list[ComponentSpec]:
    return [_model("MLPDecoder", "decoders", "Linear layers")]
