"""Tables: rows of cells."""

from __future__ import annotations

import itertools
from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

import polars as pl
from attrs import frozen

from mtl import ColumnSpec, ColumnType, DataError
from mtl_text.data_config import TableConfig
from mtl_text.layouts import (
    LABEL,
    NUMBER,
    Labels,
    are_swapped,
    other_format,
)
from mtl_text.lines import At, Lines, bad_lines
from mtl_text.sources import (
    LineRows,
    LineSource,
    Reader,
    Wanted,
    as_names,
    check_columns,
    columns_notice,
    first_line,
    line_numbers,
    listed_names,
    names_in_file,
)

LISTS = (ColumnType.TEXTS, ColumnType.INTEGERS)


@frozen
class Cells:
    """The rows of a table that are not blank: the numbers of their lines, and their cells (`list[str]`)."""

    numbers: pl.Series
    cells: pl.Series

    @classmethod
    def of(cls, lines: Lines, split: Callable[[pl.Series], pl.Series]) -> Cells:
        """Return the cells of these lines, those of bad ones included; `split` turns text into cells."""
        texts, numbers = lines.texts, line_numbers(lines)
        is_there = (texts.str.strip_chars(" ") != "") | numbers.is_in(list(lines.bad))
        return cls(numbers.filter(is_there), split(texts.filter(is_there)))

    def without(self, number: int) -> Cells:
        """Return the cells of the other lines."""
        others = self.numbers != number
        return Cells(self.numbers.filter(others), self.cells.filter(others))

    def column(self, position: int) -> pl.Series:
        """Return the cells at a position, null if a line has too few."""
        return self.cells.list.get(position, null_on_oob=True).str.strip_chars()


Splitter = Callable[[Lines], Cells]
"""Splits lines into cells."""


@frozen
class Layout:
    """Where in the lines of a table the columns are, and how many cells a line must have.

    `header` is the number of the line that names the columns, as `names`; `name` that of one whose
    label looks as if it did. `rule` says what a row must have, if it is not just so many columns.
    """

    positions: Mapping[str, int]
    width: int
    split: Splitter
    header: int | None = None
    name: int | None = None
    names: Sequence[str] = ()
    rule: str = ""

    def notices(self, source: str) -> list[str]:
        """The notice about the columns that are not read."""
        names = self.names or [f"column {at}" for at in range(self.width)]
        unread = [names[at] for at in range(self.width) if at not in self.positions.values()]
        return columns_notice(source, {names[at]: name for name, at in self.positions.items()}, unread)


TableConfigT = TypeVar("TableConfigT", bound=TableConfig)


