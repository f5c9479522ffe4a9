"""Tables for other programs: CSV and LaTeX."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any

_LATEX = {
    "\\": r"\textbackslash{}",
    "±": r"$\pm$",
    "<": "$<$",
    ">": "$>$",
    "Δ": r"$\Delta$",
    "∞": r"$\infty$",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}


class Latex(str):
    """A cell that is LaTeX already."""


def csv_table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return a table as CSV (RFC 4180, lines end with a line feed); None is an empty cell."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(["" if cell is None else cell for cell in row] for row in rows)
    return file.getvalue()


def latex_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, right: Iterable[str] = ()) -> str:
    """Return a table as a LaTeX `tabular` of the package booktabs, the columns in `right` aligned right."""
    numbers = set(right)
    alignment = "".join("r" if column in numbers else "l" for column in columns)
    lines = [rf"\begin{{tabular}}{{{alignment}}}", r"\toprule", _latex_row(columns), r"\midrule"]
    lines += [*map(_latex_row, rows), r"\bottomrule", r"\end{tabular}"]
    return "\n".join(lines) + "\n"


def _latex_row(cells: Iterable[Any]) -> str:
    return " & ".join(cell if isinstance(cell, Latex) else latex(cell) for cell in cells) + r" \\"


def latex(text: Any) -> str:
    """Return text for LaTeX, with its special characters escaped."""
    if text is None:
        return ""
    return "".join(_LATEX.get(character, character) for character in str(text).replace("\n", " "))
