"""Tables whose cells are separated by tabs, quotes being text."""

from __future__ import annotations

import polars as pl

from mtl import ColumnType, DataError
from mtl_text.data_config import TSVConfig
from mtl_text.layouts import FASTTEXT, QUOTED_CSV, common_cause, is_quoted, other_format
from mtl_text.lines import BadLines, Lines
from mtl_text.sources import Wanted, first_line
from mtl_text.tables import Cells, Layout, TableSource


class TSV(TableSource[TSVConfig]):
    """One row per line, with cells separated by tabs, with or without a header; blank lines are skipped."""

    def _delimiter(self, lines: Lines) -> str:
        return self.config.delimiter

    def _cells(self, lines: Lines) -> Cells:
        return Cells.of(lines, lambda texts: texts.str.split(self.config.delimiter))

    def _other_layout(self, lines: Lines, wanted: Wanted) -> Layout | None:
        is_fasttext = "fastText" in other_format(first_line(lines)[1], self.config.delimiter)
        if is_fasttext and self._reads_fasttext(wanted):
            return self._fasttext_layout(wanted)
        layout = super()._other_layout(lines, wanted)
        if self.config.quotes == "auto":
            _refuse_quotes(self._cells(lines), lines.source)
        return layout

    def _character(self, table: Cells, place: int, position: int) -> int:
        """Return where in its line a cell begins, from 1."""
        before = table.cells[place].head(position)
        return 1 + sum(len(cell) + len(self.config.delimiter) for cell in before)

    def _cause(self, found: BadLines) -> str:
        have_few_cells = any(why.startswith("a row must have") for why in found.first.values())
        return super()._cause(found) or common_cause(
            found.samples, self.config.delimiter, have_few_cells=have_few_cells
        )

    # --- fastText's format ---------------------------------------------------------------------------

    def _reads_fasttext(self, wanted: Wanted) -> bool:
        """Whether the settings allow lines in the format of fastText."""
        config = self.config
        kinds = [(column.input, column.type) for column in wanted.columns]
        return (
            config.delimiter == "\t"
            and config.header == "auto"
            and not config.columns
            and sorted(is_input for is_input, _ in kinds) == [False, True]
            and all(type_ is ColumnType.TEXT or (not i and type_ is ColumnType.TEXTS) for i, type_ in kinds)
        )

    def _fasttext_layout(self, wanted: Wanted) -> Layout:
        positions = {column.name: 1 if column.input else 0 for column in wanted.read}
        is_single = all(column.type is ColumnType.TEXT for column in wanted.columns)
        count = "one label" if is_single else "labels"
        return Layout(
            positions,
            2,
            lambda lines: Cells.of(lines, lambda texts: self._split_fasttext(texts, is_single=is_single)),
            names=("__label__", "text"),
            rule=f"a line of fastText must have {count}, as `__label__x`, and a text",
        )

    def _split_fasttext(self, texts: pl.Series, *, is_single: bool) -> pl.Series:
        """Split lines into labels, without their prefix, and text; what is missing is left out, and so are
        several labels if there must be one."""
        labels = texts.str.extract(FASTTEXT, 1).str.replace_all("__label__", "", literal=True)
        if is_single:
            labels = labels.set(labels.str.contains(r"\s").fill_null(False), None)
        labels = labels.str.replace_all(r"\s+", self.config.list_separator)
        text = texts.str.replace(FASTTEXT, "")
        cells = pl.concat_list("labels", "text").list.drop_nulls().alias("cells")
        return pl.DataFrame({"labels": labels, "text": text}).select(cells).to_series()


def _refuse_quotes(table: Cells, source: str) -> None:
    """Raise `DataError` for a table with a column in quotes, as CSV has them."""
    width = int(table.cells.list.len().max() or 0)  # type: ignore[arg-type]
    if any(is_quoted(table.column(at)) for at in range(width)):
        raise DataError(f'{source}: {QUOTED_CSV}, or set `"quotes": "text"` if quotes are part of the text')
