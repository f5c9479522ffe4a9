"""`mtl compare`: the whole command, stopped, gone on with, and what it says."""

from __future__ import annotations

import contextlib
import copy
import json
import os
import re
import shlex
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from documents import ROOT, blocks

import mtl
from mtl.commands import main
from mtl.errors import MtlError
from mtl.plugins import Plugins
from mtl_compare import comparison
from mtl_compare.processes import Command

Config = dict[str, Any]
Compare = Callable[..., Config]


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch, plugins: Plugins) -> list[str]:
    """The runs that were trained, in this process, which saves the seconds that torch takes to import."""
    names: list[str] = []

    def run_all(commands: Sequence[Command], *, ended: Any, polled: Any, at_once: int) -> None:
        for command in commands:
            polled([command])
            names.append(command.folder.name)
            try:
                mtl.train(
                    command.config,
                    output=command.folder,
                    seed=command.seed,
                    device=command.device,
                    overrides=command.overrides,
                    resume=command.folder.exists(),
                    plugins=plugins,
                )
            except MtlError as error:
                command.log.parent.mkdir(exist_ok=True)
                command.log.write_text(f"mtl: {error}\n")
            ended(command, 0 if (command.folder / "result.json").exists() else 1)

    monkeypatch.setattr(comparison, "run_all", run_all)
    return names


