"""PyText's configs become ours: what they say counts, and nothing of them is dropped in silence."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mtl.config.load import load_config
from mtl.config.migrate import Migrated, migrated
from mtl.errors import ConfigError
from mtl.plugins import Plugins, discover

SINGLE: dict[str, Any] = {
    "config": {
        "task": {
            "DocClassificationTask": {
                "model": {"representation": {"BiLSTMDocAttention": {}}},
                "data_handler": {
                    "columns_to_read": ["doc_label", "text"],
                    "train_path": "reviews/learn.tsv",
                    "eval_path": "reviews/tune.tsv",
                },
                "trainer": {"epochs": 4},
            }
        }
    }
}
WORDS = {
    "shared_module_key": "WORDS",
    "word_feat": {"vocab_file": "reviews/words.txt", "vocab_size": 700, "vocab_from_train_data": False},
}
SEVERAL: dict[str, Any] = {
    "task": {
        "DisjointMultitask": {
            "tasks": {
                "Reviews": {
                    "DocClassificationTask": {
                        "features": WORDS,
                        "data_handler": {"train_path": "a.tsv", "eval_path": "b.tsv", "test_path": "c.tsv"},
                        "model": {
                            "representation": {
                                "BiLSTMDocAttention": {"lstm": {"shared_module_key": "ENCODER"}}
                            }
                        },
                        "exporter": {},
                    }
                },
                "Text": {
                    "LMTask": {
                        "features": WORDS,
                        "data_handler": {
                            "LanguageModelDataHandler": {
                                "train_path": "a.txt",
                                "eval_path": "b.txt",
                                "test_path": "c.txt",
                                "train_batch_size": 24,
                            }
                        },
                        "model": {
                            "representation": {"shared_module_key": "ENCODER"},
                            "decoder": {"hidden_dims": [12]},
                        },
                    }
                },
            },
            "task_weights": {"Reviews": 1, "Text": 0.5},
            "target_task_name": "Reviews",
            "trainer": {"epochs": 7},
        }
    }
}


@pytest.fixture(scope="module")
def plugins() -> Plugins:
    return discover()


def convert(config: dict[str, Any], plugins: Plugins) -> tuple[dict[str, Any], Migrated]:
    result = migrated(json.dumps(config, indent=2), plugins=plugins)
    result.check("-")
    return json.loads(result.text), result


def changed(config: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy with a setting put at a path of keys, made where it is not there."""
    config = copy.deepcopy(config)
    inner = config
    *parts, last = path.split("/")
    for part in parts:
        inner = inner.setdefault(part, {})
    inner[last] = value
    return config


def test_a_single_task(plugins: Plugins) -> None:
    value, result = convert(SINGLE, plugins)
    task = value["task"]["DocClassificationTask"]
    assert task["data"] == {
        "TSV": {
            "train_path": "reviews/learn.tsv",
            "eval_path": "reviews/tune.tsv",
            "test_path": "test.tsv",
            "columns": {"text": 1, "label": 0},
        }
    }
    assert value["trainer"] == {"epochs": 4}
    assert not any("no equal" in note for note in result.notes)
    assert any('`task.DocClassificationTask.data.TSV.test_path` is "test.tsv"' in n for n in result.notes)


def test_several_tasks_share_what_they_shared(plugins: Plugins) -> None:
    value, result = convert(SEVERAL, plugins)
    assert (value["target_task"], value["task_weights"]) == ("Reviews", {"Reviews": 1, "Text": 0.5})
    assert "schedule" not in value  # an epoch is the target's data, in both
    loaded = load_config(result.text, plugins=plugins, check_paths=False)
    groups = {group.key: group for group in loaded.groups}
    assert set(groups) == {"WORDS", "ENCODER"}
    assert groups["WORDS"].values["word_feat.vocab_size"] == 700
    assert groups["ENCODER"].values["bidirectional"] is True
    text = loaded.config.tasks["Text"].config
    assert (text.batch_size, text.decoder.config.hidden_dims) == (24, [12])
    (lost,) = [note for note in result.notes if "no equal" in note]
    assert "Reviews.DocClassificationTask.exporter: has no equal in mtl and was left out: {}" in lost


HERE = "task/DisjointMultitask"
REVIEWS = f"{HERE}/tasks/Reviews/DocClassificationTask"
TEXT = f"{HERE}/tasks/Text/LMTask"


