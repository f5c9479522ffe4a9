"""Word and character featurizers, data sources, text encoders and decoders for mtl.

Modules that need polars or torch are imported on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from mtl_text.data_config import (
    CharFeatConfig,
    JSONLConfig,
    NgramFeatConfig,
    TextLinesConfig,
    TSVConfig,
    WordFeatConfig,
)
from mtl_text.model_config import (
    BiLSTMConfig,
    BiLSTMDocAttentionConfig,
    CompareConfig,
    ConcatPoolConfig,
    DocNNConfig,
    LastStepConfig,
    MaxPoolConfig,
    MeanPoolConfig,
    MLPDecoderConfig,
    PooledRepresentationConfig,
    SelfAttentionConfig,
    StackConfig,
    TransformerConfig,
)
from mtl_text.text import (
    BOS,
    BOS_ID,
    EOS,
    EOS_ID,
    MASK,
    MASK_ID,
    PAD,
    PAD_ID,
    SPECIAL_TOKENS,
    UNK,
    UNK_ID,
)

if TYPE_CHECKING:
    from mtl_text.decoders import MLPDecoder
    from mtl_text.encoders import BiLSTM, BiLSTMDocAttention, DocNN, PooledRepresentation, Stack
    from mtl_text.featurizers import CharFeat, WordFeat
    from mtl_text.jsonl import JSONL
    from mtl_text.ngrams import NgramFeat
    from mtl_text.pooling import Compare, ConcatPool, LastStep, MaxPool, MeanPool, SelfAttention
    from mtl_text.sources import TextLines
    from mtl_text.transformer import Transformer
    from mtl_text.tsv import TSV
    from mtl_text.vocabulary import Vocabulary

_LAZY = {
    "BiLSTM": "encoders",
    "BiLSTMDocAttention": "encoders",
    "CharFeat": "featurizers",
    "Compare": "pooling",
    "ConcatPool": "pooling",
    "DocNN": "encoders",
    "JSONL": "jsonl",
    "LastStep": "pooling",
    "MLPDecoder": "decoders",
    "MaxPool": "pooling",
    "MeanPool": "pooling",
    "NgramFeat": "ngrams",
    "PooledRepresentation": "encoders",
    "SelfAttention": "pooling",
    "Stack": "encoders",
    "TSV": "tsv",
    "TextLines": "sources",
    "Transformer": "transformer",
    "Vocabulary": "vocabulary",
    "WordFeat": "featurizers",
}

__all__ = [
    "BOS",
    "BOS_ID",
    "EOS",
    "EOS_ID",
    "JSONL",
    "MASK",
    "MASK_ID",
    "PAD",
    "PAD_ID",
    "SPECIAL_TOKENS",
    "TSV",
    "UNK",
    "UNK_ID",
    "BiLSTM",
    "BiLSTMConfig",
    "BiLSTMDocAttention",
    "BiLSTMDocAttentionConfig",
    "CharFeat",
    "CharFeatConfig",
    "Compare",
    "CompareConfig",
    "ConcatPool",
    "ConcatPoolConfig",
    "DocNN",
    "DocNNConfig",
    "JSONLConfig",
    "LastStep",
    "LastStepConfig",
    "MLPDecoder",
    "MLPDecoderConfig",
    "MaxPool",
    "MaxPoolConfig",
    "MeanPool",
    "MeanPoolConfig",
    "NgramFeat",
    "NgramFeatConfig",
    "PooledRepresentation",
    "PooledRepresentationConfig",
    "SelfAttention",
    "SelfAttentionConfig",
    "Stack",
    "StackConfig",
    "TSVConfig",
    "TextLines",
    "TextLinesConfig",
    "Transformer",
    "TransformerConfig",
    "Vocabulary",
    "WordFeat",
    "WordFeatConfig",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'mtl_text' has no attribute {name!r}")
    return getattr(importlib.import_module(f"mtl_text.{_LAZY[name]}"), name)
