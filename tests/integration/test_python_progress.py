"""A run from Python: its progress, its result, its reprs, and how it is interrupted."""

from __future__ import annotations

import inspect
import os
import re
import signal
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import mtl
import mtl.runs
from mtl.runs import read_records


def test_progress_is_shown_unless_quiet(
    tiny: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mtl.train(tiny, output=tmp_path / "a")
    out, err = capsys.readouterr()
    assert out == "", "standard output is the program's own"
    for said in ("RoundRobin", "best so far", "completed", str(tmp_path / "a")):
        assert said in err
    assert "mtl test" not in err
    mtl.train(tiny, output=tmp_path / "b", quiet=True)
    mtl.runs.train(tiny, output=tmp_path / "c")
    assert capsys.readouterr() == ("", "")
    with pytest.raises(mtl.UsageError, match="`quiet` must be true or false"):
        mtl.train(tiny, output=tmp_path / "d", quiet="no")  # type: ignore[arg-type]


def test_both_functions_take_the_same_arguments() -> None:
    shown, silent = (dict(inspect.signature(each).parameters) for each in (mtl.train, mtl.runs.train))
    shown.pop("quiet")
    assert shown == silent


def test_a_result_has_metrics_curves_and_plots(
    tiny: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = mtl.train(tiny, output=tmp_path / "run", quiet=True)
    assert result.metrics["SST2"]["test"] == result.data["tasks"]["SST2"]["test"]
    assert result.best == result.data["best"]
    curves = result.curves()
    records, _ = read_records(tmp_path / "run/metrics.jsonl")
    losses = [record["loss"] for record in records if (record["kind"], record["task"]) == ("train", "LM")]
    of = curves.filter(kind="train", task="LM", metric="loss")
    assert of["value"].to_list() == losses and of["step"].is_sorted()
    assert curves.columns == ["kind", "step", "epoch", "task", "metric", "value"]
    assert {"accuracy", "perplexity"} <= set(curves.filter(kind="eval")["metric"])
    html = result._repr_html_()
    assert f"{result.metrics['SST2']['eval']['accuracy']:.4f}" in html
    assert html.count("<tr>") == html.count("</tr>") > 10 and "confusion" not in html
    loaded = mtl.load(result.folder)._repr_html_()
    assert "DocClassificationTask" in loaded and re.search(r"<td>[\d,]+</td>", loaded)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(mtl.UsageError, match="pip install matplotlib"):
        result.plot()


def test_plots_have_a_curve_per_task_and_metric(tiny: dict[str, Any], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    result = mtl.train(tiny, output=tmp_path / "run", quiet=True)
    axes = result.plot().axes
    titles = [(each.get_title(), each.get_ylabel()) for each in axes]
    assert sorted(titles) == [("LM", "loss"), ("SST2", "accuracy"), ("SST2", "loss")]
    evaluated = result.curves().filter(kind="eval", task="SST2", metric="accuracy")
    (line,) = axes[titles.index(("SST2", "accuracy"))].get_lines()
    assert list(line.get_ydata()) == evaluated["value"].to_list()
    assert [each.get_ylabel() for each in result.plot(["perplexity"]).axes] == ["perplexity"]
    with pytest.raises(mtl.UsageError, match="no curve is of `f2`"):
        result.plot(["f2"])


def test_an_interrupted_cell_leaves_a_run_to_resume_and_a_usable_session(
    tiny: dict[str, Any], tmp_path: Path
) -> None:
    class InterruptOnce:
        @mtl.hookimpl
        def mtl_step_ended(self, step: int) -> None:
            if step == 5:
                os.kill(os.getpid(), signal.SIGINT)

    handler = signal.getsignal(signal.SIGINT)
    ran = 0
    with pytest.raises(KeyboardInterrupt) as raised:
        for seed in range(3):
            ran += 1
            try:
                mtl.train(
                    tiny, output=tmp_path / f"{seed}", seed=seed, callbacks=[InterruptOnce()], quiet=True
                )
            except Exception:
                continue
    assert ran == 1, "the loop ended with Ctrl-C"
    assert raised.value._render_traceback_() == [f"Interrupted: {raised.value}"]  # type: ignore[attr-defined]
    assert "resume=True" in str(raised.value) and "--" not in str(raised.value)
    assert signal.getsignal(signal.SIGINT) is handler
    resumed = mtl.train(tiny, output=tmp_path / "0", seed=0, resume=True, quiet=True)
    whole = mtl.train(tiny, output=tmp_path / "whole", seed=0, quiet=True)
    assert resumed.metrics == whole.metrics


def test_a_notebook_shows_messages_without_a_traceback() -> None:
    assert mtl.UsageError("`seed` must be an integer")._render_traceback_() == [
        "UsageError: `seed` must be an integer"
    ]


def test_tables_in_tables_out(tiny: dict[str, Any], tmp_path: Path) -> None:
    mtl.train(tiny, output=tmp_path / "run", quiet=True)
    run = mtl.load(tmp_path / "run")
    table = run.predict("SST2", pl.DataFrame({"text": ["a brave film", "dull"]}))
    assert isinstance(table, pl.DataFrame) and table["label"].to_list() == [
        each["label"] for each in run.predict("SST2", ["a brave film", "dull"])
    ]
