"""Rows given in Python in place of files: polars, pandas and Arrow tables, and lists of mappings."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from mtl.components import ColumnSpec, ColumnType, DataSourceConfig, Table
from mtl.data.tables import DTYPES
from mtl.errors import DataError, UsageError
from mtl.fields import TablePath
from mtl.suggest import listed

SHOWN = 5
ACCEPTED = "a polars, pandas or Arrow table or a list of mappings"


def as_frame(value: Any, name: str) -> pl.DataFrame:
    """Return rows as a polars table. Raises `UsageError`, naming `name`, for other values."""
    try:
        if isinstance(value, pl.DataFrame):
            return value
        if isinstance(value, pl.LazyFrame):
            return value.collect()
        if type(value).__module__.partition(".")[0] == "pandas" and hasattr(value, "columns"):
            return _of_pandas(value)
        if hasattr(value, "__arrow_c_stream__"):
            return pl.DataFrame(value)
        if isinstance(value, Sequence) and all(isinstance(row, Mapping) for row in value):
            return (
                pl.from_dicts([dict(row) for row in value], infer_schema_length=None) if value else _NOTHING
            )
    except (pl.exceptions.PolarsError, TypeError, ValueError, OverflowError) as error:
        raise UsageError(f"{name} must be {ACCEPTED}, but: {' '.join(str(error).split())}") from error
    raise UsageError(f"{name} must be {ACCEPTED}, but is a {type(value).__name__}")


_NOTHING = pl.DataFrame()


def _of_pandas(value: Any) -> pl.DataFrame:
    """Return a pandas table; a missing value is null."""
    columns = {}
    for name in value.columns:
        series = value[name]
        missing = series.isna().tolist()
        cells = [None if gone else cell for cell, gone in zip(series.tolist(), missing, strict=True)]
        columns[str(name)] = pl.Series(cells, strict=False)
    return pl.DataFrame(columns)


def table_path(frame: pl.DataFrame, name: str) -> TablePath:
    """Return what stands for a table where a path is wanted: it is named by the content.

    Raises `UsageError` for cells that are not JSON.
    """
    digest = hashlib.sha256(json.dumps(frame.columns).encode())
    try:
        for piece in frame.iter_slices(100_000):
            digest.update(piece.write_ndjson().encode())
    except (pl.exceptions.PolarsError, UnicodeError) as error:
        raise UsageError(f"{name} must have cells of text, numbers or lists, but: {error}") from error
    path = TablePath(f"{TablePath.PREFIX}{digest.hexdigest()[:32]}")
    path.frame = frame
    return path


def given_table(path: TablePath, columns: Sequence[ColumnSpec], config: DataSourceConfig) -> Table:
    """Return the rows of a table with these columns, found by their names or by the config's `columns`.

    Raises `DataError` for a column that is missing or of another type, and for rows without a value
    unless the config says to skip them.
    """
    frame = path.frame
    if frame is None:
        raise DataError(
            f"{path}: these rows were given in Python; give them again with `data`, or name a file"
        )
    places = getattr(config, "columns", {})
    places = places if isinstance(places, Mapping) else {}
    names = {column.name: _name(frame, places.get(column.name, column.name)) for column in columns}
    for column in columns:
        if names[column.name] is None:
            has = listed((f"`{each}`" for each in frame.columns), last="and") if frame.columns else "none"
            raise DataError(
                f"{path}: `{column.name}` must be there, as `{places.get(column.name, column.name)}`, but the"
                f" columns are {has}"
            )
    typed = frame.select(
        pl.int_range(1, len(frame) + 1, dtype=pl.Int64, eager=True).alias("line"),
        *(_typed(frame, str(names[column.name]), column, path) for column in columns),
    )
    bad: dict[int, str] = {}
    for column in columns:
        if not column.may_be_empty:
            wrong = typed.filter(typed[column.name].is_null())["line"]
            bad |= dict.fromkeys(wrong.to_list(), f"`{column.name}` must not be empty")
    first = [f"row {number}: {bad[number]}" for number in sorted(bad)[:SHOWN]]
    if bad and (config.on_bad_row == "error" or len(bad) > config.max_skipped_share * len(frame)):
        rows = "1 row is" if len(bad) == 1 else f"{len(bad):,} rows are"
        raise DataError("\n".join([f"{path}: {rows} bad", *first]))
    return Table(typed.filter(~typed["line"].is_in(list(bad))), str(path), len(bad), first)


def _name(frame: pl.DataFrame, place: str | int) -> str | None:
    if isinstance(place, int):
        return frame.columns[place] if -len(frame.columns) <= place < len(frame.columns) else None
    return place if place in frame.columns else None


def _typed(frame: pl.DataFrame, name: str, column: ColumnSpec, path: TablePath) -> pl.Series:
    """Return a column of its type; targets that are text may also be integers or booleans."""
    cells, wanted = frame[name], column.type
    dtype = cells.dtype
    inner = dtype.inner if isinstance(dtype, pl.List | pl.Array) else pl.Null()
    is_text = dtype in (pl.String, pl.Categorical, pl.Enum) or (
        not column.input and (dtype.is_integer() or dtype == pl.Boolean)
    )
    fits = {
        ColumnType.TEXT: is_text,
        ColumnType.INTEGER: dtype.is_integer(),
        ColumnType.FLOAT: dtype.is_numeric(),
        ColumnType.TEXTS: isinstance(dtype, pl.List | pl.Array) and inner in (pl.Null(), pl.String()),
        ColumnType.INTEGERS: isinstance(dtype, pl.List | pl.Array)
        and (inner == pl.Null or inner.is_integer()),
    }
    if dtype != pl.Null and not fits[wanted]:
        raise DataError(f"{path}: `{name}` must be a column of {wanted.value}, but is {dtype}")
    typed = cells.cast(DTYPES[wanted])
    if wanted is ColumnType.TEXT:
        typed = typed.str.strip_chars()
        typed = typed.set(typed == "", None) if len(typed) else typed
    elif wanted is ColumnType.FLOAT:
        typed = typed.set(~typed.is_finite(), None) if len(typed) else typed
    return typed.alias(column.name)
