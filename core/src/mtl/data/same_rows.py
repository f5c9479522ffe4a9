"""Training rows that several tasks read from the same file."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from attrs import evolve

from mtl.data.columns import Column, Dense, Rows
from mtl.data.load import TaskData


def unify(data: Mapping[str, TaskData]) -> dict[str, TaskData]:
    """Return the data with a single object for what the training rows of several tasks have in common.

    Rows whose file, lines and lengths are equal hold one array of lines, and one object for each column that
    is equal.
    """
    unified: dict[str, TaskData] = {}
    for task, each in data.items():
        found = next((known.train for known in unified.values() if _are_same(each.train, known.train)), None)
        if found is not None:
            rows = _with_objects_of(found, each.train)
            each = evolve(
                each, splits={split: rows if own is each.train else own for split, own in each.splits.items()}
            )
        unified[task] = each
    return unified


def _are_same(rows: Rows, other: Rows) -> bool:
    return (
        rows.path == other.path
        and np.array_equal(rows.lines, other.lines)
        and np.array_equal(rows.lengths, other.lengths)
    )


def _with_objects_of(other: Rows, rows: Rows) -> Rows:
    columns = {
        name: known
        if (known := other.columns.get(name)) is not None and _are_equal(column, known)
        else column
        for name, column in rows.columns.items()
    }
    return evolve(rows, columns=columns, lines=other.lines)


def _are_equal(column: Column, other: Column) -> bool:
    if column.values.dtype != other.values.dtype or not torch.equal(column.values, other.values):
        return False
    if isinstance(column, Dense) or isinstance(other, Dense):
        return isinstance(column, Dense) and isinstance(other, Dense)
    same_padding = (column.padding, column.unit) == (other.padding, other.unit)
    return same_padding and torch.equal(column.offsets, other.offsets)
