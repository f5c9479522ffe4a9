"""Weights that read features know which column is whose: another order of featurizers is never silent."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import mtl
from mtl.components import FeatureWidth
from mtl.errors import ConfigError, UsageError
from mtl.runs.planning import plan
from mtl.weights import COLUMNS

Config = dict[str, Any]
WORDS, LETTERS = {"word_feat": {"embed_dim": 4}}, {"char_feat": {"kernel_sizes": [2], "kernel_num": 3}}
BILSTM = {"BiLSTM": {"lstm_dim": 3}}
TRANSFORMER = {"Transformer": {"model_dim": 4, "num_heads": 2, "feedforward_dim": 4, "num_layers": 1}}
ORDERS = r"width 7 \(word_feat: 4, char_feat: 3\), but here 7 \(char_feat: 3, word_feat: 4\)"


@pytest.fixture(autouse=True)
def rows(tmp_path: Path) -> None:
    lines = "".join(f"a {word} film\t{label}\n" for word, label in [("good", "1"), ("bad", "0")] * 4)
    (tmp_path / "rows.tsv").write_text("text\tlabel\n" + lines)


def config(folder: Path, features: Config, encoder: Config, **modules: Config) -> Config:
    task = {
        "batch_size": 4,
        "data": {"train_path": "rows.tsv", "eval_path": "rows.tsv"},
        "features": features,
        "representation": {"PooledRepresentation": {"encoder": encoder, **modules.get("pooled", {})}},
        "decoder": modules.get("decoder", {}),
    }
    return {
        "base_dir": str(folder),
        "tasks": {"Films": {"DocClassificationTask": task}},
        "trainer": {"max_steps": 2, "num_threads": 1, "optimizer": {"Adam": {"lr": 0.05}}},
        "device": "cpu",
    }


def with_paths(features: Config, key: str, folder: Path) -> Config:
    """Each featurizer with a file of its own."""
    return {
        name: {**settings, key: str(folder / f"{name}.safetensors")} for name, settings in features.items()
    }


def named(encoder: Config, **settings: Any) -> Config:
    [(name, own)] = encoder.items()
    return {name: {**own, **settings}}


@pytest.mark.parametrize("encoder", [BILSTM, TRANSFORMER], ids=lambda encoder: next(iter(encoder)))
def test_a_saved_encoder_reads_the_columns_that_it_was_trained_on(tmp_path: Path, encoder: Config) -> None:
    file, decoder = tmp_path / "pooled.safetensors", tmp_path / "decoder.safetensors"
    both = {**WORDS, **LETTERS}
    said = {"pooled": {"save_path": str(file)}, "decoder": {"save_path": str(decoder)}}
    mtl.train(
        config(tmp_path, with_paths(both, "save_path", tmp_path), encoder, **said), output=tmp_path / "run"
    )
    loads = {"pooled": {"load_path": str(file)}, "decoder": {"load_path": str(decoder)}}
    stands = ["trainer.max_steps=1", "trainer.optimizer.Adam.lr=1e-12"]

    def loaded(features: Config, run: str) -> Path:
        again = config(tmp_path, with_paths(features, "load_path", tmp_path), encoder, **loads)
        return mtl.train(again, output=tmp_path / run, overrides=stands).folder

    rows = ["a good film", "bad"]
    before, after = (
        mtl.load(folder).predict("Films", rows) for folder in (tmp_path / "run", loaded(both, "same"))
    )
    for old, new in zip(before, after, strict=True):
        assert new["probabilities"] == pytest.approx(old["probabilities"], abs=1e-6)
    with pytest.raises(UsageError, match=f"they read features of {ORDERS}"):
        loaded({**LETTERS, **WORDS}, "other")
    assert not (tmp_path / "other").exists()


def test_an_encoder_within_a_module_knows_its_columns(tmp_path: Path) -> None:
    file = str(tmp_path / "encoder.safetensors")
    saving = config(tmp_path, {**WORDS, **LETTERS}, named(BILSTM, save_path=file))
    mtl.train(saving, output=tmp_path / "run")
    loading = named(BILSTM, load_path=file)
    with pytest.raises(UsageError, match=ORDERS):
        plan(config(tmp_path, {**LETTERS, **WORDS}, loading))
    plan(config(tmp_path, {**WORDS, **LETTERS}, loading))
    plan(config(tmp_path, {"word_feat": {"embed_dim": 7}}, named(BILSTM)))
    with pytest.raises(UsageError, match="here 7 \\(word_feat: 7\\)"):
        plan(config(tmp_path, {"word_feat": {"embed_dim": 7}}, loading))


def test_a_resumed_run_refuses_permuted_columns_even_with_allow_changes(tmp_path: Path) -> None:
    mtl.train(config(tmp_path, {**WORDS, **LETTERS}, BILSTM), output=tmp_path / "run")
    other = config(tmp_path, {**LETTERS, **WORDS}, BILSTM)
    other["trainer"]["max_steps"] = 3
    with pytest.raises(UsageError, match=rf"task-Films\.representation reads features of {ORDERS}"):
        mtl.train(other, output=tmp_path / "run", resume=True, allow_changes=True)


def test_sharers_with_other_orders_of_features_are_a_conflict(tmp_path: Path) -> None:
    both = config(tmp_path, {**WORDS, **LETTERS}, named(BILSTM, shared_module_key="ENCODER"))
    other = copy.deepcopy(both["tasks"]["Films"])
    other["DocClassificationTask"]["features"] = {**LETTERS, **WORDS}
    both["tasks"]["Again"] = other
    with pytest.raises(ConfigError, match=r"'ENCODER' does not fit: .*char_feat: 3, word_feat: 4"):
        plan(both)
    other["DocClassificationTask"]["features"] = {
        "word_feat": {"embed_dim": 4},
        "ngram_feat": {"embed_dim": 3},
    }
    plan(both)


@pytest.mark.parametrize("columns", ["[1]", '{"": 3}', '{"": {"word_feat": "4"}}', "{"])
def test_a_file_with_damaged_columns_is_refused(tmp_path: Path, columns: str) -> None:
    file = tmp_path / "encoder.safetensors"
    features = {**WORDS, **LETTERS}
    mtl.train(config(tmp_path, features, named(BILSTM, save_path=str(file))), output=tmp_path / "run")
    with safe_open(file, framework="pt") as stored:
        assert json.loads(stored.metadata()[COLUMNS]) == {"": {"word_feat": 4, "char_feat": 3}}
    save_file(load_file(file), file, {COLUMNS: columns})
    with pytest.raises(UsageError, match=COLUMNS):
        plan(config(tmp_path, features, named(BILSTM, load_path=str(file))))


def test_a_width_is_an_integer_that_knows_its_parts() -> None:
    width = FeatureWidth({"a": 2, "b": 3})
    assert width == 5 and copy.deepcopy(width).parts == width.parts == {"a": 2, "b": 3}
    assert type(2 * width) is int and str(width) == "5 (a: 2, b: 3)"
    assert width.fits(FeatureWidth({"a": 2, "c": 3})) and width.fits(FeatureWidth({"a": 2}))
    assert not width.fits(FeatureWidth({"b": 3, "a": 2})) and not width.fits(FeatureWidth({"b": 3}))
