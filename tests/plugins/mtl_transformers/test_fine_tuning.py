"""Fine-tuning as people do it: rates by layer, gradual unfreezing, bf16, warm-up, two phases."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import mtl

Config = dict[str, Any]
Models = Callable[[str], Path]
RATE = 0.1


@pytest.fixture
def config(model_folder: Models, tmp_path: Path) -> Config:
    """A classifier over a tiny BERT."""
    rows = "".join(f"a {word} film\t{number % 2}\n" for number, word in enumerate(["dull", "funny"] * 8))
    (tmp_path / "rows.tsv").write_text(f"text\tlabel\n{rows}", encoding="utf-8")
    feature = {"model": str(model_folder("bert")), "align": None}
    task = {
        "data": {"train_path": "rows.tsv", "eval_path": "rows.tsv"},
        "features": {"shared_module_key": "ENCODER", "pretrained_feat": feature},
        "representation": {"PooledRepresentation": {"encoder": "Identity", "pooling": "MeanPool"}},
        "batch_size": 4,
    }
    return {
        "base_dir": str(tmp_path),
        "tasks": {"T": {"DocClassificationTask": task}},
        "trainer": {
            "max_steps": 2,
            "keep_model": "last",
            "report_every_steps": 1,
            "optimizer": {"SGD": {"lr": RATE}},
        },
        "device": "cpu",
    }


@pytest.fixture
def moved(config: Config, model_folder: Models, tmp_path: Path) -> Callable[[], dict[str, float]]:
    """Train, and return how far each parameter of the encoder is from where it was."""

    def train() -> dict[str, float]:
        mtl.train(config, output=tmp_path / "run")
        before = load_file(model_folder("bert") / "model.safetensors")
        stored = load_file(tmp_path / "run/model/weights.safetensors")
        after = {name.partition(".model.")[2]: tensor for name, tensor in stored.items() if ".model." in name}
        assert all(tensor.dtype == torch.float32 for tensor in after.values())
        known = {name.removeprefix("bert."): tensor for name, tensor in before.items()}
        return {name: float((tensor - known[name]).abs().max()) for name, tensor in after.items()}

    return train


def of_layer(distances: dict[str, float], layer: int) -> float:
    return max(distance for name, distance in distances.items() if f".layer.{layer}." in name)


def test_lower_layers_learn_more_slowly(config: Config, moved: Callable[[], dict[str, float]]) -> None:
    config["trainer"]["parameter_groups"] = {"*.layer.0.*": {"lr_factor": 1e-4}}
    distances = moved()
    assert 0 < of_layer(distances, 0) < 0.01 * of_layer(distances, 1)


def test_layers_are_unfrozen_phase_by_phase(
    config: Config, moved: Callable[[], dict[str, float]], tmp_path: Path
) -> None:
    steps = config["trainer"].pop("max_steps")
    config["phases"] = [
        {"name": "head", "steps": steps, "freeze": ["ENCODER"]},
        {"name": "top", "steps": steps, "freeze": ["*.embeddings.*", "*.layer.0.*"]},
    ]
    distances = moved()
    assert of_layer(distances, 0) == 0 == max(d for name, d in distances.items() if "embeddings" in name)
    assert of_layer(distances, 1) > 0
    metrics = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert {line["phase"] for line in metrics if line["kind"] == "train"} == {0, 1}


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_warm_up_raises_the_rate_in_either_precision(
    config: Config, moved: Callable[[], dict[str, float]], tmp_path: Path, precision: str
) -> None:
    config["trainer"] |= {
        "precision": precision,
        "max_steps": 4,
        "lr_scheduler": {"Linear": {"warmup_steps": 2}},
    }
    assert max(moved().values()) > 0
    lines = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    rates = [line["lr"] for line in lines if line["kind"] == "train"]
    assert rates[0] < rates[1] and rates[-1] < RATE


def test_a_masked_model_adapts_the_encoder_before_the_task(
    config: Config, moved: Callable[[], dict[str, float]], tmp_path: Path
) -> None:
    """Task-adaptive pretraining with the checkpoint's own output layer, in one run of two phases."""
    config["tasks"]["Texts"] = {
        "LMTask": {
            "data": {"TSV": {"train_path": "rows.tsv"}},
            "objective": "masked",
            "whole_words": True,
            "head": "pretrained",
            "features": {"shared_module_key": "ENCODER"},
            "representation": "Identity",
        }
    }
    del config["trainer"]["max_steps"]
    config |= {
        "target_task": "T",
        "phases": [{"tasks": ["Texts"], "steps": 2}, {"tasks": ["T"], "steps": 2, "freeze": ["ENCODER"]}],
    }
    assert of_layer(moved(), 0) > 0
    result = json.loads((tmp_path / "run/result.json").read_text())
    assert {name: task["steps"] for name, task in result["tasks"].items()} == {"T": 2, "Texts": 2}
    assert 0 <= result["tasks"]["T"]["eval"]["accuracy"] <= 1
