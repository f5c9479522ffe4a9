"""Prepared rows of a file, a piece at a time: a corpus may be larger than memory."""

from __future__ import annotations

import contextlib
import itertools
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import polars as pl
from attrs import define, field, frozen

from mtl.components import DataSource, Table, Task
from mtl.errors import component_errors

SKIPPED_SHOWN = 5
"""So many of a file's bad rows are described."""
PREFIX = ".scratch-"


@define(eq=False)
class Scratch:
    """A folder for what memory cannot hold, made when it is first needed and removed at the end: below
    `parent`, or, without one that can be written to, where the system has its temporary files.

    Files that are mapped by then stay readable, without a name, until the process ends.
    """

    parent: Path | None = None
    _folder: Path | None = field(init=False, default=None)
    _numbers: Iterator[int] = field(init=False, factory=itertools.count)

    def new(self) -> Path:
        """A path in the folder where nothing stands."""
        if self._folder is None:
            self._folder = self._make()
        return self._folder / str(next(self._numbers))

    def _make(self) -> Path:
        if self.parent is not None:
            with contextlib.suppress(OSError):  # a cache that cannot be written is no reason not to train
                self.parent.mkdir(parents=True, exist_ok=True)
                return Path(tempfile.mkdtemp(prefix=PREFIX, dir=self.parent))
        return Path(tempfile.mkdtemp(prefix=f"mtl{PREFIX}"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)


@define(eq=False)
class PreparedFile:
    """The rows of a file as its task wants them: a frame for each piece that has rows, at least one.

    The last piece, of most files the only one, stays in memory; iterating reads the others anew from
    where `scratch` has them. `skipped` and `skipped_first` are those of all tables.
    """

    path: str
    scratch: Scratch
    skipped: int = field(init=False, default=0)
    skipped_first: Sequence[str] = field(init=False, default=())
    stored: list[Path] = field(init=False, factory=list)
    last: pl.DataFrame = field(init=False, factory=pl.DataFrame)
    _last_tokens: pl.Series | None = field(init=False, default=None)

    def add(self, table: Table, frame: pl.DataFrame) -> None:
        """Take in the next piece."""
        self.path = table.path
        self.skipped += table.skipped
        self.skipped_first = [*self.skipped_first, *table.skipped_first][:SKIPPED_SHOWN]
        if self.last.is_empty():
            self.last = frame
        elif not frame.is_empty():
            path = self.scratch.new()
            self.last.write_ipc(path, compression="lz4")
            self.stored.append(path)
            self.last = frame
        self._last_tokens = None

    def __iter__(self) -> Iterator[pl.DataFrame]:
        for path in self.stored:
            yield pl.read_ipc(path)
        yield self.last

    @property
    def is_whole(self) -> bool:
        """Whether there is one piece only."""
        return not self.stored

    @property
    def tokens(self) -> Tokens:
        """The column `tokens`, in the same pieces."""
        return Tokens(self)

    def tokens_of(self, frame: pl.DataFrame) -> pl.Series:
        """The column `tokens` of a piece: of the one in memory the same object each time, so that a
        featurizer that it is given again may know it."""
        if frame is not self.last:
            return frame["tokens"]
        if self._last_tokens is None:
            self._last_tokens = frame["tokens"]
        return self._last_tokens


@frozen(eq=False)
class Tokens:
    """The tokens of prepared rows (`list[str]` a row), a piece at a time, as often as one likes."""

    file: PreparedFile

    def __iter__(self) -> Iterator[pl.Series]:
        for path in self.file.stored:
            yield pl.read_ipc(path, columns=["tokens"])["tokens"]
        yield self.file.tokens_of(self.file.last)


def prepare_file(source: DataSource[Any], task: Task[Any], path: Path, scratch: Scratch) -> PreparedFile:
    """The rows of a file as the task wants them. Raises `DataError` for a file that cannot be used."""
    prepared = PreparedFile(str(path), scratch)
    with component_errors(source, f"to read {path}"):
        tables = iter(source.pieces(path, task.config.columns))
        table: Table | None = next(tables)
    while table is not None:
        with component_errors(task, f"to prepare {path}"):
            frame = task.prepare(table)
        prepared.add(table, frame)
        with component_errors(source, f"to read {path}"):
            table = next(tables, None)
    return prepared
