"""Files of rows: tables with tabs, JSON lines, and plain text."""

from __future__ import annotations

import itertools
import json
import re
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import polars as pl
from attrs import frozen

from mtl import DataError, DataSource, DataSourceConfig, Table
from mtl_text.data_config import JSONLConfig, TextLinesConfig, TSVConfig
from mtl_text.lines import Lines, bad_lines, first_bad, read_bytes, split_lines, without_long_lines

TEXT = "text"
LABEL = "label"

ROWS_THAT_TELL = 10
"""So many rows show which labels there are; fewer do not tell a header from a row."""

SourceConfigT = TypeVar("SourceConfigT", bound=DataSourceConfig)


class LineSource(DataSource[SourceConfigT]):
    """Reads files that have a row a line."""

    longest_line: ClassVar[int | None] = 1_000_000
    """Characters that a row may have; a longer line is a sign that the file has other lines, or none."""

    def read(self, path: Path, columns: Sequence[str], *, optional: Sequence[str] = ()) -> Table:
        return self.parse(read_bytes(path), str(path), columns, optional=optional)

    def parse(
        self, data: bytes, source: str, columns: Sequence[str], *, optional: Sequence[str] = ()
    ) -> Table:
        """As `read`, from the bytes of a file or stream that messages call `source`."""
        lines = split_lines(data, source)
        if self.longest_line is not None:
            lines = without_long_lines(lines, self.longest_line)
        if not lines.texts:
            schema = {**dict.fromkeys(columns, pl.String), "line": pl.Int64}
            return Table(pl.DataFrame(schema=schema), source)
        frame, bad = self._rows(lines, columns, optional)
        if bad and self.config.on_bad_row == "error":
            hint = 'correct them, or have them left out and counted with `"on_bad_row": "skip"`'
            raise bad_lines(source, bad, len(lines.texts), hint)
        good = frame.filter(~frame["line"].is_in([index + 1 for index in bad])) if bad else frame
        return Table(good, source, skipped=len(bad), skipped_first=first_bad(bad))

    @abstractmethod
    def _rows(
        self, lines: Lines, columns: Sequence[str], optional: Sequence[str]
    ) -> tuple[pl.DataFrame, Mapping[int, str]]:
        """`line` and the columns, and by index in `lines` what is wrong with bad rows; they may
        still be in the frame."""


class TextLines(LineSource[TextLinesConfig]):
    """Plain text, a row a line; lines without a word are left out. Some corpora are one line."""

    longest_line: ClassVar[int | None] = None

    def _rows(
        self, lines: Lines, columns: Sequence[str], optional: Sequence[str]
    ) -> tuple[pl.DataFrame, Mapping[int, str]]:
        missing = [name for name in columns if name != TEXT]
        if missing:
            raise DataError(f"{lines.source}: lines of text have only `{TEXT}`, not {_named(missing)}")
        text = pl.Series(TEXT, lines.texts, dtype=pl.String).str.strip_chars()
        frame = pl.DataFrame({"line": _line_numbers(lines), TEXT: text})
        return frame.filter(text != ""), lines.bad


class JSONL(LineSource[JSONLConfig]):
    """A JSON object a line; blank lines are none. `text` is a string; other columns may be whole
    numbers and booleans."""

    def _rows(
        self, lines: Lines, columns: Sequence[str], optional: Sequence[str]
    ) -> tuple[pl.DataFrame, Mapping[int, str]]:
        _check_columns(self.config.columns, [*columns, *optional], lines.source)
        bad = dict(lines.bad)
        objects: dict[int, dict[str, Any]] = {}
        for index, text in enumerate(lines.texts):
            if index in bad or not text.strip():
                continue
            try:
                objects[index] = _json_object(text)
            except ValueError as error:
                bad[index] = str(error)
        keys = {name: _names(name, self.config.columns.get(name)) for name in [*columns, *optional]}
        there = {key for value in objects.values() for key in value}
        wanted = [*columns, *(name for name in optional if any(key in there for key in keys[name]))]
        rows: dict[str, list[Any]] = {"line": [], **{name: [] for name in wanted}}
        for index, value in objects.items():
            try:
                row = [_json_text(name, keys[name], value) for name in wanted]
            except ValueError as error:
                bad[index] = str(error)
                continue
            for column, cell in zip(rows.values(), [index + 1, *row], strict=True):
                column.append(cell)
        return pl.DataFrame(rows, schema={"line": pl.Int64, **{name: pl.String for name in wanted}}), bad


