"""From a table to the rows of a document task."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from mtl import DataError, Features, Table
from mtl_text.documents.config import DocumentTaskConfig


def split_rows(table: Table, config: DocumentTaskConfig, features: Features) -> pl.DataFrame:
    """Return the texts as words, the targets that the table has, `line` and `path`."""
    targets = [column.name for column in config.columns if not column.input]
    given = [name for name in targets if name in table.frame.columns]
    texts = [features.split(table.frame[name]).alias(name) for name in config.texts]
    return table.frame.select(*texts, *given, "line", pl.lit(table.path).alias("path"))


def require_filled(frame: pl.DataFrame, texts: Sequence[str], label: str | None = None) -> None:
    """Raise `DataError` if a row has no word in a text, or an empty `label`."""
    is_empty = {name: pl.col(name).list.len() == 0 for name in texts}
    if label is not None and label in frame.columns:
        is_empty[label] = pl.col(label) == ""
    for name, empty in is_empty.items():
        rows = frame.filter(empty.fill_null(True))
        if len(rows):
            more = f", and so for {len(rows) - 1} more rows" if len(rows) > 1 else ""
            raise DataError(f"{rows['path'][0]}:{rows['line'][0]}: `{name}` must not be empty, but is{more}")
