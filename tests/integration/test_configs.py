"""Every config in `configs/` trains as it is, on generated data."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import mtl

CONFIGS = sorted((Path(__file__).resolve().parents[2] / "configs").glob("*.json"))


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.stem)
def test_the_config_trains(config: Path, corpus: Path, tmp_path: Path) -> None:
    shutil.copytree(corpus, tmp_path / "data")
    shutil.copytree(corpus, tmp_path / "data/sample")
    placed = tmp_path / "configs" / config.name
    placed.parent.mkdir()
    shutil.copy(config, placed)
    result = mtl.train(placed, output=tmp_path / "run", overrides=["trainer.max_steps=4"])
    assert result.data["status"] == "completed"
    assert all(task["steps"] == 4 / len(result.data["tasks"]) for task in result.data["tasks"].values())
