"""Rows that do not stand in lines: their columns, bad rows and notices."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import polars as pl
from attrs import field, frozen

from mtl import ColumnSpec, ColumnType, DataError, DataSource, DataSourceConfig, Table
from mtl_text.lines import BadLines
from mtl_text.sources import Wanted

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

    def read(self, path: Path, columns: Sequence[ColumnSpec]) -> Table:
        tables = list(self.pieces(path, columns))
        return Table(
            pl.concat([table.frame for table in tables]),
            str(path),
            sum(table.skipped for table in tables),
            [said for table in tables for said in table.skipped_first][:SHOWN],
            [notice for table in tables for notice in table.notices],
        )

    def pieces(self, path: Path, columns: Sequence[ColumnSpec]) -> Iterator[Table]:
        return self._tables(path, Wanted(columns))

    def inputs(self, path: Path, columns: Sequence[ColumnSpec]) -> Iterator[Table]:
        return self._tables(path, Wanted(columns, for_inputs=True))

    def _tables(self, path: Path, wanted: Wanted) -> Iterator[Table]:
        found = BadLines(str(path))
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
                str(path),
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


def typed(column: pl.Expr, dtype: pl.DataType, spec: ColumnSpec, where: str) -> pl.Expr:
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
