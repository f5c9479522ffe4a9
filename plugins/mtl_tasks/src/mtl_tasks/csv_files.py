"""Tables whose cells may stand in quotes: CSV as RFC 4180 has it."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import polars as pl
from attrs import frozen

from mtl import DataError
from mtl_tasks.data_config import CSVConfig
from mtl_text.layouts import DELIMITERS, other_format
from mtl_text.lines import BadLines, Lines, divide_lines
from mtl_text.sources import Regrouped, Wanted, first_line, names_in_file
from mtl_text.tables import Cells, Layout, TableSource

LONGEST_CELL = 1_000_000
"""Characters that a cell may have; a quote that is not closed would take the rest of the file."""
LINES_THAT_TELL = 200
"""Lines by which the delimiter is found."""
_QUOTE = "after a closing quote must come"


@frozen(eq=False, kw_only=True)
class Records(Lines):
    """Lines of CSV, and the records that begin in them: a row's first line, and its cells (`list[str]`)."""

    cells: Cells
    delimiter: str


@frozen
class Record:
    """The lines from `start` to `end`, counted from 0, and their cells, or what is wrong with them."""

    start: int
    end: int
    cells: Sequence[str]
    problem: str = ""
    is_open: bool = False
    """Whether the lines end within quotes."""


class CSV(TableSource[CSVConfig]):
    """A row per record; cells may stand in double quotes, and hold delimiters and line breaks there."""

    def _delimiter(self, lines: Lines) -> str:
        assert isinstance(lines, Records)
        return lines.delimiter

    def _cells(self, lines: Lines) -> Cells:
        assert isinstance(lines, Records)
        return lines.cells

    def _ends_cells(self, separator: str, delimiter: str) -> bool:
        return False  # a list may stand in quotes

    def _other_layout(self, lines: Lines, wanted: Wanted) -> Layout | None:
        if "fastText" in other_format(first_line(lines)[1], self._delimiter(lines)):
            raise DataError(f"{lines.source}: looks like fastText lines: use the data source `TSV`")
        return super()._other_layout(lines, wanted)

    def _whole_rows(self, blocks: Iterable[Lines], wanted: Wanted) -> Iterable[Lines]:
        lines = next(iter(blocks), None)
        if lines is None:
            return blocks
        csv.field_size_limit(max(csv.field_size_limit(), LONGEST_CELL))
        delimiter = self.config.delimiter or _find_delimiter(lines, wanted)
        return Regrouped(blocks, lambda lines, is_last: _cut(lines, delimiter, is_last=is_last))

    def _cause(self, found: BadLines) -> str:
        misquoted = sum(_QUOTE in why for why in found.first.values())
        if 2 * misquoted > len(found.first):
            return (
                "has quotes within cells: if they are part of the text, use the data source `TSV` with this"
                " `delimiter`"
            )
        return super()._cause(found)


def _cut(lines: Lines, delimiter: str, *, is_last: bool) -> tuple[Lines, Lines | None]:
    """Return the whole records of these lines, and the lines of a record that has not ended yet."""
    texts = lines.texts.to_list()
    numbers: list[int] = []
    rows: list[Sequence[str]] = []
    bad: dict[int, str] = {}
    count = len(texts)
    for record in _records(texts, delimiter, is_last=is_last):
        if record.is_open:
            count = record.start
            break
        number = lines.first + record.start
        problem = record.problem or _bad_line(lines, record)
        if problem:
            bad[number] = problem
        elif record.end == record.start + 1 and not texts[record.start].strip(" "):
            continue
        numbers.append(number)
        rows.append(record.cells)
    whole, rest = divide_lines(lines, count)
    cells = Cells(pl.Series(numbers, dtype=pl.Int64), pl.Series(rows, dtype=pl.List(pl.String)))
    records = Records(whole.source, whole.texts, bad, whole.first, cells=cells, delimiter=delimiter)
    return records, rest if len(rest.texts) else None


def _bad_line(lines: Lines, record: Record) -> str:
    """Return what is wrong with a line of a record, nothing if nothing is."""
    if not lines.bad:
        return ""
    for number in range(lines.first + record.start, lines.first + record.end):
        if number in lines.bad:
            where = "" if number == lines.first + record.start else f"line {number}: "
            return f"{where}{lines.bad[number]}"
    return ""


def _records(texts: Sequence[str], delimiter: str, *, is_last: bool) -> Iterator[Record]:
    """Yield the records of lines; if more lines follow, the last one may be open."""
    start = 0
    while start < len(texts):
        feed = _Feed(texts, start)
        reader = csv.reader(feed, delimiter=delimiter, strict=True)
        try:
            for cells in reader:
                yield Record(start, feed.place, cells)
                start = feed.place
        except csv.Error as error:
            if feed.is_empty and not is_last:
                yield Record(start, feed.place, (), is_open=True)
                return
            is_unclosed = feed.is_empty or "field limit" in str(error)
            end = start + 1 if is_unclosed else feed.place
            within = f"{LONGEST_CELL:,} characters" if not feed.is_empty else "the file"
            problem = (
                f"a quote is opened, but not closed within {within}"
                if is_unclosed
                else _said(error, delimiter)
            )
            yield Record(start, end, (), problem)
            start = end


class _Feed:
    """Lines for a reader, `place` being the next one."""

    def __init__(self, texts: Sequence[str], place: int) -> None:
        self.texts = texts
        self.place = place
        self.is_empty = False

    def __iter__(self) -> _Feed:
        return self

    def __next__(self) -> str:
        if self.place == len(self.texts):
            self.is_empty = True
            raise StopIteration
        self.place += 1
        return self.texts[self.place - 1] + "\n"


def _said(error: csv.Error, delimiter: str) -> str:
    if "expected after" in str(error):
        return (
            f"{_QUOTE} {json.dumps(delimiter)} or the end of the line; a quote within quotes is written twice"
        )
    if "new-line" in str(error):
        return "a carriage return must stand in quotes"
    return f"must be CSV, but: {error}"


def _find_delimiter(lines: Lines, wanted: Wanted) -> str:
    """Return the delimiter that gives the first row names of columns, or else most rows the same number of
    cells, more than one; a comma if none does."""
    texts = lines.texts.head(LINES_THAT_TELL).to_list()
    names = {name for column in wanted.columns for name in names_in_file(column.name)}

    def fit(delimiter: str) -> tuple[int, float, int]:
        is_last = len(texts) == len(lines.texts)
        records = [each for each in _records(texts, delimiter, is_last=is_last) if each.cells or each.problem]
        widths = Counter(len(record.cells) for record in records)
        width, count = max(widths.items(), key=lambda item: (item[1], item[0]), default=(0, 0))
        if width < 2:
            return 0, 0.0, 0
        first = {cell.strip().casefold() for cell in records[0].cells}
        return len(first & names), count / len(records), width

    fits = {delimiter: fit(delimiter) for delimiter in sorted(DELIMITERS, key=",".__ne__)}
    return max(fits, key=lambda delimiter: fits[delimiter])
