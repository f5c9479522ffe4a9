"""A small corpus and a small multitask config, with all our plugins installed."""

from __future__ import annotations

import copy
import json
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
    for name in ("sst2", "wikitext-2"):
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


@pytest.fixture
def read_metrics() -> Callable[[Path], list[dict[str, Any]]]:
    """The lines of a run's metrics.jsonl without what a clock says."""

    def read(folder: Path) -> list[dict[str, Any]]:
        records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        return [{k: v for k, v in record.items() if not k.endswith("_per_second")} for record in records]

    return read


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small tensors: a second thread only waits."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
