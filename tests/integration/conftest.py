"""A small corpus and a small multitask config, with all our plugins installed."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from mtl.plugins import Plugins, discover


@pytest.fixture(scope="session")
def plugins() -> Plugins:
    return discover()


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory, plugins: Plugins) -> Path:
    """The generated samples, cut to a few hundred rows."""
    folder = tmp_path_factory.mktemp("corpus")
    for name in ("sst2", "wikitext-2", "task-samples"):
        spec = plugins.find("dataset", name).spec
        for path, text in spec.load_factory()(spec.load_config()()).sample(0).items():
            lines = text.splitlines(keepends=True)
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text("".join(lines[: 161 if "train" in path else 61]), encoding="utf-8")
    return folder


@pytest.fixture
def config(corpus: Path) -> dict[str, Any]:
    """SST-2 and a language model that share embedding and LSTM, a few steps long."""
    word_feat = {"embed_dim": 12}
    return {
        "base_dir": str(corpus),
        "target_task": "SST2",
        "tasks": {
            "SST2": {
                "DocClassificationTask": {
                    "batch_size": 20,
                    "data": {
                        "train_path": "SST-2/train.tsv",
                        "eval_path": "SST-2/dev.tsv",
                        "test_path": "SST-2/dev.tsv",
                    },
                    "features": {"shared_module_key": "SHARED_EMBEDDING", "word_feat": word_feat},
                    "representation": {
                        "BiLSTMDocAttention": {"lstm": {"shared_module_key": "SHARED_LSTM", "lstm_dim": 6}}
                    },
                }
            },
            "LM": {
                "LMTask": {
                    "batch_size": 20,
                    "data": {
                        "train_path": "wikitext-2/wiki.train.tokens",
                        "eval_path": "wikitext-2/wiki.valid.tokens",
                        "test_path": "wikitext-2/wiki.test.tokens",
                    },
                    "features": {"shared_module_key": "SHARED_EMBEDDING"},
                    "representation": {"shared_module_key": "SHARED_LSTM"},
                }
            },
        },
        "trainer": {"epochs": 2, "report_every_steps": 5},
        "device": "cpu",
    }


@pytest.fixture
def single(config: dict[str, Any]) -> dict[str, Any]:
    """The classifier alone."""
    config = copy.deepcopy(config)
    del config["tasks"]["LM"]
    return config


@pytest.fixture(scope="session")
def tiny_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some twenty rows a task, of one to nine words."""
    folder, draw = tmp_path_factory.mktemp("tiny"), random.Random(0)
    words = "a the film plot is was dull funny brave slow and but never always loved hated".split()
    for name, rows in (("train", 22), ("eval", 9), ("test", 7)):
        texts = [" ".join(draw.choices(words, k=draw.randint(1, 9))) for _ in range(2 * rows)]
        labelled = [f"{text}\t{index % 2}\n" for index, text in enumerate(texts[:rows])]
        (folder / f"{name}.tsv").write_text("sentence\tlabel\n" + "".join(labelled))
        (folder / f"{name}.txt").write_text("\n".join(texts[rows:]) + "\n")
    return folder


@pytest.fixture
def tiny(tiny_config: dict[str, Any]) -> dict[str, Any]:
    """A copy of `tiny_config` to change."""
    return copy.deepcopy(tiny_config)


@pytest.fixture(scope="session")
def tiny_config(tiny_corpus: Path) -> dict[str, Any]:
    """A classifier and a language model that share embedding and LSTM, a quarter of a second long."""
    splits = ("train", "eval", "test")
    return {
        "base_dir": str(tiny_corpus),
        "target_task": "SST2",
        "tasks": {
            "SST2": {
                "DocClassificationTask": {
                    "batch_size": 4,
                    "data": {f"{split}_path": f"{split}.tsv" for split in splits},
                    "features": {"shared_module_key": "WORDS", "word_feat": {"embed_dim": 4}},
                    "representation": {
                        "BiLSTMDocAttention": {"lstm": {"shared_module_key": "LSTM", "lstm_dim": 3}}
                    },
                }
            },
            "LM": {
                "LMTask": {
                    "batch_size": 5,
                    "data": {f"{split}_path": f"{split}.txt" for split in splits},
                    "features": {"shared_module_key": "WORDS"},
                    "representation": {"shared_module_key": "LSTM"},
                }
            },
        },
        "trainer": {"epochs": 2, "report_every_steps": 3},
        "device": "cpu",
    }


@pytest.fixture(scope="session")
def differences() -> Callable[[Path, Path], list[str]]:
    """The files that two runs do not have in common, to the bit but for what clocks and machines say."""

    def compare(left: Path, right: Path) -> list[str]:
        found = left_behind(left), left_behind(right)
        return [
            name
            for name in sorted(found[0].keys() | found[1].keys())
            if found[0].get(name) != found[1].get(name)
        ]

    def left_behind(folder: Path) -> dict[str, Any]:
        """What stands in a run folder; a checkpoint's manifest hashes its clocks."""
        return {
            str(path.relative_to(folder)): "folder" if path.is_dir() else content(path)
            for path in folder.rglob("*")
            if path.name != "manifest.json" or path.parent.name == "model"
        }

    def content(path: Path) -> Any:
        if path.name == "metrics.jsonl":
            return [timeless(json.loads(line)) for line in path.read_text().splitlines()]
        is_timed = path.name in ("result.json", "state.json")
        return timeless(json.loads(path.read_text())) if is_timed else path.read_bytes()

    def timeless(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {
            key: timeless(each)
            for key, each in value.items()
            if key not in ("seconds", "time", "metrics_size", "peak_rss_bytes", "provenance")
            and not key.endswith("_per_second")
        }

    return compare


@pytest.fixture
def read_metrics() -> Callable[[Path], list[dict[str, Any]]]:
    """The lines of a run's metrics.jsonl without what a clock says."""

    def read(folder: Path) -> list[dict[str, Any]]:
        records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        return [
            {k: v for k, v in record.items() if k != "time" and not k.endswith("_per_second")}
            for record in records
        ]

    return read


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small tensors: a second thread only waits."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