@pytest.fixture
def compare(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Compare:
    """Runs the command: its exit status, what it prints and says, and the report that it leaves."""

    def run(config: Config, *options: str, output: str = "out") -> Config:
        (tmp_path / "config.json").write_text(json.dumps(config))
        command = ["compare", str(tmp_path / "config.json"), "--output", str(tmp_path / output), *options]
        capsys.readouterr()
        status = main(command)
        printed, said = capsys.readouterr()
        left = tmp_path / output / "compare.json"
        report = json.loads(left.read_text()) if left.exists() else None
        return {"status": status, "printed": printed, "said": said, "report": report}

    return run


def words(folder: Path) -> Config:
    """A task with few training rows, and test rows of words that only the other task's data have: to train
    them together must help."""
    good, bad = [f"good{index}" for index in range(12)], [f"bad{index}" for index in range(12)]
    known = [(word, label) for group, label in ((good, 1), (bad, 0)) for word in (*group[:3], *group[3:5])]
    every = [(word, label) for group, label in ((good, 1), (bad, 0)) for word in group]
    files = {"few.tsv": known, "many.tsv": every * 3, "eval.tsv": every, "test.tsv": every[::-1]}
    for name, rows in files.items():
        (folder / name).write_text("".join(f"{word} {word}\t{label}\n" for word, label in rows))

    def task(train: str) -> Config:
        shared = {"shared_module_key": "LSTM", "lstm_dim": 4}
        return {
            "DocClassificationTask": {
                "batch_size": 8,
                "data": {"train_path": train, "eval_path": "eval.tsv", "test_path": "test.tsv"},
                "features": {"shared_module_key": "WORDS", "word_feat": {"embed_dim": 6}},
                "representation": {"BiLSTMDocAttention": {"shared_module_key": "READER", "lstm": shared}},
                "decoder": {"shared_module_key": "DECODER"},
            }
        }

    return {
        "base_dir": str(folder),
        "tasks": {"Few": task("few.tsv"), "Many": task("many.tsv")},
        "trainer": {"epochs": 6, "optimizer": {"Adam": {"lr": 0.02}}},
        "schedule": {"RoundRobin": {"epoch": "task", "epoch_task": "Many"}},
        "device": "cpu",
    }


# --- what it says ----------------------------------------------------------------------------------


def test_what_must_help_is_seen_to_help(tmp_path: Path, compare: Compare, trained: list[str]) -> None:
    found = compare(words(tmp_path), "--seeds", "3")
    assert found["status"] == 0, found["said"]
    task = found["report"]["tasks"]["Few"]
    assert task["difference"]["verdict"] == "helps"
    assert task["difference"]["mean"] > 0.15
    assert max(task["difference"]["p_rows"], task["difference"]["p_seeds"] or 0) < 0.05
    assert "training together helps Few" in found["printed"]
    assert found["report"]["delta_m"]["mean"] > 0
    assert trained[:3] == ["together-seed-0", "alone-Few-seed-0", "alone-Many-seed-0"]
    assert len(trained) == 9


def test_tasks_that_share_nothing_are_exactly_as_alone(
    tiny: Config, compare: Compare, trained: list[str]
) -> None:
    own = {"word_feat": {"embed_dim": 4}}
    # Dropout is drawn anew for each step, whichever task has it.
    still = {"BiLSTMDocAttention": {"dropout": 0.0, "lstm": {"dropout": 0.0, "lstm_dim": 3}}}
    tiny["tasks"]["SST2"]["DocClassificationTask"] |= {"features": own, "representation": still}
    tiny["tasks"]["LM"]["LMTask"] |= {"features": own, "representation": "BiLSTM"}
    report = compare(tiny, "--seeds", "2")["report"]
    task = report["tasks"]["SST2"]
    assert task["together"] == {key: task["alone"][key] for key in task["together"]}
    assert task["difference"]["text"] == "cannot be told with 2 seeds (it makes no difference with any seed)"
    assert task["difference"]["p_rows"] == 1.0
    assert task["metrics"]["loss"]["difference"]["mean"] == 0.0


def test_the_report_is_that_of_the_runs(
    tiny: Config, compare: Compare, trained: list[str], tmp_path: Path
) -> None:
    found = compare(tiny, "--seeds", "2", "--first-seed", "3")
    report = found["report"]
    assert (report["format"], report["status"], report["seeds"]) == (1, "completed", [3, 4])
    for run in report["runs"]:
        result = json.loads((tmp_path / "out" / run["folder"] / "result.json").read_text())
        assert run["seconds"] == result["seconds"]["total"]
        assert {task: metrics["test"] for task, metrics in run["tasks"].items()} == {
            task: metrics["test"] for task, metrics in result["tasks"].items() if metrics["test"]
        }
    for name, task in report["tasks"].items():
        assert task["split"] == "test" and task["selected_on"] is None
        for variant in ("together", "alone"):
            values = [
                run["tasks"][name]["test"][task["metric"]]
                for run in report["runs"]
                if run["name"] == (variant if variant == "together" else f"alone/{name}")
            ]
            assert task[variant]["values"] == values
            assert f"{sum(values) / 2:.3f}"[:5] in found["printed"]
        assert task["difference"]["text"] in found["printed"]
    assert report["cost"]["alone"]["steps"] == report["cost"]["together"]["steps"]
    assert report["cost"]["alone/LM"]["parameters"] < report["cost"]["together"]["parameters"]

    again = compare(tiny, "--seeds", "2", "--first-seed", "3", "--json")
    assert json.loads(again["printed"]) == report
    assert len(trained) == 6


def test_each_row_is_scored_as_all_of_them_are(
    tiny: Config, compare: Compare, trained: list[str], tmp_path: Path
) -> None:
    compare(tiny, "--seeds", "1")
    scores = json.loads((tmp_path / "out/scores/together-seed-0.json").read_text())["tasks"]
    result = json.loads((tmp_path / "out/runs/together-seed-0/result.json").read_text())["tasks"]
    for task, scored in scores.items():
        loss = sum(scored["loss_total"]) / sum(scored["loss_weight"])
        assert loss == pytest.approx(result[task]["test"]["loss"], rel=1e-5)
    accuracy = scores["SST2"]["metric"]
    assert sum(accuracy) / len(accuracy) == pytest.approx(result["SST2"]["test"]["accuracy"])


def test_what_each_task_brings_the_others(tiny: Config, compare: Compare, trained: list[str]) -> None:
    tiny["tasks"]["Second"] = copy.deepcopy(tiny["tasks"]["SST2"])
    found = compare(tiny, "--seeds", "1", "--leave-one-out")
    assert [run["name"] for run in found["report"]["runs"]] == [
        "together",
        *(f"alone/{task}" for task in tiny["tasks"]),
        *(f"without/{task}" for task in tiny["tasks"]),
    ]
    for name, task in found["report"]["tasks"].items():
        assert list(task["without"]) == [other for other in tiny["tasks"] if other != name]
        for other, without in task["without"].items():
            assert without["difference"]["mean"] == task["together"]["mean"] - without["mean"]
            assert f"whether {other} helps {name} cannot be told" in found["printed"]


def test_one_seed_tells_nothing_over_seeds(tiny: Config, compare: Compare, trained: list[str]) -> None:
    found = compare(tiny, "--seeds", "1")
    difference = found["report"]["tasks"]["SST2"]["difference"]
    assert difference["p_seeds"] is None and difference["interval"] is None
    assert difference["rows_test"]["test"] == "McNemar"
    assert "cannot be told with 1 seed" in found["printed"]


@pytest.mark.parametrize("keep", ["best", "last"])
def test_rows_that_select_and_are_reported_are_named(
    tiny: Config, compare: Compare, trained: list[str], keep: str, tmp_path: Path
) -> None:
    data = tiny["tasks"]["SST2"]["DocClassificationTask"]["data"]
    copied = tmp_path / "a copy of the evaluation rows.tsv"
    copied.write_text((Path(tiny["base_dir"]) / "eval.tsv").read_text())
    data["test_path"] = str(copied)
    tiny["trainer"]["keep_model"] = keep
    report = compare(tiny, "--seeds", "1")["report"]
    task, notes = report["tasks"]["SST2"], "\n".join(report["notes"])
    assert task["split"] == "eval"
    assert task["selected_on"] == ("eval" if keep == "best" else None)
    assert ("SST2: the same rows selected the model" in notes) == (keep == "best")
    assert ("no rows selected a model" in notes) == (keep == "last")


# --- runs that are there ---------------------------------------------------------------------------


def test_more_seeds_take_those_that_are_there(tiny: Config, compare: Compare, trained: list[str]) -> None:
    first = compare(tiny, "--seeds", "1")["report"]
    report = compare(tiny, "--seeds", "2")["report"]
    assert sorted(trained) == sorted(
        f"{name}-seed-{seed}" for name in ("together", "alone-SST2", "alone-LM") for seed in (0, 1)
    )
    assert report["runs"][:3] == first["runs"]
    assert compare(tiny, "--seeds", "1")["report"] == first


@pytest.mark.parametrize("change", ["config", "data"])
def test_runs_of_another_config_are_refused(
    tiny: Config, compare: Compare, trained: list[str], change: str, tmp_path: Path
) -> None:
    rows = tmp_path / "rows.tsv"
    rows.write_text("good\t1\nbad\t0\n" * 6)
    tiny["tasks"]["SST2"]["DocClassificationTask"]["data"]["train_path"] = str(rows)
    compare(tiny, "--seeds", "1")
    if change == "data":
        rows.write_text("good\t0\nbad\t1\n" * 6)
    else:
        tiny["trainer"]["epochs"] = 3
    found = compare(tiny, "--seeds", "1")
    assert found["status"] == 2
    assert "together-seed-0 was made with other settings, data or vocabularies" in found["said"]
    assert len(trained) == 3


def test_a_run_that_fails_takes_no_other_with_it(
    tiny: Config, compare: Compare, trained: list[str], tmp_path: Path
) -> None:
    (tmp_path / "out/runs/alone-LM-seed-0").mkdir(parents=True)
    (tmp_path / "out/fingerprints.json").write_text("{}")
    (tmp_path / "out/runs/alone-LM-seed-0/something").write_text("that is no run")
    found = compare(tiny, "--seeds", "1")
    assert found["status"] == 1
    assert "alone/LM, seed 0: " in found["said"] and "not a run folder" in found["said"]
    assert "1 of 3 runs failed" in found["said"]
    assert found["report"]["status"] == "incomplete"
    assert found["report"]["tasks"]["SST2"]["alone"]["mean"] is not None
    assert found["report"]["tasks"]["LM"]["alone"]["mean"] is None
    assert "failed: alone/LM" in found["printed"]


def test_mistakes_are_messages(tiny: Config, single: Config, compare: Compare, tmp_path: Path) -> None:
    (tmp_path / "used").mkdir()
    (tmp_path / "used/thesis.txt").write_text("")
    for config, options, message in [
        (tiny, ["--seeds", "0"], "`--seeds` must be at least 1, but is 0"),
        (tiny, ["--jobs", "0"], "`--jobs` must be at least 1, but is 0"),
        (tiny, ["--seeds", "-1"], "`--seeds` must be a non-negative integer, but is `-1`"),
        (single, [], "there is nothing to compare"),
        (
            tiny,
            ["--without", "SST"],
            "`--without` must be a task that is trained, but is `SST`; did you mean",
        ),
        (copy.deepcopy(tiny) | {"seeed": 1}, [], "seeed"),
    ]:
        found = compare(config, *options)
        assert found["status"] == 2 and message in found["said"], found["said"]
        assert not (tmp_path / "out").exists()
    found = compare(tiny, output="used")
    assert found["status"] == 2 and "used: must be new, empty or a comparison" in found["said"]


# --- processes -------------------------------------------------------------------------------------


def wait_for(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.fixture
def signals() -> Iterator[None]:
    """The handlers of signals as they were: a command that is interrupted ignores what comes after."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.slow
def test_an_interrupted_comparison_continues(
    tiny: Config, compare: Compare, tmp_path: Path, signals: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    tiny["trainer"]["epochs"] = 200
    output = tmp_path / "out"
    first = output / "runs/together-seed-0"

    def interrupt() -> None:
        wait_for(lambda: any(first.glob("checkpoints/step-*")))
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    stopped = compare(tiny, "--seeds", "1")
    thread.join()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    assert stopped["status"] == 130, stopped["said"]
    assert "stopped, the state of all runs is saved; the same command goes on" in stopped["said"]
    assert stopped["report"]["status"] == "incomplete"
    assert "stopped after step" in (output / "logs/together-seed-0.txt").read_text()
    begun = (first / "metrics.jsonl").read_text()
    assert not (first / "result.json").exists() and not (output / "runs/alone-SST2-seed-0").exists()

    found = compare(tiny, "--seeds", "1", "--jobs", "2")
    assert found["status"] == 0, found["said"]
    assert found["report"]["status"] == "completed"
    assert (first / "metrics.jsonl").read_text().startswith(begun)

    def times() -> dict[str, float]:
        return {str(path): path.stat().st_mtime for path in (output / "runs").rglob("*")}

    before = times()
    again = compare(tiny, "--seeds", "1")
    assert again["status"] == 0 and again["report"] == found["report"]
    assert times() == before


def test_the_document_works(
    trained: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    monkeypatch.chdir(tmp_path)
    commands = [line for block in blocks("docs/compare.md") if block.runs for line in block.text.splitlines()]
    for command in commands:
        program, *arguments = shlex.split(command)
        assert program == "mtl" and main(arguments) == 0, capsys.readouterr().err
    assert "whether training together helps SST2 cannot be told with 1 seed" in capsys.readouterr().out
    report = json.loads((tmp_path / "runs/look/compare.json").read_text())
    assert len(trained) == 3 and report["status"] == "completed"
    assert report["cost"]["together"]["steps"] == 20
    task = report["tasks"]["SST2"]
    assert task["selected_on"] == "eval"
    text = (ROOT / "docs/compare.md").read_text().partition("## compare.json")[2]
    documented = set(re.findall(r"\b([a-z_]+)\b", " ".join(re.findall(r"`([^`]+)`", text))))
    for part in (report, task, task["difference"], task["together"], report["delta_m"], report["runs"][0]):
        assert part.keys() <= documented


def test_a_killed_run_is_a_failed_one(tmp_path: Path) -> None:
    from mtl_compare.processes import run_all

    commands = [
        Command(tmp_path / name, tmp_path / "run", tmp_path / f"{name}.log", 0, None) for name in ("a", "b")
    ]
    statuses: dict[str, int] = {}

    def polled(under_way: Sequence[Command]) -> None:
        if [each.config.name for each in under_way] == ["a", "b"]:
            raise KeyboardInterrupt

    with contextlib.suppress(KeyboardInterrupt):
        run_all(
            commands,
            at_once=2,
            ended=lambda command, status: statuses.update({command.config.name: status}),
            polled=polled,
        )
    assert statuses == {}
    assert all("Traceback" not in command.message for command in commands)
    run_all(
        commands[:1],
        at_once=1,
        ended=lambda command, status: statuses.update({command.config.name: status}),
        polled=lambda under_way: None,
    )
    assert statuses == {"a": 2}
    assert commands[0].message == f"{tmp_path / 'a'}: there is no such file"
