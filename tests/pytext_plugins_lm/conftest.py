"""A language model over real components, on toy data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from attrs import evolve, frozen
from torch import Tensor

import mtl_text.plugin
from mtl import Batch, Builder, Component, Features, FeaturesConfig, Table
from mtl.components import KINDS
from mtl.data.load import encode_rows
from pytext_plugins_lm.config import LMTaskConfig
from pytext_plugins_lm.model import LanguageModel
from pytext_plugins_lm.task import LMTask

COLUMN = "text.word_feat.ids"
WORDS = tuple("the a dog cat sees likes old young tree house".split())


def component(kind: str, name: str, **settings: Any) -> Component:
    """A component of mtl_text."""
    specs = getattr(mtl_text.plugin, KINDS[kind].hook)()
    spec = next(spec for spec in specs if spec.name == name)
    return Component(kind, name, spec, spec.load_config()(**settings))


SMALL: dict[str, dict[str, Any]] = {
    "word_feat": {"embed_dim": 6},
    "char_feat": {"embed_dim": 4, "kernel_num": 3},
}


def make_config(
    *, lstm: dict[str, Any] | None = None, featurizers: Sequence[str] = ("word_feat",), **settings: Any
) -> LMTaskConfig:
    parts: dict[str, Any] = {
        "data": component("data_source", "TextLines", train_path=Path("train.txt")),
        "features": FeaturesConfig(
            featurizers={name: component("featurizer", name, **SMALL[name]) for name in featurizers}
        ),
        "representation": component("representation", "BiLSTM", **({"lstm_dim": 5} | (lstm or {}))),
        "decoder": component("decoder", "MLPDecoder"),
    }
    return LMTaskConfig(**(parts | settings))


def make_task(config: LMTaskConfig) -> LMTask:
    """A task whose vocabulary is `WORDS`."""
    featurizers = {
        name: part.spec.load_factory()(part.config) for name, part in config.features.featurizers.items()
    }
    for featurizer in featurizers.values():
        featurizer.fit({"LM": [pl.Series([WORDS], dtype=pl.List(pl.String))]})
    return LMTask(config, name="LM", features=Features(config.features, featurizers))


def make_table(*lines: str, first_line: int = 1) -> Table:
    numbers = range(first_line, first_line + len(lines))
    frame = pl.DataFrame({"text": lines, "line": numbers}, schema={"text": pl.String, "line": pl.Int64})
    return Table(frame, "train.txt")


def make_batch(task: LMTask, *lines: str, rows: Sequence[int] | None = None) -> Batch:
    """The batch of these lines, or of those numbered `rows`."""
    table = make_table(*lines)
    encoded = encode_rows(task, table, task.prepare(table))
    return encoded.batch(np.arange(len(encoded)) if rows is None else np.array(rows))


@frozen(eq=False)
class Scores:
    """Of one reading: each prediction's scores `[n, words]`, its row, and the place of the vector it
    comes from."""

    scores: Tensor
    rows: Tensor
    places: Tensor


def read_scores(model: LanguageModel, batch: Batch) -> dict[str, Scores]:
    """All scores of a batch, by the steps that the model's forward takes."""
    torch.manual_seed(3)
    shown = model.objective.show(batch, training=model.training)
    embedded, lengths = model.embedding(shown)
    readings = model.objective.read(model.representation(embedded, lengths), batch, shown)
    time = batch[COLUMN].shape[1]
    return {
        name: Scores(model.scorer(reading.inputs).detach(), reading.rows, reading.index % time)
        for name, reading in readings.items()
    }


def change(batch: Batch, row: int, place: int, word: int) -> Batch:
    """The batch with one token replaced."""
    ids = batch[COLUMN].clone()
    ids[row, place] = word
    return evolve(batch, tensors={**batch.tensors, COLUMN: ids})


def build(task: LMTask, builder: Builder | None = None, seed: int = 0) -> LanguageModel:
    torch.manual_seed(seed)
    model = task.build_model(builder or Builder())
    assert isinstance(model, LanguageModel)
    return model


@frozen
class Kit:
    """What the tests of this folder share."""

    component: Callable[..., Component] = component
    config: Callable[..., LMTaskConfig] = make_config
    task: Callable[[LMTaskConfig], LMTask] = make_task
    table: Callable[..., Table] = make_table
    batch: Callable[..., Batch] = make_batch
    build: Callable[..., LanguageModel] = build
    read_scores: Callable[[LanguageModel, Batch], dict[str, Scores]] = read_scores
    change: Callable[[Batch, int, int, int], Batch] = change
    words: tuple[str, ...] = WORDS


@pytest.fixture(scope="session")
def kit() -> Kit:
    return Kit()
