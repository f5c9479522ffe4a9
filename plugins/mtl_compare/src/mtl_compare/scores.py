"""A run's model on the reported rows, one by one: what a comparison over examples needs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from attrs import frozen

from mtl import Split
from mtl.runs import (
    LoadedRun,
    Prepared,
    Rows,
    load,
    read_split,
    score_rows,
    tasks_in_phases,
    torch_settings,
)

GROUPS = 2_000
"""Groups of neighboring rows that are scored one by one; shorter data are scored row by row."""


@frozen
class Reported:
    """The rows of a task that are reported: `split`, and whether they select the model as well."""

    split: Split
    rows: int
    selects: bool


def reported(prepared: Prepared, task: str) -> Reported | None:
    """Test rows, unless there are none or they are the evaluation rows over again; None without either.

    Rows count as the same by what is in them, whatever file they come from.
    """
    splits = prepared.data[task].splits
    evaluated, tested = splits["eval"], splits["test"]
    selects = prepared.config.trainer.keep_model == "best"
    if tested is not None and len(tested) and (evaluated is None or _content(tested) != _content(evaluated)):
        return Reported("test", len(tested), selects=False)
    if evaluated is not None and len(evaluated):
        return Reported("eval", len(evaluated), selects)
    return None


def _content(rows: Rows) -> str:
    return attrs.evolve(rows, lines=np.zeros_like(rows.lines)).digest()


def score_run(folder: Path, splits: Mapping[str, Split], *, device: str) -> dict[str, Any]:
    """Return what the model of a run makes of the reported rows of the tasks that it trained, as JSON: for
    each the selection figure and the loss of each group of rows, and the parameters of its model."""
    run = load(folder, device=device)
    trained = tasks_in_phases(run.config)
    with torch_settings(run.config):
        tasks = {name: _score(run, name, splits[name]) for name in trained if name in splits}
    parameters = {p for name in trained for p in run.model.tasks[name].parameters()}
    return {
        "parameters": sum(parameter.numel() for parameter in parameters),
        "tasks": {
            name: {"parameters": sum(p.numel() for p in run.model.tasks[name].parameters()), **scored}
            for name, scored in tasks.items()
        },
    }


def _score(run: LoadedRun, task: str, split: Split) -> dict[str, Any]:
    config = run.task(task).config
    rows = read_split(run, task, split)
    size = -(-len(rows) // GROUPS)
    groups = np.split(np.arange(len(rows)), range(size, len(rows), size))
    scores = list(score_rows(run, task, rows, groups))
    return {
        "split": split,
        "rows": len(rows),
        "rows_per_group": size,
        "metric": [_finite(score.metrics.get(config.metric.name)) for score in scores],
        "loss_total": [score.loss_total for score in scores],
        "loss_weight": [score.loss_weight for score in scores],
    }


def _finite(value: Any) -> float | None:
    """Return a metric as JSON has it: None if it is not a finite number."""
    return float(value) if value is not None and math.isfinite(value) else None
