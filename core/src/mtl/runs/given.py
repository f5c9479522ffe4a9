"""The argument `data` of the Python functions: rows in place of files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, cast

from mtl.components import Split
from mtl.config.given import Given
from mtl.data.given import as_frame, table_path
from mtl.fields import TablePath
from mtl.runs.arguments import SPLITS, as_path, require, require_choice

GivenData = Mapping[str, Mapping[str, Any]]
"""By task and split ("train", "eval", "test"): a polars, pandas or Arrow table, a list of mappings, or a
path."""


def given_data(data: GivenData | None) -> Given:
    """Return the argument `data` as paths and tables. Raises `UsageError` for anything else."""
    if data is None:
        return {}
    form = 'rows by task and split, as in {"SST2": {"train": table}}'
    require("data", data, Mapping, form)
    given: dict[str, dict[Split, TablePath | str]] = {}
    for name, splits in data.items():
        require("data", splits, Mapping, form)
        given[name] = {}
        for split, rows in splits.items():
            require_choice(f"data[{name!r}]", split, SPLITS)
            given[name][cast(Split, split)] = given_rows(rows, f"`data[{name!r}][{split!r}]`")
    return given


def given_rows(rows: Any, name: str) -> TablePath | str:
    """Return rows as a table, or their path as text. Raises `UsageError` for anything else, called `name`."""
    if isinstance(rows, str | os.PathLike):
        return str(as_path("data", rows))
    return table_path(as_frame(rows, name), name)
