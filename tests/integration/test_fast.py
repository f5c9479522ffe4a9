"""`mtl train --fast`: a few steps of everything, which finds what would fail later."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import mtl
from mtl.commands import main

Config = dict[str, Any]


def test_everything_happens_and_nothing_is_kept(
    config: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    saved = tmp_path / "encoder.safetensors"
    representation = config["tasks"]["SST2"]["DocClassificationTask"]["representation"]
    representation["BiLSTMDocAttention"]["lstm"]["save_path"] = str(saved)
    Path("config.json").write_text(json.dumps(config))
    assert main(["train", "config.json", "--fast"]) == 0
    out, err = capsys.readouterr()
    assert "training, evaluation, checkpoints and test ran, 6 steps" in out
    assert "a fast run: a few steps over the longest rows" in err
    assert [path.name for path in tmp_path.iterdir() if path.name != "runs"] == ["config.json"]
    assert not saved.exists() and not Path("runs").exists()


def test_a_fast_run_of_python_says_that_it_is_one(config: Config, tmp_path: Path) -> None:
    result = mtl.train(config, output=tmp_path / "run", fast=True)
    assert result.data["fast"] is True and result.data["steps"] == 6
    assert result.data["tasks"]["SST2"]["test"]["accuracy"] is not None
    assert list((tmp_path / "run/checkpoints").iterdir()) and (tmp_path / "run/model").is_dir()
    with pytest.raises(mtl.UsageError, match="fast=True and resume=True exclude each other"):
        mtl.train(config, output=tmp_path / "run", fast=True, resume=True)


def test_each_phase_has_its_steps(config: Config, tmp_path: Path) -> None:
    del config["trainer"]
    config["phases"] = [{"tasks": ["LM"], "epochs": 50}, {"epochs": 50}]
    assert mtl.train(config, output=tmp_path / "run", fast=True).data["steps"] == 3 + 6


def test_what_fails_at_the_end_of_a_run_fails_at_once(config: Config, tmp_path: Path) -> None:
    config["trainer"] = {"epochs": 1_000_000}
    (tmp_path / "test.tsv").write_text("sentence\tlabel\na film\tunheard\n")
    data = config["tasks"]["SST2"]["DocClassificationTask"]["data"]
    data["test_path"] = str(tmp_path / "test.tsv")
    with pytest.raises(mtl.DataError, match="unheard"):
        mtl.train(config, output=tmp_path / "run", fast=True)
