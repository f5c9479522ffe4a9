"""The commands from end to end, with the real engine on a small corpus."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from mtl.commands import main


@pytest.fixture
def config_file(config: dict[str, Any], tmp_path: Path) -> Path:
    file = tmp_path / "small.json"
    file.write_text(json.dumps(config))
    return file


def run(capsys: pytest.CaptureFixture[str], *line: object) -> tuple[str, str]:
    """What a command that succeeds writes to standard output and standard error."""
    status = main([str(word) for word in line])
    out, err = capsys.readouterr()
    assert status == 0, err
    return out, err


def test_train_test_and_predict(
    config_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    plan = json.loads(run(capsys, "plan", config_file, "--json")[0])
    out, err = run(capsys, "train", config_file)
    folder = Path("runs/small")
    result = json.loads((folder / "result.json").read_text())

    assert result["steps"] == plan["schedule"]["steps"]
    assert "run folder: runs/small" in out
    for task, facts in result["tasks"].items():
        assert f"{facts['rows_seen']:,} of {facts['rows_total']:,}" in out
        assert out.count(f"{task} ") >= 1
    assert f"best at step {result['best']['step']}" in out
    assert "SHARED_LSTM by SST2, LM" in err and plan["selection"] in err
    assert err.count("epoch 1, step") == 1 and "\x1b" not in out + err

    metrics = json.loads(run(capsys, "test", folder, "--json")[0])
    assert metrics["SST2"]["accuracy"] == pytest.approx(result["tasks"]["SST2"]["test"]["accuracy"])
    assert "accuracy" in run(capsys, "test", folder, "--task", "SST2")[0]

    rows = tmp_path / "rows.txt"
    texts = [f"a film number {index}" for index in range(300)]
    rows.write_text("\n".join(texts))
    predictions = [
        json.loads(line) for line in run(capsys, "predict", folder, rows, "--task", "SST2")[0].splitlines()
    ]
    assert len(predictions) == len(texts)
    assert all(sum(each["probabilities"].values()) == pytest.approx(1, abs=1e-5) for each in predictions)


def test_plan_shows_the_sharing(config_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = run(capsys, "plan", config_file)[0]
    tree = out[out.index("Modules") : out.index("Memory")]
    assert tree.count("SHARED_LSTM  shared with SST2") == 1
    assert tree.count("SHARED_EMBEDDING  shared with SST2") == 1
    assert (
        "lstm_dim 6  set at tasks.SST2.DocClassificationTask.representation.BiLSTMDocAttention.lstm" in tree
    )


def test_a_taken_folder_is_refused_and_the_default_one_numbered(
    config_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    short = ("--set", "trainer.max_steps=1", "--quiet")
    assert run(capsys, "train", config_file, *short) == ("", "")
    assert run(capsys, "train", config_file, *short) == ("", "")
    assert {path.name for path in Path("runs").iterdir()} == {"small", "small-2"}
    assert main(["train", str(config_file), "--output", "runs/small"]) == 2
    assert "already holds a run" in capsys.readouterr().err


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_continues(
    number: signal.Signals, status: int, config_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    line = ["train", str(config_file), "--output", str(folder), "--set", "trainer.epochs=500"]
    with subprocess.Popen([sys.executable, "-m", "mtl", *line], stderr=subprocess.PIPE, text=True) as process:
        while not any((folder / "checkpoints").glob("step-*")):
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(number)
        assert process.wait(60) == status
        assert process.stderr is not None
        said = process.stderr.read()
    assert "its state is saved" in said and "--resume" in said and "Traceback" not in said
    done = max(int(path.name.removeprefix("step-")) for path in (folder / "checkpoints").glob("step-*"))
    steps = json.loads((folder / "config.json").read_text())["trainer"]["epochs"]
    assert steps == 500
    run(capsys, *line[:-1], f"trainer.epochs={-(-done // 8) + 1}", "--resume")
    assert json.loads((folder / "result.json").read_text())["steps"] > done
