"""What only the run's model can tell: its modules, and the rows that it knows least."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from attrs import frozen
from torch import nn

from mtl import BuiltModule, LoadedRun, UsageError
from mtl.runs import Rows, judge, parse_path, predict_rows, read_split, render_path, row_texts, score_rows
from mtl_report.records import LARGEST_NUMBER

MOST_ROWS = 1000
"""Rows of a task's evaluation data that are scored, evenly spread where it has more."""
ROWS_SHOWN = 12
"""Rows of the highest loss that a report shows."""
LONGEST_TEXT = 500
"""Characters of a row's text."""


@frozen
class Module:
    """A module of the sharing tree.

    `depth` counts the modules around it within the task. `others` are the other tasks that use it, and
    `first` says whether this task is the one that built it.
    """

    label: str
    component: str
    depth: int
    key: str | None
    parameters: int
    trainable: int
    others: Sequence[str]
    first: bool


@frozen
class SharedModule:
    """A module that several tasks use."""

    key: str
    component: str
    parameters: int
    tasks: Sequence[str]


@frozen
class Sharing:
    """Who shares what. `own` and `used` are each task's parameters: those that no other task uses, and
    all."""

    total: int
    trainable: int
    shared: Sequence[SharedModule]
    trees: Mapping[str, Sequence[Module]]
    own: Mapping[str, int]
    used: Mapping[str, int]


def sharing(run: LoadedRun) -> Sharing:
    """Return the modules of a run's model, by task."""
    models = run.model.tasks
    users: dict[int, list[str]] = {}
    for name, model in models.items():
        for parameter in model.parameters():
            users.setdefault(id(parameter), []).append(name)
    parameters = list(run.model.parameters())
    shared = [
        SharedModule(
            built.config.shared_module_key or "", type(built.module).__name__, _size(built.module), tasks
        )
        for built in run.model.built
        if len(tasks := _tasks(built)) > 1
    ]
    return Sharing(
        total=sum(p.numel() for p in parameters),
        trainable=sum(p.numel() for p in parameters if p.requires_grad),
        shared=sorted(shared, key=lambda module: -module.parameters),
        trees={name: list(_tree(name, run.model.built)) for name in models},
        own={
            name: sum(p.numel() for p in model.parameters() if len(users[id(p)]) == 1)
            for name, model in models.items()
        },
        used={name: _size(model) for name, model in models.items()},
    )


def _size(module: nn.Module, *, trainable: bool = False) -> int:
    return sum(p.numel() for p in module.parameters() if p.requires_grad or not trainable)


def _tasks(built: BuiltModule) -> list[str]:
    return list(dict.fromkeys(str(parse_path(user)[1]) for user in built.users))


def _tree(task: str, modules: Sequence[BuiltModule]) -> Iterator[Module]:
    """Yield a task's modules, each after the one around it, otherwise in the order in which they are
    built."""
    places: dict[tuple[str | int, ...], BuiltModule] = {
        path: built for built in modules for user in built.users if (path := parse_path(user))[1] == task
    }
    order = {path: place for place, path in enumerate(places)}

    def place(path: tuple[str | int, ...]) -> list[int]:
        return [order[path[:end]] for end in range(1, len(path) + 1) if path[:end] in order]

    depths: dict[tuple[str | int, ...], int] = {}
    for path in sorted(places, key=place):
        built, kind = places[path], type(places[path].module).__name__
        around = next((path[:end] for end in range(len(path) - 1, 0, -1) if path[:end] in depths), None)
        depths[path] = depths[around] + 1 if around else 0
        inner = path[len(around) if around else 3 :]
        yield Module(
            label=render_path(tuple(part for part in inner if part != kind) or inner),
            component=kind,
            depth=depths[path],
            key=built.config.shared_module_key,
            parameters=_size(built.module),
            trainable=_size(built.module, trainable=True),
            others=[name for name in _tasks(built) if name != task],
            first=parse_path(built.users[0]) == path,
        )


# --- rows ----------------------------------------------------------------------------------------


@frozen
class ScoredRow:
    """A row of the evaluation data: its loss, its texts by column, and what the model says of it.

    `label` and `probability` are what it predicts where the task predicts labels, `gold_probability`
    is that of the row's own label, `other` is whatever else it predicts.
    """

    line: int
    loss: float
    columns: Mapping[str, str]
    label: str | None
    probability: float | None
    gold: str | None
    gold_probability: float | None
    other: str


@frozen
class WorstRows:
    """The rows of the highest loss among `scored` of the `rows` rows of a file.

    `judged` says how many of the scored rows are wrong, with calibration and slices; None for a task that
    judges no rows.
    """

    path: str
    rows: int
    scored: int
    worst: Sequence[ScoredRow]
    judged: Mapping[str, Any] | None = None


def worst_rows(run: LoadedRun, name: str) -> WorstRows:
    """Return the rows of a task's evaluation data that its model knows least, by their loss.

    Raises `UsageError` where there is no evaluation data, `MtlError` where it cannot be scored.
    """
    task = run.task(name)
    config = task.config.data.config
    if not config.has("eval"):
        raise UsageError(f"{name} has no evaluation data")
    paths = config.paths("eval") or config.paths("train")
    missing = next((path for path in paths if not path.is_file()), None)
    if missing is not None:
        raise UsageError(f"{missing} does not exist")
    rows = read_split(run, name, "eval")
    chosen = np.unique(np.linspace(0, len(rows) - 1, min(MOST_ROWS, len(rows)), dtype=np.int64))
    scores = score_rows(run, name, rows, ([row] for row in chosen))
    losses = {
        int(row): score.loss for row, score in zip(chosen, scores, strict=True) if score.loss is not None
    }
    worst = sorted(losses, key=lambda row: (-losses[row], row))[:ROWS_SHOWN]
    texts = row_texts(run, name, "eval", {row: int(rows.lines[row]) for row in worst})
    scored = [_scored(run, name, rows, row, losses[row], texts[row]) for row in worst]
    judged = judge(run, name, "eval", most=MOST_ROWS)
    return WorstRows(rows.path, len(rows), len(chosen), scored, judged.to_json() if judged else None)


def _scored(
    run: LoadedRun, task: str, rows: Rows, row: int, loss: float, columns: Mapping[str, str]
) -> ScoredRow:
    [answer] = predict_rows(run, task, rows, [row])
    label, probabilities = answer.get("label"), answer.get("probabilities")
    probabilities = probabilities if isinstance(probabilities, dict) else {}
    gold = columns.get("label") if isinstance(label, str) else None
    gold = gold.strip() if gold is not None else None
    rest = {name: value for name, value in answer.items() if name not in ("label", "probabilities")}
    return ScoredRow(
        line=int(rows.lines[row]),
        loss=min(loss, LARGEST_NUMBER),
        columns={name: _cut(text) for name, text in columns.items() if gold is None or name != "label"},
        label=label if isinstance(label, str) else None,
        probability=probabilities.get(label),
        gold=gold,
        gold_probability=probabilities.get(gold),
        other=_cut(_answer(rest)) if rest else "",
    )


def _answer(rest: Mapping[str, Any]) -> str:
    """Return what a task predicts, in a line."""

    def written(value: Any) -> str:
        if isinstance(value, float):
            return f"{value:.4g}"
        if isinstance(value, dict):
            return " ".join(written(each) for each in value.values())
        if isinstance(value, list):
            return ", ".join(map(written, value))
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)

    return "; ".join(f"{name.replace('_', ' ')}: {written(value)}" for name, value in rest.items())


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}… ({len(text):,} characters)"
