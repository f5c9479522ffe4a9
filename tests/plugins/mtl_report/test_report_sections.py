"""What stands in each section, from runs and comparisons made by hand."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Sequence
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from mtl_report import write_report
from mtl_report.comparison import _difference, _transfer
from mtl_report.gradients import gradient_panels
from mtl_report.plots import Line, Plots
from mtl_report.records import RunFiles, Series, read_run
from mtl_report.run import _likely_metric, _schedule

MadeRun = Callable[..., Path]
MadeComparison = Callable[[Any], Path]


def section(page: str, name: str) -> str:
    """The text of a section, without tags, spaces brought together."""
    found = re.search(rf'<section id="{name}">(.*?)</section>', page, re.S)
    assert found, name
    return text(found[1])


def text(markup: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", markup)).split())


def report(folder: Path) -> str:
    return write_report(folder).read_text()


def files(records: Sequence[dict[str, Any]], result: dict[str, Any] | None = None) -> RunFiles:
    tasks = {record["task"]: {} for record in records}
    return RunFiles(Path("run"), {"tasks": tasks}, result or {}, records, {})


# --- a run -----------------------------------------------------------------------------------------


def test_a_complete_run(made_run: MadeRun) -> None:
    page = report(made_run(["SST2", "LM"]))
    head = text(page[page.index("<header>") : page.index("</header>")])
    assert "run completed" in head and "best SST2.accuracy 0.8750 at step 300" in head
    assert "time 31.0 s evaluation 3.0 s" in head and "peak memory 512 MB" in head
    results = section(page, "results")
    assert "SST2 accuracy 0.8750 0.8750 0.4100 0.4100 200 990 of 1,000 51" in results
    curves = section(page, "curves")
    assert "pretrain to step 120, joint to step 400" in curves
    # Of a task whose plugin is not there nobody knows which way is better.
    assert "accuracy on evaluation data" in curves and "is better" not in curves
    time = section(page, "schedule")
    assert "backward 12.5 s 40.3 %" in time.replace("\xa0", " ") and "other 3.5 s" in time
    assert "negative 40 85.1 % 7 14.9 %" in section(page, "confusions").replace("\xa0", " ")
    assert "recall" in section(page, "confusions") and "0.9000 - 0.8500 47" in section(page, "confusions")
    config = section(page, "config")
    assert "pytext-mtl 0.1.0 Adam" in config and '"name": "pretrain"' in config


def test_what_needs_the_model_says_why_it_is_missing(made_run: MadeRun) -> None:
    folder = made_run(["SST2"])
    page = report(folder)
    for name in ("sharing", "rows"):
        assert f"{folder}/model/manifest.json: there is no such file" in section(page, name)
    without = write_report(folder, data=False).read_text()
    assert "the report was made with --no-data" in section(without, "rows")


def test_an_incomplete_run(made_run: MadeRun) -> None:
    folder = made_run(["SST2"], complete=False)
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "train", "step": 5')
    page = report(folder)
    assert "not complete" in page and "its last record is of step 400" in text(page)
    assert "the last line of metrics.jsonl is cut off, and left out" in text(page)
    last = read_run(folder).of("eval", "SST2")[-1]
    assert f"SST2 accuracy {last['accuracy']:.4f} -" in section(page, "results")


def test_a_run_that_has_just_begun(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"tasks": {"SST2": {}}}')
    page = report(tmp_path)
    assert "Nothing was recorded for this task." in section(page, "curves")
    assert "not complete" in page and "available once the run is complete" in section(page, "schedule")


def test_metrics_that_are_no_numbers_are_absent_and_break_the_curve(made_run: MadeRun) -> None:
    folder = made_run(["SST2"])
    metrics = {"loss": math.nan, "accuracy": None, "best_word": "film", "huge": 1e300, "list": [1]}
    result = json.loads((folder / "result.json").read_text())
    result["tasks"]["SST2"] |= {"eval": metrics, "test": None}
    (folder / "result.json").write_text(json.dumps(result))
    rows = section(report(folder), "results").partition("All metrics")[2]
    assert "loss - -" in rows and "best_word film -" in rows and "huge - -" in rows and "list" not in rows
    values = (1.0, None, 3.0, 2.0)
    whole, broken = (
        Plots().curves([Line(Series((1, 2, 3, 4), given))], y="loss", last_step=4)
        for given in ((1.0, 2.0, 3.0, 2.0), values)
    )
    assert len(re.findall(r"M [^\"]*M ", broken)) > len(re.findall(r"M [^\"]*M ", whole))


def test_the_metric_of_a_task_whose_plugin_is_missing_is_the_one_that_selected(made_run: MadeRun) -> None:
    run = read_run(made_run(["A", "B"], best={"metric": "A.macro_f1", "value": 1}))
    assert _likely_metric(run, "A") == "macro_f1"
    assert _likely_metric(run, "B") == "accuracy"


def test_the_schedule_is_what_each_task_took_between_reports() -> None:
    def line(step: int, task: str, share: float) -> dict[str, Any]:
        return {"kind": "train", "step": step, "task": task, "share": share}

    records = [line(10, "A", 1.0), line(20, "B", 1.0), line(30, "A", 0.5), line(30, "B", 0.5)]
    drawn: list[Any] = []

    class Drawn(Plots):
        def shares(self, parts: Any, *, last_step: int) -> Any:
            drawn.extend(parts)
            return "plot"

    schedule = _schedule(files(records), Drawn())
    assert schedule is not None
    assert [(task.name, task.steps, task.share) for task in schedule.tasks] == [
        ("A", 15, 0.5),
        ("B", 15, 0.5),
    ]
    assert [series.values for series, _ in drawn] == [(1.0, 1.0, 0.0, 0.5), (0.0, 0.0, 1.0, 0.5)]
    counted = _schedule(files(records, {"tasks": {"A": {"steps": 16}, "B": {"steps": 14}}}), Drawn())
    assert counted is not None and [task.steps for task in counted.tasks] == [16, 14]
    assert _schedule(files([]), Drawn()) is None


def test_a_task_that_left_the_schedule(made_run: MadeRun) -> None:
    folder = made_run(["SST2", "LM"])
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "stopped", "step": 240, "epoch": 2, "task": "LM"}\n')
    assert "LM stopped early at step 240" in section(report(folder), "curves")


# --- gradients -------------------------------------------------------------------------------------


def test_gradients_by_module_the_worst_first() -> None:
    def line(step: int, module: str, other: str, cosine: float | None, norm: float = 1.0) -> dict[str, Any]:
        common = {"kind": "gradients", "step": step, "task": "A", "other": other, "module": module}
        return {**common, "cosine": cosine, "norm": norm, "other_norm": 2.0}

    records = [line(step, "good", "B", 0.5) for step in (1, 2)]
    records += [line(step, "bad", "B", cosine) for step, cosine in enumerate((-0.5, 0.1, None, -0.2))]
    records += [line(step, "bad", "C", 0.9, norm=6.0) for step in (1, 2)]
    records.append(line(1, "nothing", "B", None))
    panels = gradient_panels(files(records), Plots())
    assert [panel.module for panel in panels] == ["bad", "good"]
    worst, other = panels[0].pairs
    assert (worst.task, worst.other, other.other) == ("A", "B", "C")
    assert worst.cosine == pytest.approx(-0.2) and worst.conflicts == pytest.approx(2 / 3)
    assert (worst.ratio, other.ratio) == (0.5, 3.0)


def test_more_pairs_than_colours_are_in_the_table_only() -> None:
    records = [
        {"kind": "gradients", "step": 1, "task": "A", "other": f"T{n:02}", "module": "m", "cosine": n / 20}
        for n in range(12)
    ]
    [panel] = gradient_panels(files(records), Plots())
    assert [pair.style for pair in panel.pairs] == [*range(8), *[None] * 4]


# --- a comparison ----------------------------------------------------------------------------------


def test_verdicts_in_words(made_comparison: MadeComparison, found: dict[str, Any]) -> None:
    page = report(made_comparison(found))
    head = text(page[page.index("<header>") : page.index("</header>")])
    assert "+ Training together helps SST2 +0.0500, p 0.010 over seeds" in head
    assert "\N{MINUS SIGN} Training together hurts LM" in head
    assert "? Whether training together helps Tags cannot be told with 4 seeds; about 30 would tell" in head
    assert "+ Training with LM helps SST2" in head
    assert "Δm, mean relative gain +1.20\xa0%".replace("\xa0", " ") in head
    tasks = section(page, "tasks")
    assert "alone 0.7650 ± 0.0116 +0.0500 0.010 -" in tasks and "test data, 872 rows" in tasks
    assert page.count("<svg") == 3 * 4
    assert "together 2:00 160,000" in section(page, "cost")
    assert "together 0 completed 2:00 runs/together-0" in section(page, "runs")
    assert "the same rows selected the model" in section(page, "runs")


def test_the_transfer_matrix_is_by_task_measured_and_task_present(
    made_comparison: MadeComparison, found: dict[str, Any]
) -> None:
    transfer = section(report(made_comparison(found)), "transfer").replace("\xa0", " ")
    minus = "\N{MINUS SIGN}"
    assert "all others SST2 LM Tags" in transfer
    assert "SST2 +6.54 % helps · +2.09 % helps +1.56 % helps" in transfer
    assert f"LM {minus}4.68 % hurts {minus}2.40 % hurts · {minus}1.21 % hurts" in transfer
    for task in found["tasks"].values():
        task["without"] = {}
    assert 'id="transfer"' not in report(made_comparison(found))


def test_lower_may_be_better() -> None:
    together = {"values": [90.0, 92.0], "seeds": [0, 1], "mean": 91.0}
    alone = {
        "values": [100.0, 101.0],
        "seeds": [0, 1],
        "mean": 100.5,
        "difference": {"mean": -9.5, "interval": [-12.0, -7.0], "verdict": "helps"},
    }
    found = _difference("LM", None, alone, together, False)
    assert (found.mean, found.gain, found.interval) == (-9.5, 9.5, (7.0, 12.0))
    assert found.gains == [10.0, 9.0] and found.relative == pytest.approx(9.5 / 100.5)
    assert found.sentence == "Training together helps LM"
    assert _transfer([]) is None


def test_an_incomplete_comparison(made_comparison: MadeComparison, found: dict[str, Any]) -> None:
    empty = {"values": [], "seeds": [], "mean": None, "deviation": None}
    unknown = dict.fromkeys(("mean", "interval", "p_seeds", "p_rows", "seeds_needed"))
    unknown |= {"verdict": "cannot be told", "text": "cannot be told with 0 seeds"}
    for task in found["tasks"].values():
        task |= {"together": empty, "alone": empty, "difference": unknown, "without": {}}
    failed = {"name": "together", "seed": 0, "folder": "r", "status": "failed", "message": "out of memory"}
    found |= {"delta_m": None, "cost": {}, "status": "incomplete", "runs": [failed]}
    page = report(made_comparison(found))
    assert "Whether training together helps SST2 cannot be told with 0 seeds" in text(page)
    assert "failed: out of memory" in section(page, "runs") and "<svg" not in page
    page = report(made_comparison({"format": 1}))
    assert "No run is complete yet." in page
