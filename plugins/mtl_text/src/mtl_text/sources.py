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

from mtl import ColumnSpec, ColumnType, DataError, DataSource, DataSourceConfig, Table, table_schema
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

LISTS = (ColumnType.TEXTS, ColumnType.INTEGERS)

NUMBER = r"^[+-]?\d+$"

SourceConfigT = TypeVar("SourceConfigT", bound=DataSourceConfig)


@frozen
class LineRows:
    """The rows of some lines: `line` and the columns, and by line number what is wrong with bad rows,
    which may still be in the frame. `others` are the file's other columns, if they were asked for."""

    frame: pl.DataFrame
    bad: Mapping[int, str]
    others: pl.DataFrame | None = None


RowReader = Callable[[Lines], LineRows]


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


class LineSource(DataSource[SourceConfigT]):
    """Reads files that have a row a line."""

    longest_line: ClassVar[int | None] = 1_000_000
    """Characters that a row may have; a longer line is a sign that the file has other lines, or none."""

    def read(self, path: Path, columns: Sequence[ColumnSpec]) -> Table:
        [table] = self._tables([read_lines(path)], str(path), Wanted(columns))
        return table

    def pieces(self, path: Path, columns: Sequence[ColumnSpec]) -> Iterator[Table]:
        return self._tables(read_blocks(path), str(path), Wanted(columns))

    def inputs(self, path: Path, columns: Sequence[ColumnSpec]) -> Iterator[Table]:
        return self._tables(read_blocks(path), str(path), Wanted(columns, for_inputs=True))

    def parse(self, data: bytes, source: str, columns: Sequence[ColumnSpec]) -> Table:
        """As `read`, from the bytes of a file that messages call `source`."""
        [table] = self._tables([split_lines(data, source)], source, Wanted(columns))
        return table

    def parse_inputs(self, data: bytes, source: str, columns: Sequence[ColumnSpec]) -> Table:
        """As `inputs`, from the bytes of a file that messages call `source`."""
        [table] = self._tables([split_lines(data, source)], source, Wanted(columns, for_inputs=True))
        return table

    def _tables(self, blocks: Iterable[Lines], source: str, wanted: Wanted) -> Iterator[Table]:
        """Yield a table for each block, at least one; refuse bad lines after the last."""
        blocks = Checked(blocks, self.longest_line)
        reader: RowReader | None = None
        skips = wanted.for_inputs or self.config.on_bad_row == "skip"
        all_bad = BadLines(source)
        last = 0
        for lines in blocks:
            reader = reader or self._reader(blocks, wanted)
            rows = reader(lines)
            bad = rows.bad
            all_bad.add(bad)
            last = lines.last
            if skips or not all_bad.count:
                is_good = ~rows.frame["line"].is_in(list(bad))
                yield Table(
                    rows.frame.filter(is_good) if bad else rows.frame,
                    source,
                    len(bad),
                    bad_lines(lines, bad).described,
                    others=rows.others.filter(is_good)
                    if rows.others is not None and rows.others.width
                    else rows.others,
                    bad=dict(sorted(bad.items())) if wanted.for_inputs else {},
                )
        if all_bad.count and not skips:
            hint = 'correct them, or have them left out and counted with `"on_bad_row": "skip"`'
            raise all_bad.error(last, hint)
        if reader is None:
            others = pl.DataFrame() if wanted.for_inputs else None
            yield Table(pl.DataFrame(schema=table_schema(wanted.read)), source, others=others)

    @abstractmethod
    def _reader(self, blocks: Iterable[Lines], wanted: Wanted) -> RowReader:
        """Return what reads the rows of a file that has these lines, at least one of them."""


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

    def _reader(self, blocks: Iterable[Lines], wanted: Wanted) -> RowReader:
        missing = [column.name for column in wanted.read if column.name != TEXT]
        if missing:
            source = next(iter(blocks)).source
            raise DataError(f"{source}: lines of text have only `{TEXT}`, not {_named(missing)}")
        return lambda lines: self._rows(lines, wanted)

    @staticmethod
    def _rows(lines: Lines, wanted: Wanted) -> LineRows:
        text = lines.texts.alias(TEXT).str.strip_chars()
        frame = pl.DataFrame({"line": _line_numbers(lines), TEXT: text}).filter(text != "")
        return LineRows(frame, lines.bad, pl.DataFrame() if wanted.for_inputs else None)


