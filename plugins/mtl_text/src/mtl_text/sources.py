"""Files with one row per line, and plain text."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, TypeVar

import polars as pl
from attrs import frozen

from mtl import ColumnSpec, DataError, DataSource, Table, table_schema
from mtl_text.data_config import LineSourceConfig, TextLinesConfig
from mtl_text.lines import (
    BadLines,
    Lines,
    bad_lines,
    join_lines,
    read_blocks,
    read_lines,
    split_lines,
    with_blank_lines,
    without_long_lines,
)
from mtl_text.streams import bytes_as_text

TEXT = "text"
OTHER_NAMES = {TEXT: "sentence", "text1": "sentence1", "text2": "sentence2"}
"""What files call a column besides its own name."""

SourceConfigT = TypeVar("SourceConfigT", bound=LineSourceConfig)


@frozen
class Wanted:
    """The columns that a task reads; `for_inputs` when rows are to be predicted: targets are not
    read then, but the file's other columns are."""

    columns: Sequence[ColumnSpec]
    for_inputs: bool = False

    @property
    def read(self) -> Sequence[ColumnSpec]:
        """The columns to read."""
        return [column for column in self.columns if column.input or not self.for_inputs]


@frozen
class LineRows:
    """The rows of some lines: `line` and the columns, and by line number what is wrong with bad rows,
    which may still be in the frame. `others` are the file's other columns, if they were asked for;
    `notices` are about these lines."""

    frame: pl.DataFrame
    bad: Mapping[int, str]
    others: pl.DataFrame | None = None
    notices: Sequence[str] = ()


@frozen
class Reader:
    """How the lines of a file become rows, and notices about the file."""

    rows: Callable[[Lines], LineRows]
    notices: Sequence[str] = ()


class LineSource(DataSource[SourceConfigT]):
    """Reads files with one row per line, plain or compressed."""

    longest_line: ClassVar[int | None] = 1_000_000
    """Characters that a row may have; a longer line is a sign that the file has other lines, or none."""

    def read(self, path: Path, columns: Sequence[ColumnSpec]) -> Table:
        [table] = self._tables([read_lines(path, self.config.encoding)], str(path), Wanted(columns))
        return table

    def pieces(self, path: Path, columns: Sequence[ColumnSpec]) -> Iterator[Table]:
        return self._tables(read_blocks(path, self.config.encoding), str(path), Wanted(columns))

    def inputs(self, path: Path, columns: Sequence[ColumnSpec]) -> Iterator[Table]:
        blocks = read_blocks(path, self.config.encoding)
        return self._tables(blocks, str(path), Wanted(columns, for_inputs=True))

    def parse(self, data: bytes, source: str, columns: Sequence[ColumnSpec]) -> Table:
        """As `read`, from the bytes of a file that messages call `source`."""
        [table] = self._tables(self._split(data, source), source, Wanted(columns))
        return table

    def parse_inputs(self, data: bytes, source: str, columns: Sequence[ColumnSpec]) -> Table:
        """As `inputs`, from the bytes of a file that messages call `source`."""
        [table] = self._tables(self._split(data, source), source, Wanted(columns, for_inputs=True))
        return table

    def _split(self, data: bytes, source: str) -> list[Lines]:
        return [split_lines(bytes_as_text(data, source, self.config.encoding).read(), source)]

    def _tables(self, blocks: Iterable[Lines], source: str, wanted: Wanted) -> Iterator[Table]:
        """Yield a table for each block, at least one; refuse bad lines after the last."""
        blocks = self._whole_rows(Checked(blocks, self.longest_line), wanted)
        reader: Reader | None = None
        skips = wanted.for_inputs or self.config.on_bad_row == "skip"
        found = BadLines(source)
        total = last = 0
        for lines in blocks:
            notices: Sequence[str] = ()
            if reader is None:
                reader = self._reader(blocks, wanted)
                notices = reader.notices
            rows = reader.rows(lines)
            found.add(rows.bad, lines)
            total += len(rows.frame) - int(rows.frame["line"].is_in(list(rows.bad)).sum())
            last = lines.last
            if skips or not found.count:
                yield _table(rows, lines, [*notices, *rows.notices], wanted)
        self._refuse(found, total, last, wanted)
        if reader is None:
            others = pl.DataFrame() if wanted.for_inputs else None
            yield Table(pl.DataFrame(schema=table_schema(wanted.read)), source, others=others)

    def _refuse(self, found: BadLines, rows: int, last: int, wanted: Wanted) -> None:
        """Raise `DataError` for bad lines, unless they may be left out: with the cause that they have
        in common, or the advice to leave them out if they are few and have none."""
        if not found.count or wanted.for_inputs:
            return
        share = self.config.max_skipped_share
        are_few = found.count <= share * (rows + found.count)
        if self.config.on_bad_row == "skip" and are_few:
            return
        if cause := self._cause(found):
            raise found.error(last, cause=cause)
        if self.config.on_bad_row == "skip":
            raise found.error(last, f"`max_skipped_share` allows {share:.2%} of the rows to be skipped")
        leave_out = ', or leave them out with `"on_bad_row": "skip"`' if are_few else ""
        raise found.error(last, f"correct them{leave_out}")

    def _cause(self, found: BadLines) -> str:
        """Return what most bad lines have in common and the setting for it; nothing if nothing is known."""
        if found.undecodable * 2 <= found.count or found.undecodable <= found.foreign:
            return ""
        return 'looks like Windows-1252 or Latin-1, not UTF-8: set `"encoding": "cp1252"`, or what it is'

    def _whole_rows(self, blocks: Iterable[Lines], wanted: Wanted) -> Iterable[Lines]:
        """Return blocks that end where a row does, to be iterated any number of times."""
        return blocks

    @abstractmethod
    def _reader(self, blocks: Iterable[Lines], wanted: Wanted) -> Reader:
        """Return what reads the rows of a file that has these lines, at least one of them."""