@pytest.mark.parametrize(
    "path, old, ours, new",
    [
        (f"{HERE}/target_task_name", None, "schedule/RoundRobin/epoch", "first"),
        (f"{HERE}/data_handler/epoch_size", 60, "schedule/RoundRobin/epoch_steps", 60),
        (f"{HERE}/optimizer", {"type": "sgd"}, "trainer/optimizer/SGD/lr", 0.001),
        (f"{HERE}/optimizer", {"Adam": {"lr": 0.01}}, "trainer/optimizer/Adam/lr", 0.01),
        (f"{HERE}/trainer/optimizer", {"SGD": {"momentum": 0.9}}, "trainer/optimizer/SGD/momentum", 0.9),
        (
            f"{HERE}/scheduler",
            {"type": "reduce_lr_on_plateau", "patience": 3},
            "trainer/lr_scheduler/ReduceOnPlateau",
            {"patience": 3, "factor": 0.1},
        ),
        (f"{HERE}/trainer/early_stop_after", 3, "trainer/early_stop_after", 3),
        (f"{HERE}/trainer/max_clip_norm", 2.5, "trainer/max_clip_norm", 2.5),
        ("random_seed", 8, "seed", 8),
        ("use_cuda_if_available", False, "device", "cpu"),
        ("use_fp16", True, "trainer/precision", "fp16"),
        (
            f"{REVIEWS}/labels/label_weights",
            {"good": 2.0},
            "tasks/Reviews/DocClassificationTask/class_weights",
            {"good": 2.0},
        ),
        (
            f"{REVIEWS}/features/word_feat/min_freq",
            3,
            "tasks/Reviews/DocClassificationTask/features/word_feat/min_count",
            3,
        ),
        (
            f"{REVIEWS}/features/word_feat/embedding_init_range",
            [-0.25, 0.25],
            "tasks/Reviews/DocClassificationTask/features/word_feat/init_range",
            0.25,
        ),
        (
            f"{REVIEWS}/features/char_feat",
            {"cnn": {"kernel_num": 9}, "max_word_length": 12},
            "tasks/Reviews/DocClassificationTask/features/char_feat",
            {"max_word_length": 12, "kernel_num": 9},
        ),
        (
            f"{REVIEWS}/featurizer",
            {"SimpleFeaturizer": {"lowercase_tokens": False}},
            "tasks/Reviews/DocClassificationTask/features/word_feat/lowercase",
            False,
        ),
        (
            f"{REVIEWS}/model/representation",
            {"DocNNRepresentation": {"cnn": {"kernel_num": 5}, "dropout": 0.1}},
            "tasks/Reviews/DocClassificationTask/representation/DocNN",
            {"dropout": 0.1, "kernel_num": 5, "kernel_sizes": [3, 4]},
        ),
        (
            f"{REVIEWS}/model/representation/BiLSTMDocAttention/pooling",
            {"MaxPool": {}},
            "tasks/Reviews/DocClassificationTask/representation/BiLSTMDocAttention/pooling",
            {"MaxPool": {}},
        ),
        (
            f"{REVIEWS}/model/representation/BiLSTMDocAttention/pooling",
            {"SelfAttention": {"attn_dimension": 11}},
            "tasks/Reviews/DocClassificationTask/representation/BiLSTMDocAttention/pooling",
            {"SelfAttention": {"attn_dim": 11, "dropout": 0.4}},
        ),
        (
            f"{REVIEWS}/model/representation/BiLSTMDocAttention/mlp_decoder",
            {"hidden_dims": [8], "out_dim": 6},
            "tasks/Reviews/DocClassificationTask/representation/BiLSTMDocAttention/mlp_dims",
            [8, 6],
        ),
        (
            f"{TEXT}/model/representation",
            {"lstm_dim": 9},
            "tasks/Text/LMTask/representation/BiLSTM",
            {"lstm_dim": 9, "bidirectional": False},
        ),
    ],
)
def test_a_setting_that_has_an_equal(plugins: Plugins, path: str, old: Any, ours: str, new: Any) -> None:
    config = changed(SEVERAL, path, old)
    value, result = convert_only(config, plugins)
    for part in ours.split("/"):
        value = value[part]
    assert value == new
    lost = [note for note in result.notes if "no equal" in note]
    assert [note for note in lost if "exporter" not in note] == []


