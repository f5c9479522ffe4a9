"""What a run shows: plain lines without a terminal, a live display on one, results on standard output."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console as Terminal

from mtl import console
from mtl.console import Console
from mtl.render.cells import duration, number, size
from mtl.render.plan import plan_summary, plan_view
from mtl.render.results import metrics_view, plain_metrics, result_table


def split(rows: int) -> dict[str, Any]:
    return {
        "path": "/data/[bold]/rows.tsv", "rows": rows, "skipped": 0, "batches": 3, "words": 10 * rows,
        "pieces": 0, "longest": 12, "statistics": {"word_feat.unknown": 0.0512},
    }  # fmt: skip


SST, LM = "tasks.SST2.DocClassificationTask", "tasks.LM.LMTask"


def module(component: str, *users: str, key: str | None = None, **values: Any) -> dict[str, Any]:
    return {
        "path": users[0], "component": component, "parameters": 1200, "trainable": 1200, "key": key,
        "users": list(users), "owners": dict.fromkeys(values, users[0]), "values": values,
    }  # fmt: skip


PLAN: dict[str, Any] = {
    "tasks": {
        "SST2": {
            "component": "DocClassificationTask", "distribution": "pytext-plugins-sst", "weight": 1.0,
            "metric": "accuracy", "higher_is_better": True,
            "train": split(67349), "eval": split(872), "test": split(872),
        },
        "LM": {
            "component": "LMTask", "distribution": "pytext-plugins-lm", "weight": 0.5, "metric": "perplexity",
            "higher_is_better": False, "train": split(23767), "eval": split(2461), "test": None,
        },
    },
    "schedule": {
        "component": "RoundRobin", "epoch": "the length of SST2", "epochs": 2,
        "steps": 8, "steps_per_epoch": 4,
        "tasks": {"SST2": {"steps": 2, "batches": 2, "rows": 256},
                  "LM": {"steps": 2, "batches": 2, "rows": 250}},
        "phases": [{
            "name": None, "component": "RoundRobin", "epoch": "the length of SST2", "epochs": 2,
            "steps": 8, "steps_per_epoch": 4, "optimizer": "Adam", "lr_scheduler": "Constant", "frozen": [],
            "tasks": {"SST2": {"steps": 2, "batches": 2, "rows": 256},
                      "LM": {"steps": 2, "batches": 2, "rows": 250}},
        }],
    },
    "modules": [
        module("word_feat", f"{SST}.features.word_feat"),
        module("Embedding", f"{SST}.features", f"{LM}.features", key="EMBEDDING", embed_dim=100),
        module("BiLSTM", f"{SST}.representation.BiLSTMDocAttention.lstm", f"{LM}.representation", key="LSTM"),
        module("BiLSTMDocAttention", f"{SST}.representation.BiLSTMDocAttention"),
    ],
    "parameters": {"total": 4800, "trainable": 3600},
    "memory": {"parameters_bytes": 19200, "gradients_bytes": 14400, "optimizer_bytes": 28800,
               "data_bytes": 999},
    "selection": "SST2.accuracy, higher is better",
    "warnings": ["key `ALONE` is used by one module only"],
    "notices": ["LM: this objective leaks"],
    "device": "cpu",
}  # fmt: skip

METRICS: dict[str, dict[str, Any]] = {
    "SST2": {
        "accuracy": 0.8314,
        "loss": 0.4,
        "confusion_matrix": [[1, 2], [3, 4]],
        "per_class": {"a": {"f1": 1}},
    },
    "LM": {"loss": 5.1, "perplexity": 164.02},
}

RESULT: dict[str, Any] = {
    "status": "completed", "stopped_early": False, "steps": 8,
    "best": {"step": 4, "epoch": 1, "metric": "SST2.accuracy", "value": 0.8314},
    "tasks": {
        name: {
            "eval": metrics, "test": metrics if name == "SST2" else None, "rows_seen": 500,
            "rows_total": 1000, "examples_per_second": 2345.6, "words_per_second": None,
        }
        for name, metrics in METRICS.items()
    },
    "seconds": {"total": 65.4, "train": 50.0, "data": 5.0, "eval": 10.0}, "peak_rss_bytes": 123_456_789,
}  # fmt: skip


def run(callback: Console, *, end: bool = True, config: dict[str, Any] | None = None) -> None:
    """The hooks of a short run, in the engine's order."""
    with callback:
        callback.mtl_run_started(str(Path.cwd() / "runs/one"), config or {}, PLAN)
        for step in range(1, 9):
            task = ("SST2", "LM")[step % 2]
            callback.mtl_step_ended(step, (step - 1) // 4 + 1, task)
            callback.mtl_recorded(
                {"kind": "train", "step": step, "task": task, "loss": 1.5, "examples_per_second": 99.0}
            )
            if step % 4 == 0:
                callback.mtl_evaluated(
                    step, step // 4, METRICS, step == 4, {"metric": "SST2.accuracy", "value": 0.8}
                )
        if end:
            callback.mtl_run_ended(RESULT)


def text(renderable: Any, width: int = 120) -> str:
    file = io.StringIO()
    Terminal(file=file, width=width, markup=False, highlight=False).print(renderable)
    return file.getvalue()


def test_plain_lines_without_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console, "SECONDS_BETWEEN_LINES", 0.0)
    run(Console())
    out, err = capsys.readouterr()
    assert "\x1b" not in out + err
    assert "step 3 of 8, epoch 1 of 2" in err
    assert "LM loss 1.5000, 99 examples/s" in err
    evaluations = [line for line in err.splitlines() if ", step " in line and line.startswith("epoch")]
    assert [line.split("   ")[0].strip() for line in evaluations] == ["epoch 1, step 4", "epoch 2, step 8"]
    assert ["best so far" in line for line in evaluations] == [True, False]
    assert "mtl predict runs/one --task SST2" in err
    assert "500 of 1,000" in out
    assert "run folder: runs/one" in out


