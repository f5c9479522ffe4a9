"""Configs of document classification and of the SST-2 dataset."""

from __future__ import annotations

from mtl import DatasetConfig, configclass
from mtl_text.classification.config import ClassificationTaskConfig


@configclass
class DocClassificationTaskConfig(ClassificationTaskConfig):
    """Assigns one of several labels to each document."""


@configclass
class SST2Config(DatasetConfig):
    """Sentences of film reviews and their phrases, positive (1) or negative (0).

    Socher et al., "Recursive Deep Models for Semantic Compositionality Over a Sentiment Treebank",
    EMNLP 2013, in the form of the GLUE benchmark.
    """
