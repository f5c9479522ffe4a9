"""A document classification task over real components, on toy data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

import mtl_text.plugin
from mtl import Component, Features, FeaturesConfig, Table
from mtl.components import KINDS
from pytext_plugins_sst.config import DocClassificationTaskConfig
from pytext_plugins_sst.task import DocClassificationTask


def component(kind: str, name: str, **settings: Any) -> Component:
    """A component of mtl_text."""
    specs = getattr(mtl_text.plugin, KINDS[kind].hook)()
    spec = next(spec for spec in specs if spec.name == name)
    return Component(kind, name, spec, spec.load_config()(**settings))


def make_config(**settings: Any) -> DocClassificationTaskConfig:
    source = component("data_source", "TSV", train_path=Path("train.tsv"))
    lstm = component("representation", "BiLSTM", lstm_dim=8)
    pooling = component("pooling", "SelfAttention", attn_dim=8)
    parts: dict[str, Any] = {
        "data": evolve(source, path="tasks.Reviews.DocClassificationTask.data"),
        "features": FeaturesConfig(
            featurizers={"word_feat": component("featurizer", "word_feat", embed_dim=8)}
        ),
        "representation": component("representation", "BiLSTMDocAttention", lstm=lstm, pooling=pooling),
        "decoder": component("decoder", "MLPDecoder"),
    }
    return DocClassificationTaskConfig(**parts, **settings)


def make_task(**settings: Any) -> DocClassificationTask:
    config = make_config(**settings)
    featurizers = {
        name: part.spec.load_factory()(part.config) for name, part in config.features.featurizers.items()
    }
    return DocClassificationTask(config, name="Reviews", features=Features(config.features, featurizers))


def make_table(*rows: tuple[str, str], path: str = "train.tsv") -> Table:
    """Rows (text, label), from line 2 on."""
    import polars as pl

    frame = pl.DataFrame(
        {
            "text": [text for text, _ in rows],
            "label": [label for _, label in rows],
            "line": range(2, len(rows) + 2),
        },
        schema={"text": pl.String, "label": pl.String, "line": pl.Int64},
    )
    return Table(frame, path)


@pytest.fixture
def config() -> Callable[..., DocClassificationTaskConfig]:
    return make_config


@pytest.fixture
def task() -> Callable[..., DocClassificationTask]:
    return make_task


@pytest.fixture
def table() -> Callable[..., Table]:
    return make_table
