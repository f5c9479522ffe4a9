"""Tables: columns and their types in polars. Free of torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import polars as pl

from mtl.components import ColumnSpec, ColumnType

DTYPES: Mapping[ColumnType, pl.DataType] = {
    ColumnType.TEXT: pl.String(),
    ColumnType.INTEGER: pl.Int64(),
    ColumnType.FLOAT: pl.Float64(),
    ColumnType.TEXTS: pl.List(pl.String()),
    ColumnType.INTEGERS: pl.List(pl.Int64()),
}


def table_schema(columns: Iterable[ColumnSpec]) -> dict[str, pl.DataType]:
    """Return the schema of a table with these columns: `line`, then each of them."""
    return {"line": pl.Int64(), **{column.name: DTYPES[column.type] for column in columns}}
