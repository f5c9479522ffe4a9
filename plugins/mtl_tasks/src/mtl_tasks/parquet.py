"""Parquet and Arrow files, read lazily."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from mtl import ColumnSpec, DataError
from mtl_tasks.data_config import ParquetConfig
from mtl_tasks.frames import FrameSource, Piece, typed
from mtl_text.sources import (
    Wanted,
    as_names,
    check_columns,
    columns_notice,
    listed_names,
    names_in_file,
)

ROWS = 50_000
"""Rows of a piece."""
PARQUET, ARROW, STREAM = b"PAR1", b"ARROW1", b"\xff\xff\xff\xff"


class Parquet(FrameSource[ParquetConfig]):
    """A row per row of a Parquet or Arrow file."""

    def _pieces(self, path: Path, wanted: Wanted) -> Iterator[Piece]:
        check_columns(self.config.columns, wanted.columns, str(path))
        try:
            rows = _scan(path)
            schema = rows.collect_schema()
            names = {column.name: self._name(column, schema, path) for column in wanted.read}
            exprs = [typed(*_field(schema, names[column.name]), column, str(path)) for column in wanted.read]
            used = {name.partition(".")[0] if name not in schema else name for name in names.values()}
            unread = [name for name in schema if name not in used]
            read = {name: column for column, name in names.items()}
            notices = [] if wanted.for_inputs else columns_notice(str(path), read, unread)
            numbered = rows.with_row_index("", offset=1)
            for place in itertools.count(0, ROWS):
                piece = numbered.slice(place, ROWS).collect()
                if place and piece.is_empty():
                    return
                frame = piece.select(pl.col("").cast(pl.Int64).alias("line"), *exprs)
                others = _as_text(piece.select(unread)) if wanted.for_inputs else None
                yield Piece(frame, others, [] if place else notices)
                if len(piece) < ROWS:
                    return
        except pl.exceptions.PolarsError as error:
            raise DataError(f"{path}: must be a whole Parquet or Arrow file, but: {error}") from None
        except OSError as error:
            raise DataError(f"{path}: must be a readable file, but: {error.strerror or error}") from error

    def _name(self, column: ColumnSpec, schema: pl.Schema, path: Path) -> str:
        """Return the name of a column in the file."""
        names = names_in_file(column.name, self.config.columns.get(column.name))
        found = next((name for name in names if _has(schema, name)), None)
        if found is None:
            raise DataError(
                f"{path}: `{column.name}` must be there, {as_names(names)}, but the columns are"
                f" {listed_names(schema)}; say with `columns` which it is"
            )
        return found


def _scan(path: Path) -> pl.LazyFrame:
    with path.open("rb") as file:
        head = file.read(8)
    if head.startswith(PARQUET):
        return pl.scan_parquet(path, glob=False)
    if head.startswith(ARROW):
        return pl.scan_ipc(path, glob=False)
    if head.startswith(STREAM):
        return pl.read_ipc_stream(path).lazy()
    raise DataError(f"{path}: must be a Parquet or Arrow file, but begins with neither's mark")


def _has(schema: Mapping[str, pl.DataType], name: str) -> bool:
    try:
        _field(schema, name)
    except KeyError:
        return False
    return True


def _field(schema: Mapping[str, pl.DataType], name: str) -> tuple[pl.Expr, pl.DataType]:
    """Return a column, or by a dotted name a field in a column of structs, and its type.

    Raises `KeyError` if there is none.
    """
    if name in schema:
        return pl.col(name), schema[name]
    first, *fields = name.split(".")
    expr = pl.col(first)
    dtype: Any = schema[first]
    for each in fields:
        inside = dict(dtype.to_schema()) if isinstance(dtype, pl.Struct) else {}
        expr, dtype = expr.struct.field(each), inside[each]
    return expr, dtype


def _as_text(frame: pl.DataFrame) -> pl.DataFrame:
    """Return columns as text: values that are not text as JSON."""

    def cell(value: Any) -> str | None:
        if value is None or isinstance(value, str):
            return value
        return json.dumps(value, ensure_ascii=False, default=str)

    cells = {name: [cell(value) for value in frame[name].to_list()] for name in frame.columns}
    return pl.DataFrame(cells, schema=dict.fromkeys(frame.columns, pl.String))