def _table(rows: LineRows, lines: Lines, notices: Sequence[str], wanted: Wanted) -> Table:
    frame, others = rows.frame, rows.others
    if rows.bad:
        is_good = ~frame["line"].is_in(list(rows.bad))
        others = others.filter(is_good) if others is not None and others.width else others
        frame = frame.filter(is_good)
    return Table(
        frame,
        lines.source,
        len(rows.bad),
        bad_lines(lines, rows.bad).described,
        notices,
        others=others,
        bad={number: str(rows.bad[number]) for number in sorted(rows.bad)} if wanted.for_inputs else {},
    )


@frozen
class Checked:
    """Blocks of lines without those that are empty, and without lines that are too long."""

    blocks: Iterable[Lines]
    longest_line: int | None

    def __iter__(self) -> Iterator[Lines]:
        for lines in self.blocks:
            if len(lines.texts):
                longest = self.longest_line
                yield lines if longest is None else without_long_lines(lines, longest)


@frozen
class Regrouped:
    """Blocks of lines that end where a row does, rows being several lines.

    `cut` returns the lines of whole rows at the beginning of its argument, and the others, None if there
    are none; its second argument says whether no more lines follow.
    """

    blocks: Iterable[Lines]
    cut: Callable[[Lines, bool], tuple[Lines, Lines | None]]

    def __iter__(self) -> Iterator[Lines]:
        blocks = iter(self.blocks)
        lines = next(blocks, None)
        while lines is not None:
            following = next(blocks, None)
            if following is not None:
                lines = with_blank_lines(lines, following.first)
            whole, rest = self.cut(lines, following is None)
            if len(whole.texts):
                yield whole
            lines = following if rest is None or following is None else join_lines(rest, following)


class TextLines(LineSource[TextLinesConfig]):
    """Plain text with one row per line; lines without a word are skipped. Some corpora are one line."""

    longest_line: ClassVar[int | None] = None

    def _reader(self, blocks: Iterable[Lines], wanted: Wanted) -> Reader:
        missing = [column.name for column in wanted.read if column.name != TEXT]
        if missing:
            source = next(iter(blocks)).source
            raise DataError(f"{source}: lines of text have only `{TEXT}`, not {listed_names(missing)}")
        return Reader(lambda lines: self._rows(lines, wanted))

    @staticmethod
    def _rows(lines: Lines, wanted: Wanted) -> LineRows:
        text = lines.texts.alias(TEXT).str.strip_chars()
        frame = pl.DataFrame({"line": line_numbers(lines), TEXT: text}).filter(text != "")
        return LineRows(frame, lines.bad, pl.DataFrame() if wanted.for_inputs else None)


# --- what sources of several columns share ---------------------------------------------------------


def line_numbers(lines: Lines) -> pl.Series:
    """Return the number of each line."""
    return pl.int_range(lines.first, lines.last + 1, eager=True)


def first_line(lines: Lines) -> tuple[int, str]:
    """Return the number and the text of the first line that is not blank."""
    return next(
        (number, text)
        for number, text in enumerate(lines.texts, lines.first)
        if text.strip(" ") or number in lines.bad
    )


def names_in_file(name: str, stated: str | None = None) -> tuple[str, ...]:
    """Return what a column may be called in a file: what the config says, or else its own name."""
    if stated is not None:
        return (stated,)
    return (name, OTHER_NAMES[name]) if name in OTHER_NAMES else (name,)


def as_names(names: Iterable[str]) -> str:
    """Return what a column may be called, in words."""
    return "as " + " or ".join(f"`{name}`" for name in names)


def listed_names(names: Iterable[str]) -> str:
    """Return names as a list in words."""
    return ", ".join(f"`{name}`" for name in names)


def check_columns(stated: Iterable[str], asked: Sequence[ColumnSpec], source: str) -> None:
    """Refuse a column in the config that the task does not read: it would be ignored silently."""
    names = [column.name for column in asked]
    for name in stated:
        if name not in names:
            known = listed_names(names)
            raise DataError(f"{source}: `columns` must name what the task reads, {known}, but names `{name}`")


def columns_notice(source: str, read: Mapping[str, str], unread: Sequence[str]) -> list[str]:
    """Return the notice about the columns of a file that are not read, if there are any; `read` maps
    columns of the file to those of the task."""
    if not unread:
        return []
    said = [f"`{place}`" + (f" as `{name}`" if place != name else "") for place, name in read.items()]
    return [f"{source}: reads {', '.join(said)}; does not read {listed_names(unread)}"]
