"""An undefined metric is never the best, is said loudly and before training, and never written as NaN."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import mtl
from mtl.errors import ConfigError
from mtl_text.classification.metrics import ClassificationMetrics

Config = dict[str, Any]


@pytest.fixture
def one(tiny: Config) -> Config:
    """The classifier alone, evaluated five times."""
    del tiny["tasks"]["LM"]
    tiny["trainer"] |= {"epochs": 5}
    return tiny


def accuracies(monkeypatch: pytest.MonkeyPatch, values: list[float]) -> None:
    """Let each evaluation, and the test, have the next of these values for its accuracy."""
    turns: Iterator[float] = iter([*values, 0.5, 0.5])
    original = ClassificationMetrics.compute

    def compute(self: ClassificationMetrics) -> dict[str, Any]:
        return {**original(self), "accuracy": next(turns)}

    monkeypatch.setattr(ClassificationMetrics, "compute", compute)


def strict(path: Path) -> list[Any]:
    def refuse(name: str) -> None:
        raise ValueError(name)

    return [json.loads(line, parse_constant=refuse) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("undefined", [math.nan, math.inf, -math.inf])
def test_a_nonfinite_metric_is_never_the_best(
    one: Config,
    tmp_path: Path,
    undefined: float,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    accuracies(monkeypatch, [undefined, 0.4, undefined, 0.6, 0.5])
    with caplog.at_level(logging.WARNING, "mtl"):
        result = mtl.train(one, output=tmp_path / "run").data
    assert result["best"] == {"step": 24, "epoch": 4, "metric": "SST2.accuracy", "value": 0.6}
    told = [record.message for record in caplog.records if "SST2.accuracy is undefined" in record.message]
    assert len(told) == 1
    records = strict(tmp_path / "run/metrics.jsonl")
    assert [r["accuracy"] for r in records if r["kind"] == "eval"] == [None, 0.4, None, 0.6, 0.5]
    json.dumps(result, allow_nan=False)


def test_early_stopping_ends_a_run_whose_metric_is_never_defined(
    one: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    accuracies(monkeypatch, [math.nan] * 5)
    one["trainer"]["early_stop_after"] = 2
    result = mtl.train(one, output=tmp_path / "run").data
    assert result["stopped_early"] and result["best"]["epoch"] == 2 and result["best"]["value"] is None
    assert mtl.load(tmp_path / "run").task_names == ["SST2"], "the last model is kept"


def test_an_undefined_metric_is_reported_before_training(one: Config, tmp_path: Path) -> None:
    task = one["tasks"]["SST2"]["DocClassificationTask"]
    dev = tmp_path / "dev.tsv"
    dev.write_text("sentence\tlabel\n" + "".join(f"the film is a {word}\t0\n" for word in "abcde"))
    task["data"]["eval_path"] = str(dev)
    task["selection_metric"] = "roc_auc"
    [notice] = [n for n in mtl.runs.plan(one)["notices"] if "undefined" in n]
    assert notice.startswith(f"SST2: roc_auc is undefined on {dev}, as all rows have the label 0")
    task["selection_metric"] = "accuracy"
    assert not [n for n in mtl.runs.plan(one)["notices"] if "undefined" in n]


def test_the_tasks_that_select_and_stop_are_the_users(tiny: Config, tmp_path: Path) -> None:
    tiny["selection"] = {"tasks": {"SST2": 1.0, "LM": 0.5}, "early_stopping_tasks": {"LM": 1}}
    assert mtl.runs.plan(tiny)["selection"] == (
        "weighted mean of SST2.accuracy, 0.5 * -log(LM.perplexity); higher is better"
    )
    best = mtl.train(tiny, output=tmp_path / "run").data["best"]
    [sst, lm] = [
        record
        for record in strict(tmp_path / "run/metrics.jsonl")
        if record["kind"] == "eval" and record["epoch"] == best["epoch"]
    ]
    expected = (sst["accuracy"] - 0.5 * math.log(lm["perplexity"])) / 1.5
    assert best["metric"] == "mean_score" and best["value"] == pytest.approx(expected)


@pytest.mark.parametrize("key", ["tasks", "early_stopping_tasks"])
def test_an_unknown_task_is_refused(tiny: Config, key: str) -> None:
    tiny["selection"] = {key: {"SST": 1.0}}
    with pytest.raises(ConfigError, match=f"`{key}` must name a task, .* `SST`.*did you mean `SST2`"):
        mtl.runs.plan(tiny)


def test_a_task_without_evaluation_data_cannot_select(tiny: Config) -> None:
    del tiny["tasks"]["LM"]["LMTask"]["data"]["eval_path"]
    tiny["selection"] = {"tasks": {"LM": 1.0}}
    with pytest.raises(ConfigError, match=r"selection.tasks.LM: .*evaluation data, but `LM` has none"):
        mtl.runs.plan(tiny)
