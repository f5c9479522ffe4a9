"""Files of rows: tables with tabs, JSON lines, and plain text."""

from __future__ import annotations

import itertools
import json
import re
from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import polars as pl
from attrs import Factory, define, frozen

from mtl import DataError, DataSource, DataSourceConfig, Table
from mtl_text.data_config import JSONLConfig, TextLinesConfig, TSVConfig
from mtl_text.lines import (
    BadLines,
    Lines,
    bad_lines,
    read_blocks,
    read_lines,
    split_lines,
    without_long_lines,
)

TEXT = "text"
LABEL = "label"

ROWS_THAT_TELL = 10
"""So many rows show which labels there are; fewer do not tell a header from a row."""
MOST_LABELS = 100_000
"""A column with more different values than this is none of labels that return."""

NUMBER = r"^[+-]?\d+$"

SourceConfigT = TypeVar("SourceConfigT", bound=DataSourceConfig)

RowReader = Callable[[Lines], tuple[pl.DataFrame, Mapping[int, str]]]
"""Gives of some lines of a file `line` and the columns, and by line number what is wrong with bad rows;
they may still be in the frame."""


class LineSource(DataSource[SourceConfigT]):
    """Reads files that have a row a line."""

    longest_line: ClassVar[int | None] = 1_000_000
    """Characters that a row may have; a longer line is a sign that the file has other lines, or none."""

    def read(self, path: Path, columns: Sequence[str], *, optional: Sequence[str] = ()) -> Table:
        [table] = self._tables([read_lines(path)], str(path), columns, optional)
        return table

    def pieces(self, path: Path, columns: Sequence[str]) -> Iterator[Table]:
        return self._tables(read_blocks(path), str(path), columns)

    def parse(
        self, data: bytes, source: str, columns: Sequence[str], *, optional: Sequence[str] = ()
    ) -> Table:
        """As `read`, from the bytes of a file or stream that messages call `source`."""
        [table] = self._tables([split_lines(data, source)], source, columns, optional)
        return table

    def _tables(
        self, blocks: Iterable[Lines], source: str, columns: Sequence[str], optional: Sequence[str] = ()
    ) -> Iterator[Table]:
        """A table for each block, at least one. Bad lines are refused once all blocks have been read."""
        blocks = Checked(blocks, self.longest_line)
        reader: RowReader | None = None
        skips = self.config.on_bad_row == "skip"
        all_bad = BadLines(source)
        last = 0
        for lines in blocks:
            reader = reader or self._reader(blocks, columns, optional)
            frame, bad = reader(lines)
            all_bad.add(bad)
            last = lines.last
            if skips or not all_bad.count:
                good = frame.filter(~frame["line"].is_in(list(bad))) if bad else frame
                yield Table(good, source, len(bad), bad_lines(lines, bad).described)
        if all_bad.count and not skips:
            hint = 'correct them, or have them left out and counted with `"on_bad_row": "skip"`'
            raise all_bad.error(last, hint)
        if reader is None:
            schema = {**dict.fromkeys(columns, pl.String), "line": pl.Int64}
            yield Table(pl.DataFrame(schema=schema), source)

    @abstractmethod
    def _reader(self, blocks: Iterable[Lines], columns: Sequence[str], optional: Sequence[str]) -> RowReader:
        """What reads the rows of a file that has these lines, at least one of them."""


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


class TextLines(LineSource[TextLinesConfig]):
    """Plain text, a row a line; lines without a word are left out. Some corpora are one line."""

    longest_line: ClassVar[int | None] = None

    def _reader(self, blocks: Iterable[Lines], columns: Sequence[str], optional: Sequence[str]) -> RowReader:
        missing = [name for name in columns if name != TEXT]
        if missing:
            source = next(iter(blocks)).source
            raise DataError(f"{source}: lines of text have only `{TEXT}`, not {_named(missing)}")
        return self._rows

    @staticmethod
    def _rows(lines: Lines) -> tuple[pl.DataFrame, Mapping[int, str]]:
        text = lines.texts.alias(TEXT).str.strip_chars()
        frame = pl.DataFrame({"line": _line_numbers(lines), TEXT: text})
        return frame.filter(text != ""), lines.bad


