"""A practitioner's session, from the shell and from Python: train three configs, interrupt one, list, resume,
compare, look at the errors, and export the table to LaTeX."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import mtl
from mtl.commands import main
from mtl.runs import judge

Shell = Callable[..., str]


@pytest.fixture
def shell(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Shell]:
    """Runs a command in the project, in this process, and returns what it prints on standard output."""
    monkeypatch.chdir(project)

    def run(*arguments: str) -> str:
        capsys.readouterr()
        status = main(arguments)
        out, err = capsys.readouterr()
        assert status == 0, err
        return out

    before = signal.getsignal(signal.SIGTERM)
    yield run
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def project(tiny: dict[str, Any], tiny_corpus: Path, tmp_path: Path) -> Path:
    """A folder with three configs: small, wide, and one with other tasks."""
    (tmp_path / "data").symlink_to(tiny_corpus)
    tiny["base_dir"] = "data"
    small = {**tiny, "tasks": {"SST2": tiny["tasks"]["SST2"]}}
    wide = json.loads(json.dumps(small))
    task = wide["tasks"]["SST2"]["DocClassificationTask"]
    task["representation"]["BiLSTMDocAttention"]["lstm"]["lstm_dim"] = 12
    for name, config in (("small", small), ("wide", wide), ("both", tiny)):
        (tmp_path / f"{name}.json").write_text(json.dumps(config))
    return tmp_path


def interrupt(folder: Path, *arguments: str) -> None:
    """Start a training, send SIGINT once it has recorded something, and expect it to end with 130."""
    command = [sys.executable, "-m", "mtl", "train", *arguments]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    metrics = folder / "runs/both/metrics.jsonl"
    until = time.monotonic() + 120
    while not metrics.exists() and process.poll() is None and time.monotonic() < until:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 130, said.decode()


@pytest.mark.slow
def test_a_day_in_the_shell(project: Path, shell: Shell) -> None:
    shell("train", "small.json", "--quiet")
    shell("train", "wide.json", "--quiet")
    interrupt(
        project, "both.json", "--set", "trainer.epochs=2000", "--set", "trainer.checkpoint_every_steps=50"
    )

    runs = {run["name"]: run for run in json.loads(shell("runs", "--json"))}
    assert {name: run["status"] for name, run in runs.items()} == {
        "small": "completed",
        "wide": "completed",
        "both": "interrupted",
    }
    done = runs["both"]["steps"]
    assert 0 < done < 20_000
    longer = str(done // 10 + 40)
    shell("train", "both.json", "--resume", "--set", f"trainer.epochs={longer}", "--quiet")
    both = json.loads((project / "runs/both/result.json").read_text())
    assert both["steps"] >= done and both["status"] == "completed"
    assert json.loads(shell("runs", "--status", "interrupted", "--json")) == []

    diff = json.loads(shell("runs", "diff", "runs/small", "runs/wide", "--json"))
    (path,) = diff["settings"]
    assert path.endswith("lstm_dim") and diff["settings"][path] == [3, 12]

    compared = ("compare", "small.json", "wide.json", "--seeds", "1", "--quiet", "--output", "runs/compare")
    report = json.loads(shell(*compared, "--json"))
    assert report["tasks"]["SST2"]["configs"].keys() == {"small", "wide"}
    table = shell(*compared, "--latex")
    assert r"\toprule" in table and table.count(r" \\") == 3

    shell("test", "runs/wide", "--errors", "errors.csv")
    with (project / "errors.csv").open(encoding="utf-8") as file:
        errors = list(csv.DictReader(file))
    accuracy = json.loads(shell("test", "runs/wide", "--json"))["SST2"]["accuracy"]
    assert len(errors) == round(7 * (1 - accuracy))
    listed = shell("runs", "--latex", "--sort", "metric", "--show", "SST2.test.accuracy")
    assert listed.count(r" \\") == 1 + 3 + 2, "the header, three runs, and two of the comparison"
    before = sum(run["size_bytes"] for run in json.loads(shell("runs", "--json")))
    shell("runs", "prune", "--yes")
    after = sum(run["size_bytes"] for run in json.loads(shell("runs", "--json")))
    assert after < before
    assert "@software{mtl" in shell("runs", "cite", "runs/both")


def test_a_day_in_python(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class InterruptOnce:
        @mtl.hookimpl
        def mtl_step_ended(self, step: int) -> None:
            if step == 7:
                os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.chdir(project)
    results = {
        name: mtl.train(f"{name}.json", output=f"runs/{name}", quiet=True) for name in ("small", "wide")
    }
    with pytest.raises(mtl.Interrupted, match="resume=True"):
        mtl.train("both.json", output="runs/both", callbacks=[InterruptOnce()], quiet=True)
    results["both"] = mtl.train("both.json", output="runs/both", resume=True, quiet=True)

    curves = pl.concat(
        [each.curves().with_columns(run=pl.lit(name)) for name, each in results.items()]
    ).filter(kind="eval", task="SST2", metric="accuracy")
    best = curves.group_by("run").agg(pl.col("value").max()).rows()
    assert dict(best) == {name: each.best["value"] for name, each in results.items() if each.best}

    run = mtl.load("runs/wide")
    judged = judge(run, "SST2")
    assert judged is not None
    rows = judged.error_rows(run)
    assert len(rows) == round(7 * (1 - run.test("SST2")["SST2"]["accuracy"]))
    answers = run.predict("SST2", [row["text"] for row in rows])
    assert [each["label"] for each in answers] == [row["prediction"] for row in rows]
