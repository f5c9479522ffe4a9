"""Rules for tasks: their columns, and what they learn from rows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl
import torch
from attrs import evolve

from mtl.components import ColumnSpec, ColumnType
from mtl.data.load import encode_rows, make_tasks
from mtl.data.tables import DTYPES
from mtl.errors import DataError
from mtl.model import build_model
from mtl.testing.checks import Failed, equal_json, rule
from mtl.testing.tasks import TASK, TaskBench, input_names

WRONG_VALUES: Mapping[ColumnType, Sequence[Any]] = {
    ColumnType.TEXT: ("", "☃ none that a task knows"),
    ColumnType.INTEGER: (-(2**62),),
    ColumnType.FLOAT: (-1e300,),
    ColumnType.TEXTS: ([], ["☃ none that a task knows"]),
    ColumnType.INTEGERS: ([], [-(2**62)]),
}
"""Cells that a data source may return and that a task may not know."""


@rule("mtl reads these columns from files, and only the inputs for predictions")
def declares_its_columns(bench: TaskBench) -> None:
    """`columns` of its config are `ColumnSpec`s with different names, at least one of them an input."""
    columns = bench.config.columns
    if not isinstance(columns, tuple) or not all(isinstance(each, ColumnSpec) for each in columns):
        raise Failed(f"`columns` must be a tuple of ColumnSpecs, but is {columns!r}")
    names = [column.name for column in columns]
    if len(set(names)) < len(names):
        raise Failed(f"`columns` must have different names, but has {', '.join(names)}")
    if not any(column.input for column in columns):
        raise Failed("`columns` must have an input column, but has only targets")


@rule("featurizers read `texts`, and messages about a row give its `line`")
def prepares_rows(bench: TaskBench) -> None:
    """`prepare` returns each of the config's `texts` as lists of strings, and `line`, a line of the file."""
    table = bench.table()
    frame = bench.unfitted().prepare(table)
    for name, wanted in {**dict.fromkeys(bench.config.texts, pl.List(pl.String)), "line": None}.items():
        if name not in frame.columns:
            raise Failed(f"the prepared rows have no column `{name}`")
        if wanted is not None and frame[name].dtype != wanted:
            raise Failed(f"the prepared rows' `{name}` must be {wanted}, but is {frame[name].dtype}")
    if not set(frame["line"]) <= set(table.frame["line"]):
        raise Failed("`line` names lines that the table does not have")


@rule("batches are indexed by row")
def encodes_each_row(bench: TaskBench) -> None:
    """`encode` returns columns with one row per prepared row, and works without the targets."""
    task, table = bench.task, bench.table()
    inputs = evolve(table, frame=table.frame.select(*input_names(task), "line"))
    for frame in (task.prepare(table), task.prepare_input(inputs)):
        for name, column in task.encode(frame).items():
            if len(column) != len(frame):
                raise Failed(f"the column `{name}` has {len(column)} rows, but {len(frame)} were prepared")
    answered = task.prepare_input(inputs)
    if len(answered) != len(inputs.frame):
        raise Failed(f"`prepare_input` makes {len(answered)} rows of {len(inputs.frame)}")


@rule("a user finds a wrong row by its line, not by a traceback")
def names_wrong_rows(bench: TaskBench) -> None:
    """A value that it cannot use is a `DataError` with file and line."""
    table = bench.table()
    row = len(table.frame) // 2
    for column in bench.task.config.columns:
        for wrong in WRONG_VALUES[column.type] if not column.may_be_empty else (None,):
            cells = table.frame[column.name].to_list()
            cells[row] = wrong
            values = pl.Series(column.name, cells, dtype=DTYPES[column.type])
            changed = evolve(table, frame=table.frame.with_columns(values))
            place = f"{table.path}:{table.frame['line'][row]}"
            try:
                encode_rows(bench.task, changed, bench.task.prepare(changed))
            except DataError as error:
                if place not in str(error):
                    raise Failed(
                        f"the error of `{column.name}` {wrong!r} does not name {place}: {error}"
                    ) from None
            except Exception as error:
                raise Failed(
                    f"`{column.name}` {wrong!r} in line {table.frame['line'][row]} raises"
                    f" {type(error).__name__}: {error}"
                ) from error


@rule("large files are read in chunks")
def fits_pieces_alike(bench: TaskBench) -> None:
    """Fitted to the training rows in chunks, it learns the same as from all rows at once."""
    frame = bench.task.prepare(bench.table())
    size = max(len(frame) // 3, 1)
    states = []
    for frames in ([frame], list(frame.iter_slices(size))):
        loaded = make_tasks(bench.prepared.config)
        loaded.load_state(json.loads(json.dumps(bench.prepared.tasks.state())))
        loaded.tasks[TASK].fit(frames)
        states.append(json.loads(json.dumps(loaded.tasks[TASK].state())))
    if not equal_json(*states):
        raise Failed("fitted to chunks, its state differs from that of all rows")


@rule("a loaded model has nothing but the JSON of `state()`")
def state_survives(bench: TaskBench) -> None:
    """Restored by `load_state`, it encodes the same columns and builds a model of the same shapes."""
    state = json.loads(json.dumps(bench.prepared.tasks.state()))
    loaded = make_tasks(bench.prepared.config)
    loaded.load_state(state)
    task, table = loaded.tasks[TASK], bench.table()
    again = encode_rows(task, table, task.prepare(table)).columns
    for name, column in bench.rows.columns.items():
        if name not in again or not torch.equal(column.values, again[name].values):
            raise Failed(f"after `load_state`, the column `{name}` is another")
    shapes = [
        {name: tensor.shape for name, tensor in build_model(tasks, 0).state_dict().items()}
        for tasks in (bench.prepared.tasks, loaded)
    ]
    if shapes[0] != shapes[1]:
        raise Failed("after `load_state`, the model has other shapes")


RULES = (
    declares_its_columns,
    prepares_rows,
    encodes_each_row,
    names_wrong_rows,
    fits_pieces_alike,
    state_survives,
)
