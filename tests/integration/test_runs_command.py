"""`mtl runs`: what is listed, compared, removed and cited."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import mtl
from mtl.commands import main

Invoke = Callable[..., tuple[int, str, str]]


@pytest.fixture
def invoke(capsys: pytest.CaptureFixture[str]) -> Iterator[Invoke]:
    """Runs a command line and gives its exit status, standard output and standard error."""

    def run(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        status = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    before = signal.getsignal(signal.SIGTERM)
    yield run
    signal.signal(signal.SIGTERM, before)


class InterruptAfter:
    """Sends SIGINT to this process after a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    @mtl.hookimpl
    def mtl_step_ended(self, step: int) -> None:
        if step == self.step:
            os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture(scope="module")
def runs(tiny_config: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two completed runs, one of them in a folder, an interrupted one and what is no run."""
    folder = tmp_path_factory.mktemp("runs")
    tiny_config = {**tiny_config, "tasks": {"SST2": tiny_config["tasks"]["SST2"]}}
    mtl.train(tiny_config, output=folder / "first", seed=1)
    faster = [*("trainer.optimizer.Adam.lr=0.05", "trainer.max_steps=9")]
    mtl.train(tiny_config, output=folder / "group/faster", overrides=faster)
    with pytest.raises(mtl.Interrupted):
        mtl.train(tiny_config, output=folder / "stopped", callbacks=[InterruptAfter(8)])
    (folder / "notes").mkdir()
    (folder / "notes/config.json").write_text("{}")
    return folder


def listed(invoke: Invoke, *arguments: object) -> list[dict[str, Any]]:
    status, out, err = invoke("runs", *arguments, "--json")
    assert (status, err) == (0, "")
    found: list[dict[str, Any]] = json.loads(out)
    return found


def names(invoke: Invoke, *arguments: object) -> list[str]:
    return [run["name"] for run in listed(invoke, *arguments)]


def test_runs_are_listed_with_what_they_say(invoke: Invoke, runs: Path) -> None:
    found = {run["name"]: run for run in listed(invoke, runs)}
    assert found.keys() == {"first", "group/faster", "stopped"}
    result = json.loads((runs / "first/result.json").read_text())
    first = found["first"]
    assert (first["status"], first["steps"], first["seed"]) == ("completed", result["steps"], 1)
    assert (first["metric"], first["value"]) == ("SST2.accuracy", result["best"]["value"])
    assert first["seconds"] == result["seconds"]["total"]
    files = [path for path in (runs / "first").rglob("*") if path.is_file()]
    assert first["size_bytes"] == sum(path.stat().st_size for path in files)
    stopped = found["stopped"]
    assert (stopped["status"], stopped["steps"]) == ("interrupted", 8)
    assert stopped["metric"] == "SST2.accuracy" and 0 <= stopped["value"] <= 1
    status, out, _ = invoke("runs", runs)
    assert status == 0 and "interrupted" in out and "SST2.accuracy" in out


def test_runs_are_filtered_and_sorted(invoke: Invoke, runs: Path) -> None:
    assert names(invoke, runs, "--sort", "name") == ["first", "group/faster", "stopped"]
    assert names(invoke, runs, "--sort", "name", "--reverse") == ["stopped", "group/faster", "first"]
    assert names(invoke, runs, "--sort", "when") == ["first", "group/faster", "stopped"]
    assert names(invoke, runs, "--status", "completed", "--sort", "name") == ["first", "group/faster"]
    assert names(invoke, runs, "--name", "group/*") == ["group/faster"]
    assert names(invoke, runs, "--task", "LM") == []
    assert names(invoke, runs, "--where", "trainer.optimizer.Adam.lr=0.05") == ["group/faster"]
    values = [run["value"] for run in listed(invoke, runs, "--sort", "metric")]
    assert values == sorted(values, reverse=True)
    assert invoke("runs", runs, "--where", "seed")[0] == 2
    assert invoke("runs", runs / "nowhere")[0] == 2


def test_a_run_under_way_and_a_damaged_one(invoke: Invoke, tiny: dict[str, Any], tmp_path: Path) -> None:
    class Look:
        @mtl.hookimpl
        def mtl_step_ended(self, step: int) -> None:
            seen.append(listed(invoke, tmp_path)[0]["status"])

    seen: list[str] = []
    mtl.train(tiny, output=tmp_path / "run", overrides=["trainer.max_steps=2"], callbacks=[Look()])
    assert seen == ["running", "running"]
    (tmp_path / "run/result.json").write_text("[")
    (run,) = listed(invoke, tmp_path)
    assert run["status"] == "damaged" and "result.json" in run["problem"]
    assert invoke("runs", "cite", tmp_path / "run")[0] == 2


def test_tables_for_other_programs(invoke: Invoke, runs: Path) -> None:
    _, out, _ = invoke("runs", runs, "--csv", "--sort", "name", "--show", "trainer.optimizer.Adam.lr")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert [row["trainer.optimizer.Adam.lr"] for row in rows] == ["0.001", "0.05", "0.001"]
    assert float(rows[0]["value"]) == listed(invoke, runs, "--name", "first")[0]["value"]
    _, out, _ = invoke("runs", runs, "--latex", "--show", "SST2.test.macro_f1", "--sort", "name")
    lines = out.splitlines()
    assert lines[0].startswith(r"\begin{tabular}{lll") and lines[-1] == r"\end{tabular}"
    assert lines[2].endswith(r"macro\_f1 \\") and all(
        line.count(" & ") == 9 for line in lines[2:3] + lines[4:7]
    )
    assert invoke("runs", runs, "--latex", "--csv")[0] == 2


def test_runs_side_by_side(invoke: Invoke, runs: Path) -> None:
    first, faster = runs / "first", runs / "group/faster"
    _, out, _ = invoke("runs", "diff", first, faster, "--json")
    found = json.loads(out)
    assert found["settings"] == {
        "trainer.max_steps": [None, 9],
        "trainer.optimizer.Adam.lr": [0.001, 0.05],
        "seed": [1, 0],
    }
    results = [json.loads((run / "result.json").read_text()) for run in (first, faster)]
    losses = [result["tasks"]["SST2"]["eval"]["loss"] for result in results]
    assert found["metrics"]["SST2.eval.loss"] == losses and found["versions"] == {}
    status, out, _ = invoke("runs", "diff", first, faster)
    assert status == 0 and "SST2.test.accuracy" in out and "difference" in out
    assert invoke("runs", "diff", first)[0] == 2
    assert invoke("runs", "diff", first, runs)[::2] == (2, f"mtl: {runs}: not a run folder\n")


def test_a_citation_says_how_the_run_was_made(invoke: Invoke, runs: Path) -> None:
    status, out, _ = invoke("runs", "cite", runs / "group/faster")
    assert status == 0
    for said in ("SST2 (DocClassificationTask, 22 training rows)", "9 steps of Adam", "0.05", "seed was 0"):
        assert said in out
    assert out.count("@") == 2 and out.count("{") == out.count("}")
    status, _, err = invoke("runs", "cite", runs / "stopped")
    assert status == 2 and "this run is interrupted" in err


def test_checkpoints_of_completed_runs_are_removed_on_request(
    invoke: Invoke, tiny: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mtl.train(tiny, output=tmp_path / "done")
    with pytest.raises(mtl.Interrupted):
        mtl.train(tiny, output=tmp_path / "stopped", callbacks=[InterruptAfter(8)])
    before = listed(invoke, tmp_path, "--name", "done")[0]
    assert before["checkpoint_bytes"] > 0
    status, _, err = invoke("runs", "prune", tmp_path)
    assert status == 2 and "--yes" in err
    assert "would remove" in invoke("runs", "prune", tmp_path, "--dry-run")[1]
    assert listed(invoke, tmp_path, "--name", "done") == [before]
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("typer.confirm", lambda question: False)
    assert "nothing was removed" in invoke("runs", "prune", tmp_path)[1]
    assert listed(invoke, tmp_path, "--name", "done") == [before]
    assert invoke("runs", "prune", tmp_path, "--yes")[0] == 0
    (after,) = listed(invoke, tmp_path, "--name", "done")
    assert after["size_bytes"] == before["size_bytes"] - before["checkpoint_bytes"]
    assert mtl.load(tmp_path / "done").test()
    with pytest.raises(mtl.UsageError, match="its checkpoints were removed"):
        mtl.train(tiny, output=tmp_path / "done", resume=True, overrides=["trainer.epochs=3"])
    assert mtl.train(tiny, output=tmp_path / "stopped", resume=True).data["status"] == "completed"
    assert "no completed run" not in invoke("runs", "prune", tmp_path, "--models", "--yes")[1]
    assert not (tmp_path / "done/model").exists()


def test_a_run_may_keep_no_checkpoints_when_it_is_complete(tiny: dict[str, Any], tmp_path: Path) -> None:
    tiny["trainer"]["keep_checkpoints"] = 0
    with pytest.raises(mtl.Interrupted):
        mtl.train(tiny, output=tmp_path / "run", callbacks=[InterruptAfter(8)])
    assert len(list((tmp_path / "run/checkpoints").iterdir())) == 1
    mtl.train(tiny, output=tmp_path / "run", resume=True)
    assert list((tmp_path / "run/checkpoints").iterdir()) == []