def _json_object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        at = f"column {error.colno}: {error.msg}"
        raise ValueError(f"a row must be a JSON object, but {at}") from None
    except (ValueError, RecursionError):
        raise ValueError("a row must be a JSON object, but is too deep or has too long a number") from None
    if not isinstance(value, dict):
        raise ValueError(f"a row must be a JSON object, but is {_json_kind(value)}")
    return value


def _json_text(name: str, keys: Sequence[str], row: Mapping[str, Any]) -> str:
    key = next((key for key in keys if row.get(key) is not None), None)
    if key is None:
        raise ValueError(f"`{name}` must be there, {_as(keys)}, but the keys are {_named(row)}")
    value = row[key]
    if name != TEXT and isinstance(value, bool | int):
        return json.dumps(value)
    if not isinstance(value, str):
        right = "a string" if name == TEXT else "a string, a whole number or a boolean"
        raise ValueError(f"`{key}` must be {right}, but is {_json_kind(value)}")
    text = value.strip()
    if not text:
        raise ValueError(f"`{key}` must not be empty")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError(f"`{key}` must be text, but has half a surrogate pair")
    return text


def _json_kind(value: object) -> str:
    kinds = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "null"}
    return kinds.get(type(value), "a number")


@frozen
class Layout:
    """Where in the lines of a table the columns are, and how many cells a line must have."""

    positions: Mapping[str, int]
    width: int
    has_header: bool


