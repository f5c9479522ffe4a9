"""Rows that do not stand in lines: their columns, bad rows and notices."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import polars as pl
from attrs import field, frozen

from mtl import ColumnSpec, ColumnType, DataError, DataSource, DataSourceConfig, Table
from mtl_text.lines import BadLines
from mtl_text.sources import (
    Wanted,
    as_names,
    check_columns,
    columns_notice,
    listed_names,
    names_in_file,
)

SHOWN = 5
_DTYPES = {
    ColumnType.TEXT: pl.String(),
    ColumnType.INTEGER: pl.Int64(),
    ColumnType.FLOAT: pl.Float64(),
    ColumnType.TEXTS: pl.List(pl.String()),
    ColumnType.INTEGERS: pl.List(pl.Int64()),
}

ConfigT = TypeVar("ConfigT", bound=DataSourceConfig)


@frozen
class Piece:
    """Rows with the columns that are wanted, of their types, and `line`, the row's number from 1.

    `others` has the other columns, if they are asked for. `bad` says by number what is wrong with rows that
    are empty here.
    """

    frame: pl.DataFrame
    others: pl.DataFrame | None = None
    notices: Sequence[str] = ()
    bad: Mapping[int, str] = field(factory=dict)


class FrameSource(DataSource[ConfigT]):
    """Reads files of rows with types."""

    @abstractmethod
    def _pieces(self, path: Path, wanted: Wanted) -> Iterator[Piece]:
        """Yield the rows of a file, a piece at a time. Raises `DataError` if it is not such a file."""

    def _source(self, path: Path) -> str:
        """Return what messages call a file."""
        return str(path)

    def read(self, path: Path, columns: Sequence[ColumnSpec]) -> Table:
        tables = list(self.pieces(path, columns))
        return Table(
            pl.concat([table.frame for table in tables]),
            self._source(path),
            sum(table.skipped for table in tables),
            [said for table in tables for said in table.skipped_first][:SHOWN],
            [notice for table in tables for notice in table.notices],
        )

    def pieces(self, path: Path, columns: Sequence[ColumnSpec]) -> Iterator[Table]:
        return self._tables(path, Wanted(columns))

    def inputs(self, path: Path, columns: Sequence[ColumnSpec]) -> Iterator[Table]:
        return self._tables(path, Wanted(columns, for_inputs=True))

    def _tables(self, path: Path, wanted: Wanted) -> Iterator[Table]:
        source = self._source(path)
        found = BadLines(source)
        total = 0
        for piece in self._pieces(path, wanted):
            frame, empty = _filled(piece.frame, wanted.read)
            bad = {**empty, **piece.bad}
            total += len(piece.frame)
            found.count += len(bad)
            for number in sorted(bad)[: SHOWN - len(found.first)]:
                found.first[number] = bad[number]
            is_good = ~frame["line"].is_in(list(bad))
            others = piece.others
            yield Table(
                frame.filter(is_good),
                source,
                len(bad),
                [f"row {number}: {bad[number]}" for number in sorted(bad)[:SHOWN]],
                piece.notices,
                others=others.filter(is_good) if others is not None and others.width else others,
                bad=bad if wanted.for_inputs else {},
            )
        share = self.config.max_skipped_share
        is_allowed = self.config.on_bad_row == "skip" and found.count <= share * total
        if found.count and not is_allowed and not wanted.for_inputs:
            raise found.error(total)


def _filled(frame: pl.DataFrame, columns: Iterable[ColumnSpec]) -> tuple[pl.DataFrame, dict[int, str]]:
    """Return the rows with text stripped and what is empty null, and by number what is wrong with rows."""
    bad: dict[int, str] = {}
    for column in columns:
        name = column.name
        if column.type is ColumnType.TEXT:
            text = pl.col(name).str.strip_chars()
            frame = frame.with_columns(pl.when(text != "").then(text).alias(name))
        elif column.type is ColumnType.FLOAT:
            frame = frame.with_columns(pl.when(pl.col(name).is_finite()).then(pl.col(name)).alias(name))
        wrong = frame[name].is_null()
        if frame.schema[name] == pl.List:
            wrong = wrong | frame[name].list.eval(pl.element().is_null()).list.any().fill_null(False)
            wrong = wrong | (frame[name].list.len() == 0).fill_null(False)
        if not column.may_be_empty:
            bad |= dict.fromkeys(frame["line"].filter(wrong), f"`{name}` must not be empty")
    return frame, bad


def _typed(column: pl.Expr, dtype: pl.DataType, spec: ColumnSpec, where: str) -> pl.Expr:
    """Return an expression for values of the column's type; targets that are text may also be integers
    or booleans. Raises `DataError` for values of another type."""
    kind = spec.type
    right = _DTYPES[kind]
    inner = dtype.inner if isinstance(dtype, pl.List | pl.Array) else pl.Null()
    is_text = dtype in (pl.String, pl.Categorical, pl.Enum) or (
        not spec.input and (dtype.is_integer() or dtype == pl.Boolean)
    )
    is_list = isinstance(dtype, pl.List | pl.Array)
    fits = {
        ColumnType.TEXT: is_text,
        ColumnType.INTEGER: dtype.is_integer(),
        ColumnType.FLOAT: dtype.is_numeric(),
        ColumnType.TEXTS: is_list and inner in (pl.Null, pl.String, pl.Categorical, pl.Enum),
        ColumnType.INTEGERS: is_list and (inner == pl.Null or inner.is_integer()),
    }
    if dtype != pl.Null and not fits[kind]:
        raise DataError(f"{where}: `{spec.name}` must be {kind.value}, but the column is {dtype}")
    return column.cast(right).alias(spec.name)


# --- frames whose columns have types already ----------------------------------------------------------------


def typed_pieces(
    frames: Iterable[pl.DataFrame],
    schema: Mapping[str, pl.DataType],
    stated: Mapping[str, str],
    wanted: Wanted,
    source: str,
) -> Iterator[Piece]:
    """Yield frames of one schema as pieces, at least one, up to the first that is empty.

    `stated` says what the task's columns are called there, dotted for a field of a struct. Raises `DataError`
    for a column that is not there or of another type; `source` is the file in messages.
    """
    check_columns(stated, wanted.columns, source)
    names = {column.name: _name(column, schema, stated, source) for column in wanted.read}
    exprs = [_typed(*_field(schema, names[column.name]), column, source) for column in wanted.read]
    used = {name.partition(".")[0] if name not in schema else name for name in names.values()}
    unread = [name for name in schema if name not in used]
    read = {name: column for column, name in names.items()}
    notices = [] if wanted.for_inputs else columns_notice(source, read, unread)
    first = 1
    for frame in frames:
        if first > 1 and frame.is_empty():
            return
        lines = pl.int_range(first, first + len(frame), dtype=pl.Int64).alias("line")
        others = _as_text(frame.select(unread)) if wanted.for_inputs else None
        yield Piece(frame.select(lines, *exprs), others, notices if first == 1 else [])
        if frame.is_empty():
            return
        first += len(frame)


def _name(
    column: ColumnSpec, schema: Mapping[str, pl.DataType], stated: Mapping[str, str], source: str
) -> str:
    """Return the name of a column in a file."""
    names = names_in_file(column.name, stated.get(column.name))
    found = next((name for name in names if _has(schema, name)), None)
    if found is None:
        raise DataError(
            f"{source}: `{column.name}` must be there, {as_names(names)}, but the columns are"
            f" {listed_names(schema)}; say with `columns` which it is"
        )
    return found


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
