"""`mtl compare` of several configs, and of values of a setting."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from test_compare import trained, words  # noqa: F401 - a fixture

from mtl import UsageError
from mtl.commands import main
from mtl_compare.vary import folder_name, variations

Config = dict[str, Any]
Compare = Callable[..., tuple[int, str, str]]


@pytest.fixture
def compare(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Compare:
    """Runs the command on configs by name: its exit status, standard output and standard error."""

    def run(configs: dict[str, Config], *options: str, output: str = "out") -> tuple[int, str, str]:
        for name, config in configs.items():
            (tmp_path / f"{name}.json").write_text(json.dumps(config))
        files = [str(tmp_path / f"{name}.json") for name in configs]
        capsys.readouterr()
        status = main(["compare", *files, "--output", str(tmp_path / output), *options])
        return status, *capsys.readouterr()

    return run


def alone(config: Config, task: str) -> Config:
    return {**config, "tasks": {task: config["tasks"][task]}, "schedule": "RoundRobin"}


def test_a_better_setting_is_seen_to_be_better(
    tmp_path: Path,
    compare: Compare,
    trained: list[str],  # noqa: F811
) -> None:
    config = alone(words(tmp_path), "Many")
    vary = "trainer.optimizer.Adam.lr=0.00001,0.02"
    status, out, err = compare({"one": config}, "--vary", vary, "--seeds", "3")
    assert status == 0, err
    assert "lr=0.02 is better than lr=0.00001 on Many" in out
    assert "6 runs, about 0:" in err
    report = json.loads((tmp_path / "out/compare.json").read_text())
    assert (report["kind"], report["baseline"], len(trained)) == ("configs", "lr=0.00001", 6)
    slow, fast = (report["tasks"]["Many"]["configs"][name] for name in ("lr=0.00001", "lr=0.02"))
    assert slow["difference"] is None and fast["difference"]["verdict"] == "helps"
    assert fast["difference"]["mean"] == pytest.approx(fast["mean"] - slow["mean"])
    result = json.loads((tmp_path / "out/runs/lr%3D0.02-seed-1/result.json").read_text())
    assert fast["values"][1] == result["tasks"]["Many"]["test"]["accuracy"]

    # The tables for other programs, without a run.
    _, out, _ = compare({"one": config}, "--vary", vary, "--seeds", "3", "--csv")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert [float(row["mean"]) for row in rows] == [slow["mean"], fast["mean"]]
    assert [row["verdict"] for row in rows] == ["", "helps"]
    _, out, _ = compare({"one": config}, "--vary", vary, "--seeds", "3", "--latex")
    assert out.count(r"\pm") == 2 and "^{*" in out.splitlines()[-3] and "^" not in out.splitlines()[-4]
    assert len(trained) == 6


def test_configs_of_the_same_settings_do_not_differ(
    tiny: Config,
    compare: Compare,
    trained: list[str],  # noqa: F811
) -> None:
    status, out, _ = compare({"a": tiny, "b": tiny}, "--seeds", "2", "--json")
    report = json.loads(out)
    assert status == 0 and report["tasks"].keys() == {"SST2", "LM"}
    for task in report["tasks"].values():
        assert task["configs"]["a"]["values"] == task["configs"]["b"]["values"]
        assert task["configs"]["b"]["difference"]["text"].endswith("(it makes no difference with any seed)")
    assert report["delta_m"]["b"]["mean"] == 0


def test_tasks_that_cannot_be_compared_are_named(
    tiny: Config,
    single: Config,
    compare: Compare,
    trained: list[str],  # noqa: F811
) -> None:
    one = alone(tiny, "SST2")
    _, out, _ = compare({"both": tiny, "one": one}, "--seeds", "1", "--json")
    report = json.loads(out)
    assert report["tasks"].keys() == {"SST2"}
    assert any(note.startswith("LM is not compared: one does not train it") for note in report["notes"])
    status, _, err = compare({"one": one, "other": alone(single, "SST2")}, output="other")
    assert status == 2 and "its test rows differ between one and other" in err


def test_configs_with_other_held_out_rows_are_not_compared(tiny: Config, compare: Compare) -> None:
    config = alone(tiny, "SST2")
    data = {"train_path": "train.tsv", "eval_fraction": 0.5}
    config["tasks"]["SST2"]["DocClassificationTask"]["data"] = {"TSV": data}
    status, _, err = compare(
        {"a": config}, "--vary", "tasks.SST2.DocClassificationTask.data.TSV.eval_fold=0,1", "--seeds", "1"
    )
    assert status == 2 and "its eval rows differ between eval_fold=0 and eval_fold=1" in err


def test_folds_hold_out_each_row_once(
    tiny: Config,
    compare: Compare,
    tmp_path: Path,
    trained: list[str],  # noqa: F811
) -> None:
    config = alone(tiny, "SST2")
    options = ("--vary", "trainer.epochs=1,2", "--folds", "3")
    status, _, err = compare({"a": config}, *options)
    assert status == 0, err
    report = json.loads((tmp_path / "out/compare.json").read_text())
    assert len(trained) == 6 and report["tasks"]["SST2"]["split"] == "eval"
    assert any(note.startswith("3 folds: each run of a kind holds out") for note in report["notes"])
    for name in ("epochs%3D1", "epochs%3D2"):
        runs = [tmp_path / f"out/runs/{name}-seed-{fold}" for fold in range(3)]
        data = [json.loads((run / "result.json").read_text())["data"] for run in runs]
        assert sum(each["SST2.eval"]["rows"] for each in data) == 22 and "SST2.test" not in data[0]
        assert len({each["SST2.eval"]["sha256"] for each in data}) == 3

    assert compare({"a": config}, *options)[0] == 0 and len(trained) == 6
    status, _, err = compare({"a": config}, *options, "--first-seed", "1")
    assert status == 2 and "was made with other settings, data or vocabularies" in err
    for wrong, said in (
        (("--folds", "3", "--seeds", "2"), "exclude each other"),
        (("--folds", "1"), "`--folds` must be at least 2, but is 1"),
    ):
        status, _, err = compare({"a": config}, "--vary", "trainer.epochs=1,2", *wrong, output="other")
        assert status == 2 and said in err


def test_names_and_mistakes(tiny: Config, compare: Compare) -> None:
    assert list(variations(["x/a.json", "y/a.json", "b.json"], [])) == ["x/a", "y/a", "b"]
    made = variations(["a.json"], ["trainer.epochs=1,2", "p.dims=[8,8],[]", "seed=1"])
    assert list(made) == [f"epochs={e}, dims={d}, seed=1" for e in (1, 2) for d in ("[8,8]", "[]")]
    assert made["epochs=2, dims=[], seed=1"] == ("a.json", ("trainer.epochs=2", "p.dims=[]", "seed=1"))
    assert folder_name(made) == "a-vary" and folder_name(variations(["a.json", "b.json"], [])) == "a-b"
    for configs, vary in (
        (["a.json", "a.json"], []),
        (["a.json", "-"], []),
        (["a.json", "b.json"], ["seed=1,2"]),
        (["a.json"], ["seed=1"]),
        (["a.json"], ["seed=1,1"]),
        (["a.json"], ["seed=1,"]),
        (["a.json"], ["seed"]),
    ):
        with pytest.raises(UsageError):
            variations(configs, vary)
    for options in (["--without", "LM"], ["--leave-one-out"], ["--csv", "--latex"], ["--task", "LN"]):
        assert compare({"a": tiny, "b": tiny}, *options)[0] == 2
    status, _, err = compare({"a": tiny}, "--vary", "trainer.epochz=1,2")
    assert status == 2 and "did you mean `epochs`?" in err