class TSV(LineSource[TSVConfig]):
    """A row a line, its columns apart by tabs, with or without a header; blank lines are none."""

    def _rows(
        self, lines: Lines, columns: Sequence[str], optional: Sequence[str]
    ) -> tuple[pl.DataFrame, Mapping[int, str]]:
        _check_columns(self.config.columns, [*columns, *optional], lines.source)
        texts, bad_ones = pl.Series(lines.texts, dtype=pl.String), [index + 1 for index in lines.bad]
        numbers = _line_numbers(lines)
        is_there = (texts.str.strip_chars(" ") != "") | numbers.is_in(bad_ones)
        cells, numbers = texts.filter(is_there).str.split(self.config.delimiter), numbers.filter(is_there)
        first = int(numbers[0])
        layout = self._layout(lines, first, cells, columns, optional)
        frame = pl.DataFrame(
            {
                "line": numbers,
                **{
                    name: cells.list.get(position, null_on_oob=True).str.strip_chars()
                    for name, position in layout.positions.items()
                },
            }
        )
        bad = {**_bad_cells(frame, cells, layout), **lines.bad}
        if layout.has_header:
            bad.pop(first - 1, None)
            return frame.slice(1), bad
        if first - 1 not in bad and self._has_header_left_in(frame):
            bad[first - 1] = (
                f"looks like a header: the label {frame[LABEL][0]!r} is on no other line; name its"
                ' columns in `columns`, or say `"header": "no"` if it is a row'
            )
        return frame, bad

    def _layout(
        self, lines: Lines, first: int, cells: pl.Series, columns: Sequence[str], optional: Sequence[str]
    ) -> Layout:
        header = [cell.strip() for cell in cells[0]]
        if self._has_header(header, columns):
            if first - 1 in lines.bad:
                raise bad_lines(lines.source, {first - 1: lines.bad[first - 1]}, len(lines.texts))
            place = f"{lines.source}:{first}"
            return Layout(self._by_header(header, place, columns, optional), len(header), True)
        positions = self._by_position([*columns, *optional])
        needed = 1 + max((positions[name] for name in columns), default=0)
        usual = cells.list.len().mode().max()
        width = max(needed, usual if isinstance(usual, int) else 0)
        return Layout({name: at for name, at in positions.items() if at < width}, width, False)

    def _has_header(self, first: Sequence[str], columns: Sequence[str]) -> bool:
        """Whether the first line names the columns: the config says so, or it has their names."""
        stated = self.config.columns
        if self.config.header != "auto":
            return self.config.header == "yes"
        if any(isinstance(place, str) for place in stated.values()):
            return True
        cells = [cell.casefold() for cell in first]
        return all(any(alias in cells for alias in _names(name)) for name in columns)

    def _by_header(
        self, header: Sequence[str], place: str, columns: Sequence[str], optional: Sequence[str]
    ) -> dict[str, int]:
        positions: dict[str, int] = {}
        for name in [*columns, *optional]:
            found = self._find(name, header)
            if len(found) > 1:
                twice = header[found[0]]
                raise DataError(f"{place}: `{name}` must be one column, but {twice!r} is there twice")
            if found:
                positions[name] = found[0]
            elif name in columns:
                stated = self.config.columns.get(name)
                at = f"at position {stated}" if isinstance(stated, int) else _as(_names(name, stated))
                raise DataError(
                    f"{place}: `{name}` must be there, {at}, but the header has {_named(header)};"
                    " say with `columns` which it is"
                )
        return positions

    def _find(self, name: str, header: Sequence[str]) -> list[int]:
        """The positions under which a header has a column."""
        place = self.config.columns.get(name)
        if isinstance(place, int):
            return [place] if place < len(header) else []
        for alias in _names(name, place):
            folded = header if place else [cell.casefold() for cell in header]
            found = [at for at, cell in enumerate(folded) if cell == alias]
            if found:
                return found
        return []

    def _by_position(self, names: Sequence[str]) -> dict[str, int]:
        """Stated positions; the other columns take those that are free, in order."""
        stated = {name: place for name, place in self.config.columns.items() if isinstance(place, int)}
        free: Iterator[int] = (at for at in itertools.count() if at not in stated.values())
        return {name: stated[name] if name in stated else next(free) for name in names}

    def _has_header_left_in(self, frame: pl.DataFrame) -> bool:
        """Whether the first row's label is a name, not a label: no other row has it, and it is called
        like the column, or is no number where all others are, or others return and it does not."""
        if LABEL not in frame.columns or len(frame) < 2:
            return False
        first, others = frame[LABEL][0], frame[LABEL][1:].drop_nulls()
        if first is None or others.is_empty() or (others == first).any():
            return False
        if first.casefold() == LABEL:
            return True
        number = r"^[+-]?\d+$"
        if others.str.contains(number).all() and not re.match(number, first):
            return True
        returning = len(others) >= ROWS_THAT_TELL and not others.is_unique().any()
        return self.config.header == "auto" and returning


def _bad_cells(frame: pl.DataFrame, cells: pl.Series, layout: Layout) -> dict[int, str]:
    """What is wrong with the rows that have too few or too many cells, or an empty one."""
    bad: dict[int, str] = {}
    index = frame["line"] - 1
    for name in layout.positions:
        bad |= dict.fromkeys(index.filter(frame[name] == ""), f"`{name}` must not be empty")
    unfit = cells.list.len() != layout.width
    for place, row in zip(index.filter(unfit), cells.filter(unfit), strict=True):
        found = f"has {_columns(len(row))}" if any(cell.strip() for cell in row) else "is blank"
        bad[place] = f"a row must have {_columns(layout.width)}, but {found}"
    return bad


def _columns(count: int) -> str:
    return f"{count} column" + ("" if count == 1 else "s")


def _line_numbers(lines: Lines) -> pl.Series:
    return pl.int_range(1, len(lines.texts) + 1, eager=True)


def _names(name: str, stated: str | None = None) -> tuple[str, ...]:
    """What a column may be called in a file: as stated, or else by its own name."""
    return (stated,) if stated is not None else (TEXT, "sentence") if name == TEXT else (name,)


def _as(names: Iterable[str]) -> str:
    return "as " + " or ".join(f"`{name}`" for name in names)


def _named(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _check_columns(stated: Iterable[str], asked: Sequence[str], source: str) -> None:
    """Refuse a column in the config that the task does not read: it would be ignored in silence."""
    for name in stated:
        if name not in asked:
            raise DataError(
                f"{source}: `columns` must name what the task reads, {_named(asked)}, but names `{name}`"
            )