class JSONL(LineSource[JSONLConfig]):
    """A JSON object a line; blank lines are none. `text` is a string; other columns may be whole
    numbers and booleans."""

    def _reader(self, blocks: Iterable[Lines], columns: Sequence[str], optional: Sequence[str]) -> RowReader:
        _check_columns(self.config.columns, [*columns, *optional], next(iter(blocks)).source)
        keys = {name: _names(name, self.config.columns.get(name)) for name in [*columns, *optional]}
        there = (
            {key for lines in blocks for _, row in _json_rows(lines, {}) for key in row} if optional else ()
        )
        wanted = [*columns, *(name for name in optional if any(key in there for key in keys[name]))]
        return lambda lines: self._rows(lines, {name: keys[name] for name in wanted})

    @staticmethod
    def _rows(lines: Lines, keys: Mapping[str, Sequence[str]]) -> tuple[pl.DataFrame, Mapping[int, str]]:
        bad = dict(lines.bad)
        rows: dict[str, list[Any]] = {"line": [], **{name: [] for name in keys}}
        for number, value in _json_rows(lines, bad):
            try:
                row = [_json_text(name, keys[name], value) for name in keys]
            except ValueError as error:
                bad[number] = str(error)
                continue
            for column, cell in zip(rows.values(), [number, *row], strict=True):
                column.append(cell)
        return pl.DataFrame(rows, schema={"line": pl.Int64, **dict.fromkeys(keys, pl.String)}), bad