def test_a_model_that_nothing_selects_is_not_called_the_best(capsys: pytest.CaptureFixture[str]) -> None:
    run(Console(), config={"trainer": {"keep_model": "last"}})
    out, err = capsys.readouterr()
    assert "best" not in out + err
    assert "   kept\n" in err and "kept at step 4, epoch 1: SST2.accuracy 0.8314" in out


def test_a_task_that_leaves_the_schedule_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    for quiet in (True, False):
        with Console(quiet=quiet) as callback:
            callback.mtl_run_started("runs/one", {}, PLAN)
            stale = {"evaluations_without_improvement": 5}
            callback.mtl_recorded({"kind": "stopped", "step": 1200, "epoch": 3, "task": "LM", **stale})
        text = "LM: early stopping at step 1,200 (no improvement in 5 evaluations)"
        assert (text in capsys.readouterr().err) == (not quiet)


def test_an_evaluation_without_metrics_leaves_no_empty_line(capsys: pytest.CaptureFixture[str]) -> None:
    with Console() as callback:
        callback.mtl_run_started("runs/one", {}, PLAN)
        capsys.readouterr()
        callback.mtl_evaluated(4, 1, {}, True, {"metric": "last", "value": None})
    assert capsys.readouterr().err == ""


def test_progress_lines_are_few(capsys: pytest.CaptureFixture[str]) -> None:
    run(Console())
    assert "step 3 of 8" not in capsys.readouterr().err


def test_quiet_shows_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    run(Console(quiet=True))
    assert capsys.readouterr() == ("", "")


def test_a_live_display_on_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    callback = Console()
    assert callback.animated
    run(callback, end=False)
    err = capsys.readouterr().err
    assert "8 of 8 steps" in err
    assert "\x1b[?25h" in err, "the cursor is shown again"


