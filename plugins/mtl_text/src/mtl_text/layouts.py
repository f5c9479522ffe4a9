"""What the first lines of a table say about its layout."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence

import polars as pl
from attrs import Factory, define

LABEL = "label"

ROWS_THAT_TELL = 10
"""Rows that show which labels there are; fewer cannot tell a header from a row."""
MOST_LABELS = 100_000
"""A column with more different values than this does not hold labels."""
NUMBER = r"^[+-]?\d+$"
DELIMITERS = {"\t": "tabs", ",": "commas", ";": "semicolons", "|": "bars"}
FASTTEXT = r"^\s*((?:__label__\S+\s+)*__label__\S+)(?:\s+|$)"
"""The labels at the beginning of a line of fastText's format."""
QUOTED_CSV = "looks like quoted CSV: use the data source `CSV`"
QUOTED_SHARE = 0.9


@define
class Labels:
    """Whether the first line of a table is a header, judged by the labels of the others."""

    first: str | None
    others: int = 0
    is_alone: bool = True
    are_numbers: bool = True
    counts: Counter[str] = Factory(Counter)

    def add(self, labels: pl.Series) -> None:
        """Add the labels of the next lines."""
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
        """Return whether the first is the column's name, not a label.

        No other line has it, and it is `label`, or it is not a number and all others are, or each of the
        others occurs more than once.
        """
        if self.first is None or not self.others or not self.is_alone:
            return False
        if self.first.casefold() == LABEL:
            return True
        if self.are_numbers and not re.match(NUMBER, self.first):
            return True
        returning = self.others >= ROWS_THAT_TELL and len(self.counts) <= MOST_LABELS
        return header == "auto" and returning and min(self.counts.values()) > 1


def other_format(first: str, delimiter: str) -> str:
    """Return what a file looks like by its first line if it is not a table; nothing if it may be one."""
    if first.lstrip().startswith(("{", "[{")):
        try:
            json.loads(first)
        except (ValueError, RecursionError):
            return ""
        return "looks like JSON lines: use the data source `JSONL`"
    if re.match(r"\s*__label__\S", first):
        return (
            "looks like fastText lines (`__label__x text`), which are read as such if `delimiter`, `header`"
            " and `columns` are left out and the task reads a text and a label"
        )
    return ""


def is_quoted(column: pl.Series) -> bool:
    """Return whether the cells of a column stand in double quotes, as in CSV."""
    cells = column.drop_nulls()
    cells = cells.filter(cells != "")
    quoted = cells.str.starts_with('"') & cells.str.ends_with('"') & (cells.str.len_chars() > 1)
    return bool(len(cells)) and int(quoted.sum()) >= QUOTED_SHARE * len(cells)


def are_swapped(texts: pl.Series, labels: pl.Series) -> bool:
    """Return whether what should be texts looks like labels, and what should be labels like texts."""
    if len(texts) < 4 or texts.null_count() or labels.null_count():
        return False
    words = labels.str.count_matches(r"\S+")
    return (
        not texts.str.contains(r"\s").any()
        and 2 <= texts.n_unique() <= len(texts) / 2
        and labels.n_unique() * 2 > len(labels)
        and int(words.sum()) >= 2 * len(words)
    )


def common_cause(lines: Sequence[str], delimiter: str, *, have_few_cells: bool) -> str:
    """Return what most of these bad lines of a table have in common; nothing if nothing is known.

    `have_few_cells` says that they are bad for the number of their cells.
    """
    if not lines:
        return ""
    if 2 * sum(_has_quoted_cell(line, delimiter) for line in lines) >= len(lines):
        return QUOTED_CSV
    for other, name in DELIMITERS.items() if have_few_cells else ():
        if other != delimiter and 2 * sum(other in line and delimiter not in line for line in lines) > len(
            lines
        ):
            csv = ", or the data source `CSV` if cells may stand in quotes" if other == "," else ""
            return f'cells look separated by {name}: set `"delimiter": {json.dumps(other)}`{csv}'
    return ""


def _has_quoted_cell(line: str, delimiter: str) -> bool:
    """Return whether a cell begins or ends with a quote that does not both open and close it in this line's
    cells: a delimiter, or the end of the line, stands within quotes."""
    return any(
        cell.startswith('"') != (len(cell) > 1 and cell.endswith('"'))
        for cell in line.strip().split(delimiter)
    )