class TableSource(LineSource[TableConfigT]):
    """Rows of cells, with or without a header; blank lines are skipped."""

    @abstractmethod
    def _cells(self, lines: Lines) -> Cells:
        """Return the cells of the rows that begin in these lines, those of bad ones included."""

    @abstractmethod
    def _delimiter(self, lines: Lines) -> str:
        """Return the text between two cells."""

    def _other_layout(self, lines: Lines, wanted: Wanted) -> Layout | None:
        """Return the layout of a file that begins with these lines if it is not of cells, but can be read.

        Raises `DataError` if it is not a table and cannot be read.
        """
        if other := other_format(first_line(lines)[1], self._delimiter(lines)):
            raise DataError(f"{lines.source}: {other}")
        return None

    def _reader(self, blocks: Iterable[Lines], wanted: Wanted) -> Reader:
        layout = self._layout(blocks, wanted)
        notices = [] if wanted.for_inputs else layout.notices(next(iter(blocks)).source)
        return Reader(lambda lines: self._rows(lines, layout, wanted), notices)

    def _layout(self, blocks: Iterable[Lines], wanted: Wanted) -> Layout:
        lines = next(iter(blocks))
        source = lines.source
        check_columns(self.config.columns, wanted.columns, source)
        self._check_separators(wanted, lines)
        if (other := self._other_layout(lines, wanted)) is not None:
            return other
        table = self._cells(lines)
        place, header = int(table.numbers[0]), [cell.strip() for cell in table.cells[0]]
        if not self._has_header(header, wanted.columns):
            return self._plain_layout(blocks, wanted)
        if place in lines.bad:
            total = max(each.last for each in blocks)
            raise bad_lines(lines, {place: lines.bad[place]}).error(
                total, cause=self._cause(bad_lines(lines, lines.bad))
            )
        positions = self._by_header(header, f"{source}:{place}", wanted.read)
        return Layout(positions, len(header), self._cells, header=place, names=header)

    def _check_separators(self, wanted: Wanted, lines: Lines) -> None:
        """Refuse lists that end where the cell does."""
        lists = [column.name for column in wanted.read if column.type in LISTS]
        delimiter = self._delimiter(lines)
        if lists and self._ends_cells(self.config.list_separator, delimiter):
            raise DataError(
                f"{lines.source}: `list_separator` must not hold the `delimiter`, {delimiter!r}, as"
                f" {listed_names(lists)} is a list, but is {self.config.list_separator!r}"
            )

    def _ends_cells(self, separator: str, delimiter: str) -> bool:
        """Whether a separator of a list's items would end the cell."""
        return delimiter in separator

    # --- rows ----------------------------------------------------------------------------------------

    def _rows(self, lines: Lines, layout: Layout, wanted: Wanted) -> LineRows:
        table = layout.split(lines)
        if layout.header is not None and layout.header >= lines.first:
            table = table.without(layout.header)
        frame = pl.DataFrame({"line": table.numbers})
        bad: dict[int, str] = {}
        for column in wanted.read:
            position = layout.positions[column.name]
            values, wrong = typed_cells(table.column(position), column, self.config.list_separator)
            frame = frame.with_columns(values.alias(column.name))
            for place, why in wrong.items():
                character = self._character(table, place, position)
                bad[int(table.numbers[place])] = why if character is None else At(why, character)
        bad |= _bad_widths(table, layout) | {
            number: why for number, why in lines.bad.items() if number != layout.header
        }
        if layout.name is not None and layout.name >= lines.first and layout.name not in bad:
            is_denied = self.config.header == "no"
            bad[layout.name] = f"looks like a header: the label {frame[LABEL][0]!r} is on no other line; " + (
                "remove it, or name its columns in `columns`"
                if is_denied
                else 'name its columns in `columns`, or say `"header": "no"` if it is a row'
            )
        return LineRows(frame, bad, _other_cells(table, layout) if wanted.for_inputs else None)

    def _character(self, table: Cells, place: int, position: int) -> int | None:
        """Return where in its line a cell begins, from 1, if the cells tell."""
        return None

    # --- layouts -------------------------------------------------------------------------------------

    def _has_header(self, first: Sequence[str], columns: Sequence[ColumnSpec]) -> bool:
        """Whether the first line names the columns: the config says so, or it has a name of theirs."""
        stated = self.config.columns
        if self.config.header != "auto":
            return self.config.header == "yes"
        if any(isinstance(place, str) for place in stated.values()):
            return True
        cells = [cell.casefold() for cell in first]
        return any(alias in cells for column in columns for alias in names_in_file(column.name))

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
                at = (
                    f"at position {stated}"
                    if isinstance(stated, int)
                    else as_names(names_in_file(name, stated))
                )
                raise DataError(
                    f"{place}: `{name}` must be there, {at}, but the header has {listed_names(header)};"
                    " say with `columns` which it is"
                    + ("" if self.config.header == "yes" else ', or `"header": "no"` if it is a row')
                )
        return positions

    def _find(self, name: str, header: Sequence[str]) -> list[int]:
        """Return the positions of a column in a header."""
        place = self.config.columns.get(name)
        if isinstance(place, int):
            return [place] if place < len(header) else []
        for alias in names_in_file(name, place):
            folded = header if place else [cell.casefold() for cell in header]
            found = [at for at, cell in enumerate(folded) if cell == alias]
            if found:
                return found
        return []

    def _plain_layout(self, blocks: Iterable[Lines], wanted: Wanted) -> Layout:
        """Return the layout of a table without a header: the usual one of all of its lines."""
        names = [column.name for column in wanted.columns]
        positions = self._by_position(names)
        widths = Counter[int]()
        first: int | None = None
        labels: Labels | None = None
        for lines in blocks:
            table = self._cells(lines)
            good = table.cells.filter(~table.numbers.is_in(list(lines.bad)))
            widths.update(dict(good.list.len().value_counts().iter_rows()))
            first = first or int(table.numbers[0])
            if LABEL in positions and (labels is None or labels.is_alone):
                found = table.column(positions[LABEL])
                labels, found = (labels, found) if labels else (Labels(found[0]), found[1:])
                labels.add(found)
        usual = max((width for width, count in widths.items() if count == max(widths.values())), default=0)
        read = [column.name for column in wanted.read]
        if wanted.for_inputs and usual == len(read) < len(names):
            positions = self._by_position(read)  # the file has the input columns alone
        else:
            self._refuse_ambiguous(next(iter(blocks)), usual, wanted.columns)
            if wanted.for_inputs and usual == len(names) > len(read):
                self._refuse_other_text(next(iter(blocks)), positions, wanted.columns)
        kept = {name: positions[name] for name in read}
        width = max([usual, *(1 + at for at in kept.values())])
        is_name = labels is not None and LABEL in kept and labels.is_name(self.config.header)
        return Layout(kept, width, self._cells, name=first if is_name else None)

    def _by_position(self, names: Sequence[str]) -> dict[str, int]:
        """Return the stated positions; the other columns take those that are free, in order."""
        stated = {name: place for name, place in self.config.columns.items() if isinstance(place, int)}
        free: Iterator[int] = (at for at in itertools.count() if at not in stated.values())
        return {name: stated[name] if name in stated else next(free) for name in names}

    def _refuse_ambiguous(self, lines: Lines, width: int, columns: Sequence[ColumnSpec]) -> None:
        """Raise `DataError` if columns without a stated place could stand in several."""
        unstated = [column.name for column in columns if column.name not in self.config.columns]
        if not unstated:
            return
        names = [column.name for column in columns]
        positions = self._by_position(names)
        table = self._cells(lines)
        if width > len(names):
            places = ", ".join(f'"{name}": N' for name in names)
            row = ", ".join(f"{at}: {cell.strip()[:30]!r}" for at, cell in enumerate(table.cells[0]))
            raise DataError(
                f"{lines.source}: has {_columns(width)}, and no header with a name that the task reads,"
                f' {listed_names(names)}; set `"columns": {{{places}}}`, by position, or by the names'
                f" in the first line, which has {row}"
            )
        inputs = [column.name for column in columns if column.input and column.type is ColumnType.TEXT]
        targets = [column.name for column in columns if not column.input and column.type is ColumnType.TEXT]
        if len(columns) == 2 and inputs and targets and len(unstated) == 2:
            text, label = inputs[0], targets[0]
            texts, labels = table.column(positions[text]), table.column(positions[label])
            if are_swapped(texts, labels):
                right = f'{{"{text}": {positions[label]}, "{label}": {positions[text]}}}'
                as_is = f'{{"{text}": {positions[text]}, "{label}": {positions[label]}}}'
                raise DataError(
                    f"{lines.source}: has no header, and column {positions[text]} looks like `{label}`, with"
                    f" {texts.n_unique()} values such as {texts[0]!r}, not `{text}`; set"
                    f' `"columns": {right}`, or {as_is} if it is right'
                )

    def _refuse_other_text(
        self, lines: Lines, positions: Mapping[str, int], columns: Sequence[ColumnSpec]
    ) -> None:
        """Raise `DataError` if the text of rows to predict looks like what another column has.

        A file may have as many columns as the task, but others: an index and a text, say.
        """
        texts = [
            c.name
            for c in columns
            if c.input and c.type is ColumnType.TEXT and c.name not in self.config.columns
        ]
        if len(texts) != 1:
            return
        [text] = texts
        table = self._cells(lines)
        if table.column(positions[text]).str.contains(r"\s").any():
            return
        for column in columns:
            cells = table.column(positions[column.name])
            rows = cells[1:] if len(cells) > 1 else cells  # the first may be a header after all
            if not column.input and 2 * int(rows.str.contains(r"\s").sum()) > len(rows):
                names = " or ".join(f"`{name}`" for name in names_in_file(text))
                raise DataError(
                    f"{lines.source}: has no header with a name that the task reads, {names}, and column"
                    f" {positions[text]}, which would be `{text}`, has no spaces, but column"
                    f" {positions[column.name]} has; name the column in a header"
                )


def _bad_widths(table: Cells, layout: Layout) -> dict[int, str]:
    """Say by line number what is wrong with rows that have too few or too many cells."""
    bad: dict[int, str] = {}
    unfit = table.cells.list.len() != layout.width
    for number, row in zip(table.numbers.filter(unfit), table.cells.filter(unfit), strict=True):
        found = f"has {_columns(len(row))}" if any(cell.strip() for cell in row) else "this line is blank"
        bad[number] = layout.rule or f"a row must have {_columns(layout.width)}, but {found}"
    return bad


def _other_cells(table: Cells, layout: Layout) -> pl.DataFrame:
    """Return the columns that are not read, by the header's names, or by position without one."""
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