def test_the_live_display_shows_gradient_cosines_of_shared_modules() -> None:
    callback = Console()
    callback.plan = PLAN
    for cosine in (None, 0.5, -0.1, 0.2):
        record = {"kind": "gradients", "task": "SST2", "other": "LM", "module": "LSTM", "cosine": cosine}
        callback.mtl_recorded(record)
    assert "LSTM: cosine of the tasks' gradients +0.20" in text(callback._display())


def test_the_live_display_says_whose_steps_they_are_and_what_waits_for_data() -> None:
    callback = Console()
    callback.plan = PLAN
    record = {"kind": "train", "task": "LM", "loss": 1.0, "share": 0.25, "time": {"data": 0.031}}
    callback.quiet = True
    callback.mtl_recorded(record)
    assert "25.0 % of the steps, 3.1 % of their time for data" in text(callback._display(), width=140)


def test_colour_without_a_terminal_makes_no_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert not Console().animated


def test_the_summary_names_shared_modules_and_unknown_words() -> None:
    shown = text(plan_summary(PLAN, "runs/one"))
    for part in (
        "67,349",
        "5.1 %",
        "EMBEDDING by SST2, LM",
        "LSTM by SST2, LM",
        "4,800 parameters, 1,200 frozen",
        "runs/one",
    ):
        assert part in shown
    assert "warning: key `ALONE` is used by one module only\nnotice: LM: this objective leaks" in shown
    assert PLAN["selection"] in shown


def test_the_plan_shows_a_shared_module_once() -> None:
    shown = text(plan_view(PLAN))
    assert "/data/[bold]/rows.tsv" in shown
    tree = shown[shown.index("Modules") : shown.index("Memory")].splitlines()
    assert [line.rstrip() for line in tree[1:10]] == [
        "SST2 DocClassificationTask",
        "├── features Embedding  EMBEDDING  1,200",
        "│   └── word_feat  1,200",
        "└── representation BiLSTMDocAttention  1,200",
        "    └── lstm BiLSTM  LSTM  1,200",
        "LM LMTask",
        "├── features Embedding  EMBEDDING  shared with SST2",
        "└── representation BiLSTM  LSTM  shared with SST2",
        "4,800 parameters, 3,600 of them trained",
    ]
    assert f"embed_dim 100  set at {SST}.features" in shown


@pytest.mark.parametrize("width", [40, 80, 200])
def test_large_metrics_stay_out_of_tables(width: int) -> None:
    for shown in (
        metrics_view(METRICS),
        result_table(RESULT, {"SST2": "accuracy", "LM": "perplexity"}),
    ):
        rendered = text(shown, width)
        assert "[[" not in rendered and "f1" not in rendered
        assert max(map(len, rendered.splitlines())) <= width


def test_the_selecting_metric_comes_after_the_loss() -> None:
    many = {"loss": 1.0, **{f"f{index}": 0.5 for index in range(20)}, "accuracy": 0.9}
    assert list(plain_metrics(many, "accuracy"))[:3] == ["loss", "accuracy", "f0"]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "-"), (0.83141, "0.8314"), (164.019, "164.02"), (12.3456, "12.346"), (2345.67, "2,345.7"),
        (67349, "67,349"), (0.00001, "1.00e-05"), (0.0, "0.0000"), (float("inf"), "inf"), (-0.5, "-0.5000"),
        (1e20, "1.000e+20"), (True, "True"), ("text", "text"),
    ],
)  # fmt: skip
def test_numbers(value: Any, shown: str) -> None:
    assert number(value) == shown


def test_durations_and_sizes() -> None:
    assert [duration(seconds) for seconds in (0.4, 59.6, 725, 3725)] == [
        "0:00",
        "1:00",
        "12:05",
        "1:02:05",
    ]
    assert [size(amount) for amount in (999, 19200, 123_456_789, 10**13)] == [
        "999 B",
        "19.2 kB",
        "123 MB",
        "10.0 TB",
    ]