def convert_only(config: dict[str, Any], plugins: Plugins) -> tuple[Any, Migrated]:
    result = migrated(json.dumps(config, indent=2), plugins=plugins)
    return json.loads(result.text), result


@pytest.mark.parametrize(
    "path, value, hint",
    [
        (f"{HERE}/metric_reporter/output_path", "x", "metrics.jsonl"),
        (f"{HERE}/scheduler", {"type": "step_lr", "step_size": 3}, "mtl plugins"),
        (f"{HERE}/optimizer/weight_decay", 0.1, ""),
        (f"{TEXT}/trainer/epochs", 3, "one trainer"),
        (f"{TEXT}/model/stateful", True, ""),
        (f"{TEXT}/data_handler/LanguageModelDataHandler/append_bos", False, ""),
        (f"{REVIEWS}/features/dict_feat", {}, "gazetteers"),
        (f"{REVIEWS}/features/word_feat/pretrained_embeddings_path", "vectors.txt", "pretrained"),
        (f"{REVIEWS}/model/representation/BiLSTMDocAttention/pooling", {"NoPool": {}}, ""),
        (f"{REVIEWS}/model/output_layer/loss", {"CrossEntropyLoss": {}}, "its own loss"),
        (f"{REVIEWS}/data_handler/columns_to_read", ["text", "doc_label", "dict_feat"], "does not read"),
        ("save_snapshot_path", "/tmp/model.pt", "--output"),
        ("load_snapshot_path", "", "--resume"),
        ("distributed_world_size", 4, ""),
        ("no_such_key", 1, ""),
    ],
)
def test_a_setting_without_an_equal_is_named(plugins: Plugins, path: str, value: Any, hint: str) -> None:
    config = changed(SEVERAL, path, value)
    if path.endswith("weight_decay"):
        config = changed(config, f"{HERE}/optimizer/type", "sgd")
    result = migrated(json.dumps(config, indent=2), plugins=plugins)
    lost = [note for note in result.notes if "no equal" in note and "exporter" not in note]
    wanted = path.replace("/", ".")
    about = [note for note in lost if f"{wanted}.".startswith(f"{note.split(': ')[1]}.")]
    below = [note for note in lost if note.split(": ")[1].startswith(f"{wanted}.")]
    assert any(hint in note for note in about or below), lost


def leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[str]:
    if isinstance(value, dict) and value:
        for key, each in value.items():
            yield from leaves(each, (*path, key))
    else:
        yield ".".join(path)


@pytest.mark.parametrize("config", [SINGLE, SEVERAL])
def test_every_setting_has_a_note(plugins: Plugins, config: dict[str, Any]) -> None:
    _, result = convert_only(config, plugins)
    noted = [note.split(": ")[1] for note in result.notes]
    for leaf in leaves(config):
        if not leaf.endswith("BiLSTMDocAttention"):  # a component with all defaults says nothing
            assert any(leaf == path or leaf.startswith(f"{path}.") for path in noted), leaf


def test_notes_have_their_places(plugins: Plugins) -> None:
    text = json.dumps(SEVERAL, indent=2)
    result = migrated(text, plugins=plugins)
    (note,) = [note for note in result.notes if "target_task_name" in note]
    (line,) = [n for n, each in enumerate(text.splitlines(), 1) if "target_task_name" in each]
    assert note.startswith(f"config:{line}:7: task.DisjointMultitask.target_task_name: is `target_task`")


def test_training_one_says_what_to_do(plugins: Plugins) -> None:
    for config in (SINGLE, SEVERAL):
        with pytest.raises(ConfigError, match=r"this is a config of PyText .*mtl config migrate"):
            load_config(json.dumps(config), plugins=plugins)


def test_what_is_not_pytext_is_not_taken_for_it(plugins: Plugins, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has no setting `modle`"):
        load_config({"task": {"LMTask": {"modle": {}, "data": {"train_path": "x"}}}}, plugins=plugins)


def test_a_task_of_a_later_pytext_is_refused_and_named(plugins: Plugins) -> None:
    config = {"config": {"task": {"DocumentClassificationTask": {"data": {"source": {}}}}}}
    result = migrated(json.dumps(config), plugins=plugins)
    assert any("a task of a later PyText" in note for note in result.notes)
    with pytest.raises(ConfigError, match="no installed plugin provides the task"):
        result.check("-")
