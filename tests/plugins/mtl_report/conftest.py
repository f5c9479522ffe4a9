"""Run folders and comparisons made by hand: what a report is made of needs no training."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

MadeRun = Callable[..., Path]
STEPS = 400


def run_records(tasks: Sequence[str], labels: Sequence[str], module: str) -> list[dict[str, Any]]:
    """The metrics of a run with two phases, whose gradients were compared."""
    draw = random.Random(0)
    records: list[dict[str, Any]] = []
    for step in range(20, STEPS + 1, 20):
        common = {"step": step, "epoch": 1 + step // 200, "phase": int(step > 120)}
        for place, task in enumerate(tasks):
            loss = math.exp(-step / 200) + draw.random() / 10 + place / 4
            share = (1 + (place + step // 100) % 2) / sum(
                1 + (n + step // 100) % 2 for n in range(len(tasks))
            )
            metrics = {"loss": loss, "lr": 1 / step, "share": share}
            records.append({"kind": "train", **common, "task": task, **metrics})
            if step % 100 == 0:
                metrics = {"loss": loss + 0.05, "accuracy": 1 - loss / 4, **confusion(labels)}
                records.append({"kind": "eval", **common, "task": task, **metrics})
        for place, (task, other) in enumerate(combinations(tasks[:5], 2)):
            cosine = math.tanh(draw.gauss(0.3 - place / 8, 0.2))
            gradient = {"module": module, "cosine": cosine, "norm": 1.0 + place, "other_norm": 2.0}
            records.append({"kind": "gradients", **common, "task": task, "other": other, **gradient})
    return records


def confusion(labels: Sequence[str]) -> dict[str, Any]:
    """The metrics of a classifier that mistakes each label for the next now and then."""
    size = len(labels)
    matrix = [[40 if row == column else 7 * (column == (row + 1) % size) for column in range(size)]
              for row in range(size)]  # fmt: skip
    classes = {label: {"precision": 0.9, "recall": None, "f1": 0.85, "rows": 47} for label in labels}
    return {"confusion_matrix": {"labels": list(labels), "matrix": matrix}, "per_class": classes}


def run_result(tasks: Sequence[str], labels: Sequence[str]) -> dict[str, Any]:
    metrics = {"loss": 0.41, "accuracy": 0.875, **confusion(labels)}
    facts = {"steps": STEPS // len(tasks), "rows_seen": 990, "rows_total": 1000, "examples_per_second": 51.2}
    return {
        "status": "completed",
        "steps": STEPS,
        "best": {"step": 300, "epoch": 2, "metric": f"{tasks[0]}.accuracy", "value": 0.875},
        "tasks": {task: {"eval": metrics, "test": metrics, **facts} for task in tasks},
        "seconds": {
            "data": 1.0,
            "forward": 9.0,
            "backward": 12.5,
            "optimizer": 2.0,
            "eval": 3.0,
            "total": 31,
        },
        "peak_rss_bytes": 512_000_000,
    }


def make_run(
    folder: Path,
    tasks: Sequence[str] = ("SST2", "LM", "Tags"),
    *,
    labels: Sequence[str] = ("negative", "positive"),
    module: str = "SHARED_LSTM",
    config: Mapping[str, Any] | None = None,
    complete: bool = True,
    **changes: Any,
) -> Path:
    """A run folder without a model; `changes` are top-level keys of its result."""
    (folder / "model").mkdir(parents=True)
    written = {"tasks": {task: {"Unknown": {}} for task in tasks}, "seed": 1, **(config or {})}
    written["phases"] = [{"name": "pretrain"}, {"name": "joint"}]
    (folder / "config.json").write_text(json.dumps(written))
    records = run_records(tasks, labels, module)
    (folder / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    versions = {"pytext-mtl": {"version": "0.1.0", "components": {"optimizer": ["Adam"]}}}
    (folder / "model/versions.json").write_text(json.dumps(versions))
    if complete:
        (folder / "result.json").write_text(json.dumps({**run_result(tasks, labels), **changes}))
    return folder


@pytest.fixture(scope="session")
def make() -> MadeRun:
    """`make_run`, for a folder of the test's own."""
    return make_run


@pytest.fixture
def made_run(tmp_path: Path) -> MadeRun:
    """`make_run` in the test's folder."""
    return partial(make_run, tmp_path / "run")


def summary(values: Sequence[float]) -> dict[str, Any]:
    mean = sum(values) / len(values)
    deviation = math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))
    return {"seeds": [*range(len(values))], "values": [*values], "mean": mean, "deviation": deviation}


def comparison(tasks: Sequence[str]) -> dict[str, Any]:
    """What `mtl compare --without …` writes: the first task is helped, the second hurt, the rest open."""
    found = {}
    for place, task in enumerate(tasks):
        together = [0.8 + 0.01 * seed for seed in range(4)]
        shift, word = [(-0.05, "helps"), (0.04, "hurts"), (0.002, "cannot be told")][min(place, 2)]

        def against(shift: float, word: str, together: Sequence[float] = together) -> dict[str, Any]:
            difference = {
                "mean": -shift,
                "interval": [-shift - 0.02, -shift + 0.02],
                "p_seeds": 0.01,
                "p_rows": None,
                "verdict": word,
                "text": word if word in ("helps", "hurts") else f"{word} with 4 seeds; about 30 would tell",
                "seeds_needed": None,
            }
            values = [value + shift + 0.004 * (-1) ** seed for seed, value in enumerate(together)]
            return {**summary(values), "difference": difference}

        alone = against(shift, word)
        found[task] = {
            "metric": "accuracy",
            "higher_is_better": True,
            "split": "test",
            "rows": 872,
            "selected_on": None,
            "together": summary(together),
            "alone": alone,
            "without": {
                other: against(shift / (2 + at), word) for at, other in enumerate(tasks) if other != task
            },
            "difference": alone["difference"],
        }
    return {
        "format": 1,
        "config": "joint.json",
        "status": "completed",
        "seeds": [0, 1, 2, 3],
        "tasks": found,
        "delta_m": {"mean": 0.012, "interval": [-0.01, 0.03], "p_seeds": 0.2, "values": [0.01, 0.02]},
        "cost": {"together": {"seconds": 120.0, "parameters": 160_000, "steps": 1000}},
        "notes": ["the same rows selected the model and are reported"],
        "runs": [
            {
                "name": "together",
                "seed": 0,
                "folder": "runs/together-0",
                "status": "completed",
                "seconds": 120.0,
            }
        ],
    }


@pytest.fixture
def made_comparison(tmp_path: Path) -> Callable[[Mapping[str, Any]], Path]:
    """Makes the folder of a comparison."""

    def make(found: Mapping[str, Any]) -> Path:
        folder = tmp_path / "comparison"
        folder.mkdir(exist_ok=True)
        (folder / "compare.json").write_text(json.dumps(found))
        return folder

    return make


@pytest.fixture
def found() -> dict[str, Any]:
    """A comparison of three tasks."""
    return comparison(["SST2", "LM", "Tags"])
