"""From a table to prepared rows."""

from __future__ import annotations

import polars as pl

from mtl import DataError, Features, Table
from mtl_tasks.config import DocumentTaskConfig


def prepare_texts(table: Table, config: DocumentTaskConfig, features: Features) -> pl.DataFrame:
    """Return the texts as words, the targets that the table has, `line` and `path`.

    Raises `DataError` for a text without a word.
    """
    targets = [target.name for target in config.targets if target.name in table.frame.columns]
    texts = [features.split(table.frame[name]).alias(name) for name in config.texts]
    frame = table.frame.select(*texts, *targets, "line", pl.lit(table.path).alias("path"))
    for name in config.texts:
        empty = frame.filter(pl.col(name).list.len() == 0)
        if len(empty):
            more = f"; {len(empty) - 1:,} more rows have none" if len(empty) > 1 else ""
            raise DataError(f"{table.path}:{empty['line'][0]}: `{name}` must have a word, but has none{more}")
    return frame