def _json_rows(lines: Lines, bad: dict[int, str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of the lines that are not bad, by line number; what is none becomes a bad line."""
    for number, text in enumerate(lines.texts, lines.first):
        if number in lines.bad or not text.strip():
            continue
        try:
            value = _json_object(text)
        except ValueError as error:
            bad[number] = str(error)
        else:
            yield number, value


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
class Cells:
    """The lines of a table that are not blank: their numbers, and their cells (`list[str]`)."""

    numbers: pl.Series
    cells: pl.Series

    @classmethod
    def of(cls, lines: Lines, delimiter: str) -> Cells:
        """The cells of these lines, those of bad ones among them."""
        texts, numbers = lines.texts, _line_numbers(lines)
        is_there = (texts.str.strip_chars(" ") != "") | numbers.is_in(list(lines.bad))
        return cls(numbers.filter(is_there), texts.filter(is_there).str.split(delimiter))

    def column(self, position: int) -> pl.Series:
        """The cells at a position; null where a line has too few."""
        return self.cells.list.get(position, null_on_oob=True).str.strip_chars()


@define
class Labels:
    """What the labels of a table without a header tell of the first line's."""

    first: str | None
    others: int = 0
    is_alone: bool = True
    are_numbers: bool = True
    counts: Counter[str] = Factory(Counter)

    def add(self, labels: pl.Series) -> None:
        """Take in the labels of the lines that come next."""
        labels = labels.drop_nulls()
        if self.first is None or not self.is_alone or labels.is_empty():
            return
        self.others += len(labels)
        self.is_alone = not (labels == self.first).any()
        self.are_numbers = self.are_numbers and labels.str.contains(NUMBER).all()
        if self.is_alone and len(self.counts) <= MOST_LABELS:
            counted = labels.value_counts()
            self.counts.update(dict(zip(*counted.get_columns(), strict=True)))

    def is_name(self, header: str) -> bool:
        """Whether the first is a name, not a label: no other line has it, and it is called like the
        column, or is no number where all others are, or others return and it does not."""
        if self.first is None or not self.others or not self.is_alone:
            return False
        if self.first.casefold() == LABEL:
            return True
        if self.are_numbers and not re.match(NUMBER, self.first):
            return True
        returning = self.others >= ROWS_THAT_TELL and len(self.counts) <= MOST_LABELS
        return header == "auto" and returning and min(self.counts.values()) > 1


@frozen
class Layout:
    """Where in the lines of a table the columns are, and how many cells a line must have.

    `header` is the number of the line that names the columns, `name` that of one whose label looks
    as if it did.
    """

    positions: Mapping[str, int]
    width: int
    header: int | None = None
    name: int | None = None


class TSV(LineSource[TSVConfig]):
    """A row a line, its columns apart by tabs, with or without a header; blank lines are none."""

    def _reader(self, blocks: Iterable[Lines], columns: Sequence[str], optional: Sequence[str]) -> RowReader:
        lines = next(iter(blocks))
        _check_columns(self.config.columns, [*columns, *optional], lines.source)
        place, text = next(
            (number, text)
            for number, text in enumerate(lines.texts, lines.first)
            if text.strip(" ") or number in lines.bad
        )
        header = [cell.strip() for cell in text.split(self.config.delimiter)]
        if not self._has_header(header, columns):
            layout = self._plain_layout(blocks, columns, optional)
        elif place in lines.bad:
            total = max(each.last for each in blocks)
            raise bad_lines(lines, {place: lines.bad[place]}).error(total)
        else:
            positions = self._by_header(header, f"{lines.source}:{place}", columns, optional)
            layout = Layout(positions, len(header), header=place)
        return lambda lines: self._rows(lines, layout)

    def _rows(self, lines: Lines, layout: Layout) -> tuple[pl.DataFrame, Mapping[int, str]]:
        table = Cells.of(lines, self.config.delimiter)
        places = layout.positions.items()
        frame = pl.DataFrame(
            {"line": table.numbers, **{name: table.column(position) for name, position in places}}
        )
        bad = {**_bad_cells(frame, table.cells, layout), **lines.bad}
        if layout.header is not None and layout.header >= lines.first:
            bad.pop(layout.header, None)
            return frame.filter(pl.col("line") != layout.header), bad
        if layout.name is not None and layout.name >= lines.first and layout.name not in bad:
            bad[layout.name] = (
                f"looks like a header: the label {frame[LABEL][0]!r} is on no other line; name its"
                ' columns in `columns`, or say `"header": "no"` if it is a row'
            )
        return frame, bad

    def _plain_layout(
        self, blocks: Iterable[Lines], columns: Sequence[str], optional: Sequence[str]
    ) -> Layout:
        """The layout of a table without a header: what is usual among all of its lines."""
        positions = self._by_position([*columns, *optional])
        widths = Counter[int]()
        first: int | None = None
        labels: Labels | None = None
        for lines in blocks:
            table = Cells.of(lines, self.config.delimiter)
            good = table.cells.filter(~table.numbers.is_in(list(lines.bad)))
            widths.update(dict(good.list.len().value_counts().iter_rows()))
            first = first or int(table.numbers[0])
            if LABEL in positions and (labels is None or labels.is_alone):
                found = table.column(positions[LABEL])
                labels, found = (labels, found) if labels else (Labels(found[0]), found[1:])
                labels.add(found)
        usual = max((width for width, count in widths.items() if count == max(widths.values())), default=0)
        width = max([usual, *(1 + positions[name] for name in columns)])
        kept = {name: at for name, at in positions.items() if at < width}
        is_name = labels is not None and LABEL in kept and labels.is_name(self.config.header)
        return Layout(kept, width, name=first if is_name else None)

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


def _bad_cells(frame: pl.DataFrame, cells: pl.Series, layout: Layout) -> dict[int, str]:
    """What is wrong with the rows that have too few or too many cells, or an empty one, by line number."""
    bad: dict[int, str] = {}
    numbers = frame["line"]
    for name in layout.positions:
        bad |= dict.fromkeys(numbers.filter(frame[name] == ""), f"`{name}` must not be empty")
    unfit = cells.list.len() != layout.width
    for number, row in zip(numbers.filter(unfit), cells.filter(unfit), strict=True):
        found = f"has {_columns(len(row))}" if any(cell.strip() for cell in row) else "is blank"
        bad[number] = f"a row must have {_columns(layout.width)}, but {found}"
    return bad


def _columns(count: int) -> str:
    return f"{count} column" + ("" if count == 1 else "s")


def _line_numbers(lines: Lines) -> pl.Series:
    return pl.int_range(lines.first, lines.last + 1, eager=True)


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
