"""Static vectors of pieces equal a plain reference, and a run keeps them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer

import mtl
from mtl import Builder
from mtl.data.columns import Rows
from mtl.errors import ConfigError
from mtl.testing import check_featurizer
from mtl_transformers.static import StaticFeat
from mtl_transformers.static_config import StaticFeatConfig

Models = Callable[[str], Path]
ROWS = [["a", "wonderful", "film"], [], ["unforgettable", "\u200d"]]


@pytest.fixture
def table(model_folder: Models, tmp_path: Path) -> Path:
    """A table of random vectors for the pieces of a tiny BERT."""
    folder = tmp_path / "static"
    folder.mkdir()
    shutil.copy(model_folder("bert") / "tokenizer.json", folder)
    (folder / "config.json").write_text(json.dumps({"model_type": "model2vec"}))
    pieces = Tokenizer.from_file(str(folder / "tokenizer.json")).get_vocab_size()
    vectors = torch.randn(pieces, 6, generator=torch.Generator().manual_seed(0))
    save_file({"embeddings": vectors}, folder / "model.safetensors")
    return folder


def vectors(folder: Path, align: str | None) -> torch.Tensor:
    made = StaticFeat(StaticFeatConfig(model=str(folder), align=align).resolve())
    columns = made.encode(pl.Series("text", ROWS, dtype=pl.List(pl.String)))
    batch = Rows(columns, np.arange(3)).batch(np.arange(3))
    with torch.no_grad():
        return made.build_embedding(Builder())(batch.tensors)


@pytest.mark.parametrize("align", ["first", "mean", "last", None])
def test_vectors_equal_the_reference(table: Path, align: str | None) -> None:
    tokenizer = Tokenizer.from_file(str(table / "tokenizer.json"))
    weight = StaticFeat(StaticFeatConfig(model=str(table)).resolve()).build_embedding(Builder()).weight
    found = vectors(table, align)
    for row, words in enumerate(ROWS):
        expected = []
        for word in words:
            own = weight[tokenizer.encode(word, add_special_tokens=False).ids].detach()
            if align is None:
                expected.extend(own)
            elif not len(own):
                expected.append(torch.zeros(6))
            else:
                expected.append({"first": own[0], "mean": own.mean(0), "last": own[-1]}[align])
        whole = torch.stack(expected) if expected else torch.zeros(0, 6)
        torch.testing.assert_close(found[row, : len(whole)], whole)
        assert not found[row, len(whole) :].any()


def test_the_featurizer_passes_the_kit(table: Path) -> None:
    check_featurizer("static_feat", config={"model": str(table)})


def test_a_run_keeps_the_table(table: Path, tmp_path: Path) -> None:
    (tmp_path / "rows.tsv").write_text("text\tlabel\n" + "a film\t1\na dull story\t0\n" * 4)
    task = {"data": {"train_path": "rows.tsv"}, "features": {"static_feat": {"model": str(table)}}}
    config = {
        "base_dir": str(tmp_path),
        "tasks": {"T": {"DocClassificationTask": task}},
        "trainer": {"max_steps": 2},
        "device": "cpu",
    }
    mtl.train(config, output=tmp_path / "run")
    shutil.rmtree(table)
    [answer] = mtl.load(tmp_path / "run").predict("T", "a wonderful film")
    assert answer["label"] in ("0", "1")


def test_a_model_without_a_table_is_refused(table: Path, model_folder: Models) -> None:
    with pytest.raises(ValueError, match="must have a table of vectors called embeddings"):
        StaticFeatConfig(model=str(model_folder("bert"))).resolve()
    (table / "model.safetensors").write_bytes(b"\xff" * 40)
    with pytest.raises(ValueError, match="must have a table of vectors"):
        StaticFeatConfig(model=str(table)).resolve()
    made = StaticFeat(StaticFeatConfig(model=str(table), hidden_size=6, vocabulary=9, tokenizer_hash="0"))
    with pytest.raises(ConfigError, match=r"model\.safetensors cannot be read"):
        made.build_embedding(Builder())