class JSONL(LineSource[JSONLConfig]):
    """A JSON object a line; blank lines are none. `text` is a string; other columns may be whole
    numbers and booleans."""

    def _reader(self, blocks: Iterable[Lines], wanted: Wanted) -> RowReader:
        _check_columns(self.config.columns, wanted.columns, next(iter(blocks)).source)
        return lambda lines: self._rows(lines, wanted)

    def _rows(self, lines: Lines, wanted: Wanted) -> LineRows:
        keys = {column: _names(column.name, self.config.columns.get(column.name)) for column in wanted.read}
        bad = dict(lines.bad)
        rows: list[tuple[Any, ...]] = []
        objects: list[dict[str, Any]] = []
        for number, value in _json_rows(lines, bad):
            try:
                rows.append((number, *(_json_value(column, keys[column], value) for column in keys)))
            except ValueError as error:
                bad[number] = str(error)
            else:
                objects.append(value)
        frame = pl.DataFrame(rows, schema=table_schema(wanted.read), orient="row")
        return LineRows(frame, bad, _json_others(objects, keys.values()) if wanted.for_inputs else None)


def _json_others(rows: Sequence[dict[str, Any]], read: Iterable[Sequence[str]]) -> pl.DataFrame:
    """The values of the keys that are not read, as text."""
    taken = [next((key for key in names if row.get(key) is not None), None) for row in rows for names in read]
    names = dict.fromkeys(key for row in rows for key in row if key not in taken)
    cells = {name: [_json_cell(row.get(name)) for row in rows] for name in names}
    return pl.DataFrame(cells, schema=dict.fromkeys(names, pl.String))


def _json_cell(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)


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


def _json_value(column: ColumnSpec, keys: Sequence[str], row: Mapping[str, Any]) -> Any:
    """The value of a column, of its type. Raises `ValueError` if it is not one."""
    name, type_ = column.name, column.type
    key = next((key for key in keys if row.get(key) is not None), None)
    if key is None:
        if column.may_be_empty:
            return None
        raise ValueError(f"`{name}` must be there, {_as(keys)}, but the keys are {_named(row)}")
    value = row[key]
    if type_ is ColumnType.TEXT and not column.input and isinstance(value, bool | int):
        return json.dumps(value)
    if not type_.holds(value):
        right = type_.value
        if type_ is ColumnType.TEXT and not column.input:
            right = "a string, an integer or a boolean"
        raise ValueError(f"`{key}` must be {right}, but is {_json_kind(value)}")
    for text in [value] if isinstance(value, str) else value if type_ is ColumnType.TEXTS else []:
        if any("\ud800" <= character <= "\udfff" for character in text):
            raise ValueError(f"`{key}` must be text, but has half a surrogate pair")
    if type_ is ColumnType.TEXT:
        value = value.strip()
    if value in ("", []) and not column.may_be_empty:
        raise ValueError(f"`{key}` must not be empty")
    return None if value == "" else value


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

    def without(self, number: int) -> Cells:
        """The cells of the other lines."""
        others = self.numbers != number
        return Cells(self.numbers.filter(others), self.cells.filter(others))

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

    `header` is the number of the line that names the columns, as `names`; `name` that of one whose
    label looks as if it did.
    """

    positions: Mapping[str, int]
    width: int
    header: int | None = None
    name: int | None = None
    names: Sequence[str] = ()


class TSV(LineSource[TSVConfig]):
    """A row a line, its columns apart by tabs, with or without a header; blank lines are none."""

    def _reader(self, blocks: Iterable[Lines], wanted: Wanted) -> RowReader:
        lines = next(iter(blocks))
        _check_columns(self.config.columns, wanted.columns, lines.source)
        self._check_separators(wanted, lines.source)
        place, text = next(
            (number, text)
            for number, text in enumerate(lines.texts, lines.first)
            if text.strip(" ") or number in lines.bad
        )
        header = [cell.strip() for cell in text.split(self.config.delimiter)]
        if not self._has_header(header, wanted.read):
            layout = self._plain_layout(blocks, wanted)
        elif place in lines.bad:
            total = max(each.last for each in blocks)
            raise bad_lines(lines, {place: lines.bad[place]}).error(total)
        else:
            positions = self._by_header(header, f"{lines.source}:{place}", wanted.read)
            layout = Layout(positions, len(header), header=place, names=header)
        return lambda lines: self._rows(lines, layout, wanted)

    def _check_separators(self, wanted: Wanted, source: str) -> None:
        """Refuse lists that end where the cell does."""
        lists = [column.name for column in wanted.read if column.type in LISTS]
        if lists and self.config.delimiter in self.config.list_separator:
            raise DataError(
                f"{source}: `list_separator` must not hold the `delimiter`, {self.config.delimiter!r}, for"
                f" {_named(lists)} is a list, but is {self.config.list_separator!r}"
            )

    def _rows(self, lines: Lines, layout: Layout, wanted: Wanted) -> LineRows:
        table = Cells.of(lines, self.config.delimiter)
        if layout.header is not None and layout.header >= lines.first:
            table = table.without(layout.header)
        frame = pl.DataFrame({"line": table.numbers})
        bad: dict[int, str] = {}
        for column in wanted.read:
            cells = table.column(layout.positions[column.name])
            values, wrong = typed_cells(cells, column, self.config.list_separator)
            frame = frame.with_columns(values.alias(column.name))
            bad |= {int(table.numbers[place]): why for place, why in wrong.items()}
        bad |= _bad_widths(table, layout.width) | {
            number: why for number, why in lines.bad.items() if number != layout.header
        }
        if layout.name is not None and layout.name >= lines.first and layout.name not in bad:
            bad[layout.name] = (
                f"looks like a header: the label {frame[LABEL][0]!r} is on no other line; name its"
                ' columns in `columns`, or say `"header": "no"` if it is a row'
            )
        return LineRows(frame, bad, _other_cells(table, layout) if wanted.for_inputs else None)

    def _plain_layout(self, blocks: Iterable[Lines], wanted: Wanted) -> Layout:
        """The layout of a table without a header: what is usual among all of its lines."""
        positions = self._by_position([column.name for column in wanted.columns])
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
        names = [column.name for column in wanted.read]
        if wanted.for_inputs and usual == len(names) < len(wanted.columns):
            positions = self._by_position(names)  # the file has the input columns alone
        kept = {name: positions[name] for name in names}
        width = max([usual, *(1 + at for at in kept.values())])
        is_name = labels is not None and LABEL in kept and labels.is_name(self.config.header)
        return Layout(kept, width, name=first if is_name else None)

    def _has_header(self, first: Sequence[str], columns: Sequence[ColumnSpec]) -> bool:
        """Whether the first line names the columns: the config says so, or it has their names."""
        stated = self.config.columns
        if self.config.header != "auto":
            return self.config.header == "yes"
        if any(isinstance(place, str) for place in stated.values()):
            return True
        cells = [cell.casefold() for cell in first]
        return all(any(alias in cells for alias in _names(column.name)) for column in columns)

    def _by_header(self, header: Sequence[str], place: str, columns: Sequence[ColumnSpec]) -> dict[str, int]:
        positions: dict[str, int] = {}
        for name in (column.name for column in columns):
            found = self._find(name, header)
            if len(found) > 1:
                twice = header[found[0]]
                raise DataError(f"{place}: `{name}` must be one column, but {twice!r} is there twice")
            if found:
                positions[name] = found[0]
            else:
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


def _bad_widths(table: Cells, width: int) -> dict[int, str]:
    """Say by line number what is wrong with rows that have too few or too many cells."""
    bad: dict[int, str] = {}
    unfit = table.cells.list.len() != width
    for number, row in zip(table.numbers.filter(unfit), table.cells.filter(unfit), strict=True):
        found = f"has {_columns(len(row))}" if any(cell.strip() for cell in row) else "is blank"
        bad[number] = f"a row must have {_columns(width)}, but {found}"
    return bad


def _other_cells(table: Cells, layout: Layout) -> pl.DataFrame:
    """The columns that are not read, by the header's names, or by position without one."""
    others: dict[str, pl.Series] = {}
    for at in range(layout.width):
        name = layout.names[at] if layout.names else str(at)
        if at not in layout.positions.values():
            others[name if name and name not in others else str(at)] = table.column(at)
    return pl.DataFrame(others)


