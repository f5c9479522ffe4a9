"""A run records what it was made with, and finds its data after a move of the project."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch

import mtl


@pytest.fixture
def project(tiny: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with data and a config in a git repository, which is the working folder."""
    folder = tmp_path / "project"
    shutil.copytree(tiny["base_dir"], folder / "data")
    tiny["base_dir"] = "data"
    del tiny["tasks"]["LM"]
    (folder / "config.json").write_text(json.dumps(tiny))
    identity = ("-c", "user.name=a", "-c", "user.email=a@b.c")
    for command in (("init", "-q"), ("add", "config.json"), (*identity, "commit", "-qm", "Begin")):
        subprocess.run(["git", "-C", str(folder), *command], check=True)
    monkeypatch.chdir(folder)
    return folder


def test_the_result_says_what_it_was_made_with(project: Path) -> None:
    made = mtl.train(project / "config.json", output="runs/a").data["provenance"]
    head = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    assert made["git"] == {"commit": head.stdout.strip(), "changed": False}
    assert made["versions"]["torch"] == torch.__version__ and made["versions"]["polars"] == pl.__version__
    assert {"pytext-mtl", "pytext-plugins-sst"} <= made["versions"].keys()
    assert made["threads"] == torch.get_num_threads() and made["cpu"] and made["os"] and made["python"]
    content = (project / "data/train.tsv").read_bytes()
    assert made["data"]["SST2.train"] == [
        {"path": "train.tsv", "sha256": hashlib.sha256(content).hexdigest()}
    ]
    (project / "config.json").write_text((project / "config.json").read_text() + "\n")
    again = mtl.train(project / "config.json", output="runs/b").data["provenance"]
    assert again["git"]["changed"] is True


def test_a_moved_project_and_a_moved_run_find_their_data(project: Path, tmp_path: Path) -> None:
    mtl.train(project / "config.json", output="runs/a")
    assert json.loads(Path("runs/a/config.json").read_text())["base_dir"] == "../../data"
    expected = mtl.load("runs/a").test()
    moved = project.rename(tmp_path / "moved")
    assert mtl.load(moved / "runs/a").test() == expected
    (moved / "runs/a").rename(moved / "a")
    assert mtl.load(moved / "a").test() == expected
    # The config of a run is a config as any other.
    shutil.copytree(moved / "a", moved / "runs/a")
    assert mtl.plan(moved / "runs/a/config.json")["tasks"]["SST2"]["train"]["rows"] == 22


def test_resuming_takes_the_threads_of_the_run(project: Path, caplog: pytest.LogCaptureFixture) -> None:

    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        mtl.train(project / "config.json", output="runs/a", overrides=["trainer.max_steps=4"])
        torch.set_num_threads(1)
        overrides = ["trainer.max_steps=6"]
        again = mtl.train(project / "config.json", output="runs/a", overrides=overrides, resume=True)
    finally:
        torch.set_num_threads(threads)
    assert again.data["steps"] == 6 and again.data["provenance"]["threads"] == 3
    assert json.loads(Path("runs/a/config.json").read_text())["trainer"]["num_threads"] == 3
    assert "not what this run started with" not in caplog.text
