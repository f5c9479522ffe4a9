"""A run's model on the reported rows, one by one: what a comparison over examples needs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import torch
from attrs import frozen

from mtl.components import Split, Task
from mtl.data.columns import Rows
from mtl.data.load import load_rows
from mtl.errors import component_errors
from mtl.runs import LoadedRun, load
from mtl.runs.prepare import Prepared, torch_settings
from mtl.training.evaluation import PRECISIONS, autocast
from mtl.training.selection import tasks_in_phases

GROUPS = 2_000
"""Groups of neighbouring rows that are scored one by one; shorter data are scored row by row."""


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
    """What the model of a run makes of the reported rows of the tasks that it trained, as JSON: for each the
    selection figure and the loss of each group of rows, and the parameters of its model."""
    run = load(folder, device=device)
    trained = tasks_in_phases(run.config)
    with torch_settings(run.config):
        tasks = {name: _score(run, run.task(name), splits[name]) for name in trained if name in splits}
    parameters = {p for name in trained for p in run.model.tasks[name].parameters()}
    return {
        "parameters": sum(parameter.numel() for parameter in parameters),
        "tasks": {
            name: {"parameters": sum(p.numel() for p in run.model.tasks[name].parameters()), **scored}
            for name, scored in tasks.items()
        },
    }


def _score(run: LoadedRun, task: Task[Any], split: Split) -> dict[str, Any]:
    rows = load_rows(task, task.config.data.config.paths(split))
    size = -(-len(rows) // GROUPS)
    groups = np.split(np.arange(len(rows)), range(size, len(rows), size))
    figures, totals, weights = [], [], []
    model = run.model.tasks[task.name]
    name = task.config.metric.name
    precision = PRECISIONS[run.config.trainer.precision]
    with (
        component_errors(task, f"to score {rows.path}"),
        torch.inference_mode(),
        autocast(run.device, precision),
    ):
        for group in groups:
            batch = rows.batch(group).to(run.device)
            output, metrics = model(batch), task.metrics()
            metrics.update(output, batch)
            figures.append(_finite(metrics.compute().get(name)))
            totals.append(_finite(output.loss and output.loss.total))
            weights.append(_finite(output.loss and output.loss.weight))
    return {
        "split": split,
        "rows": len(rows),
        "rows_a_group": size,
        "metric": figures,
        "loss_total": totals,
        "loss_weight": weights,
    }


def _finite(value: Any) -> float | None:
    """A number as JSON has it."""
    if value is None:
        return None
    number = float(value)
    return number if math.isfinite(number) else None
