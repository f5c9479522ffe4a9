"""Splits from one file: the rows that are held out of the training files.

Rows are drawn by a keyed hash of their group, so that a split is a function of the rows and the seed: it does
not depend on the order of the rows or on how a file comes in pieces. Of each row, two numbers are kept in
memory.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from attrs import evolve

from mtl.components import ColumnSpec, DataSource, DataSourceConfig, Split, Table, Task, TaskConfig
from mtl.components.instantiate import instantiate
from mtl.data.pieces import (
    Piece,
    PreparedFile,
    Scratch,
    check_skipped,
    file_tables,
    files_name,
    prepare_piece,
)
from mtl.errors import DataError

PLACES: Mapping[Split, int] = {"train": 0, "eval": 1, "test": 2}
KEPT_BYTES = 64 * 2**20
"""Tables smaller than this together are not read a second time."""
_BETWEEN_COLUMNS, _BETWEEN_ITEMS = "\x1e", "\x1f"


def split_seed(config: DataSourceConfig, seed: int) -> int:
    """Return the seed that divides the rows of a task in a run with this seed."""
    return seed if config.split_seed is None else config.split_seed


def prepare_divided(
    source: DataSource[Any], task: Task[Any], scratch: Scratch, seed: int
) -> dict[Split, PreparedFile]:
    """Return the rows of the training files, divided as the data source's config says.

    Raises `DataError` for a file that cannot be used, and for a split that gets no row.
    """
    paths = task.config.data.config.paths("train")
    splits = {split: PreparedFile(files_name(paths), scratch) for split in _splits(task.config.data.config)}
    for pieces in _divided(source, task.config, paths, seed):
        for split, piece in pieces.items():
            prepare_piece(splits[split], task, piece)
    check_skipped(task, files_name(paths), splits.values())
    return splits


def split_tables(config: TaskConfig, split: Split, seed: int) -> Iterator[Piece]:
    """Yield the tables of a split, of files of its own or held out of the training files."""
    source: DataSource[Any] = instantiate(config.data)
    data: DataSourceConfig = config.data.config
    if split in _splits(data):
        yield from (pieces[split] for pieces in _divided(source, config, data.paths("train"), seed))
    else:
        yield from file_tables(source, data.paths(split), config.columns)


def _splits(config: DataSourceConfig) -> list[Split]:
    """Return the splits that consist of rows of the training files."""
    if not config.is_divided:
        return []
    return ["train", *(split for split in PLACES if config.fraction(split) is not None)]


def _divided(
    source: DataSource[Any], config: TaskConfig, paths: Sequence[Any], seed: int
) -> Iterator[dict[Split, Piece]]:
    """Yield the tables of files, each divided into splits."""
    data: DataSourceConfig = config.data.config
    columns = _with_named(config)
    units: list[np.ndarray] = []
    strata: list[np.ndarray] = []
    kept: list[Piece] | None = []
    kept_bytes = 0
    unit_names = [data.group_by] if data.group_by else [column.name for column in config.input_columns]
    key = str(split_seed(data, seed)).encode()
    for piece in file_tables(source, paths, columns):
        frame = piece.table.frame
        units.append(_hashes(frame, unit_names, key))
        if data.stratify_by:
            strata.append(_hashes(frame, [data.stratify_by], key))
        kept_bytes += int(frame.estimated_size())
        if kept is not None and kept_bytes < KEPT_BYTES:
            kept.append(piece)
        else:
            kept = None
    places = _places(np.concatenate(units), np.concatenate(strata) if strata else None, data)
    _require_rows(data, places, files_name(paths))
    extra = [column.name for column in columns[len(config.columns) :]]
    start = 0
    for piece in file_tables(source, paths, columns) if kept is None else kept:
        rows = len(piece.table.frame)
        yield {
            split: evolve(piece, table=_part(piece.table, places[start : start + rows], split, extra))
            for split in _splits(data)
        }
        start += rows


def _with_named(config: TaskConfig) -> list[ColumnSpec]:
    """Return the columns of a task, and those that only the division of its rows reads."""
    data: DataSourceConfig = config.data.config
    columns = list(config.columns)
    for name in dict.fromkeys(filter(None, (data.stratify_by, data.group_by))):
        if all(column.name != name for column in config.columns):
            columns.append(ColumnSpec(name, input=False))
    return columns


def _part(table: Table, places: np.ndarray, split: Split, extra: Sequence[str]) -> Table:
    """Return the rows of a split; bad rows and notices are those of the training rows."""
    frame = table.frame.filter(pl.Series(places == PLACES[split])).drop(extra)
    if split == "train":
        return evolve(table, frame=frame)
    return Table(frame, table.path)


def _hashes(frame: pl.DataFrame, names: Sequence[str], key: bytes) -> np.ndarray:
    """Return a hash of what each row has in some columns, uint64 `[rows]`."""
    columns = [
        pl.col(name).cast(pl.List(pl.String)).list.join(_BETWEEN_ITEMS)
        if isinstance(frame.schema[name], pl.List)
        else pl.col(name).cast(pl.String)
        for name in names
    ]
    texts = frame.select(
        pl.concat_str([column.fill_null("") for column in columns], separator=_BETWEEN_COLUMNS)
    ).to_series()
    digests = b"".join(hashlib.blake2b(text.encode(), digest_size=8, key=key).digest() for text in texts)
    return np.frombuffer(digests, dtype="<u8")


def _places(units: np.ndarray, strata: np.ndarray | None, config: DataSourceConfig) -> np.ndarray:
    """Return the place of each row's split in `PLACES`, int8 `[rows]`.

    Units, which are not divided, stand in the order of their hashes within their stratum, each stratum being
    that of the unit's first row. Test rows come first, then the folds of evaluation rows.
    """
    _, first, unit_of, sizes = np.unique(units, return_index=True, return_inverse=True, return_counts=True)
    stratum = np.zeros(len(first), dtype=np.uint64) if strata is None else strata[first]
    order = np.argsort(stratum, kind="stable")
    before = np.cumsum(sizes[order]) - sizes[order]
    _, starts, of = np.unique(stratum[order], return_index=True, return_inverse=True)
    begin = before[starts] if len(starts) else np.zeros(0, dtype=np.int64)
    total = np.diff([*begin, len(units)])
    middle = before - begin[of] + sizes[order] / 2

    def end(share: float) -> np.ndarray:
        """Return how many rows of each stratum a share of all rows takes, rounded so that they add up."""
        until, since = (np.floor(rows * min(share, 1.0) + 0.5) for rows in (begin + total, begin))
        return np.asarray(until - since)

    test, evaluated = config.test_fraction or 0.0, config.eval_fraction or 0.0
    folds = np.maximum.accumulate([end(fold * evaluated) for fold in range(config.eval_fold + 2)])
    ends = np.minimum(end(test) + folds, total)
    placed = np.zeros(len(first), dtype=np.int8)
    placed[(middle > ends[-2][of]) & (middle <= ends[-1][of])] = PLACES["eval"]
    placed[middle <= end(test)[of]] = PLACES["test"]
    if strata is not None:
        placed[total[of] == 1] = PLACES["train"]
    of_unit = np.empty_like(placed)
    of_unit[order] = placed
    return of_unit[unit_of]


def _require_rows(config: DataSourceConfig, places: np.ndarray, path: str) -> None:
    for split in _splits(config):
        if len(places) and not (places == PLACES[split]).any():
            rows = "1 row" if len(places) == 1 else f"{len(places):,} rows"
            if split == "train":
                raise DataError(f"{path}: no row is left to train on: {rows} are held out")
            by = "" if config.group_by is None else f", grouped by `{config.group_by}`,"
            raise DataError(
                f"{path}: `{split}_fraction` must give at least one row, but {config.fraction(split):g} of"
                f" {rows}{by} gives none"
            )