def typed_cells(
    cells: pl.Series, column: ColumnSpec, list_separator: str
) -> tuple[pl.Series, Mapping[int, str]]:
    """Return the cells as values of the column's type, null where they are none, and what is wrong
    with them by place."""
    filled = pl.select(pl.when(cells != "").then(cells)).to_series()
    name, type_ = column.name, column.type
    wrong: dict[int, str] = {}
    if not column.may_be_empty:
        wrong = dict.fromkeys((cells == "").arg_true(), f"`{name}` must not be empty")
    if type_ is ColumnType.TEXT:
        return filled, wrong
    if type_ in LISTS:
        items = filled.str.split(list_separator)
        values = items.list.eval(_typed(pl.element().str.strip_chars(), type_))
        failed = values.list.eval(pl.element().is_null()).list.any()
    else:
        values = pl.select(_typed(pl.lit(filled), type_)).to_series()
        failed = values.is_null() & filled.is_not_null()
    for place in failed.fill_null(False).arg_true():
        wrong[place] = f"`{name}` must be {type_.value}, but is {cells[place]!r}"
    return values, wrong


def _typed(text: pl.Expr, type_: ColumnType) -> pl.Expr:
    """Text as values of a type, or of a list's items; null where it is none."""
    if type_ is ColumnType.TEXTS:
        return pl.when(text != "").then(text)
    if type_ is ColumnType.FLOAT:
        number = text.cast(pl.Float64, strict=False)
        return pl.when(number.is_finite()).then(number)
    return pl.when(text.str.contains(NUMBER)).then(text.cast(pl.Int64, strict=False))


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


def _check_columns(stated: Iterable[str], asked: Sequence[ColumnSpec], source: str) -> None:
    """Refuse a column in the config that the task does not read: it would be ignored in silence."""
    names = [column.name for column in asked]
    for name in stated:
        if name not in names:
            raise DataError(
                f"{source}: `columns` must name what the task reads, {_named(names)}, but names `{name}`"
            )
