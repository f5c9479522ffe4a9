"""Parquet and Arrow files, read lazily."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from mtl import DataError
from mtl_tasks.data_config import ParquetConfig
from mtl_tasks.frames import FrameSource, Piece, typed_pieces
from mtl_text.sources import Wanted

ROWS = 50_000
"""Rows of a piece."""
PARQUET, ARROW, STREAM = b"PAR1", b"ARROW1", b"\xff\xff\xff\xff"


class Parquet(FrameSource[ParquetConfig]):
    """A row per row of a Parquet or Arrow file."""

    def _pieces(self, path: Path, wanted: Wanted) -> Iterator[Piece]:
        try:
            rows = _scan(path)
            slices = (rows.slice(place, ROWS).collect() for place in itertools.count(0, ROWS))
            yield from typed_pieces(slices, rows.collect_schema(), self.config.columns, wanted, str(path))
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:  # it panics on some
            raise DataError(f"{path}: must be a whole Parquet or Arrow file, but: {error}") from None
        except OSError as error:
            raise DataError(f"{path}: must be a readable file, but: {error.strerror or error}") from error


def _scan(path: Path) -> pl.LazyFrame:
    with path.open("rb") as file:
        head = file.read(8)
    if head.startswith(PARQUET):
        return pl.scan_parquet(path, glob=False)
    if head.startswith(ARROW):
        return pl.scan_ipc(path, glob=False)
    if head.startswith(STREAM):
        return pl.read_ipc_stream(path).lazy()
    raise DataError(f"{path}: must be a Parquet or Arrow file, but begins with neither's mark")
