"""Prepared rows of a split, a piece at a time: a corpus may be larger than memory."""

from __future__ import annotations

import contextlib
import itertools
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import polars as pl
from attrs import define, field, frozen

from mtl.components import ColumnSpec, DataSource, Table, Task
from mtl.data.given import given_table
from mtl.errors import DataError, component_errors
from mtl.fields import TablePath

SKIPPED_SHOWN = 5
"""Bad rows of a file that are described."""
SMALL_BYTES = 16 * 2**20
"""A piece smaller than this is joined with the file that follows it."""
PREFIX = ".scratch-"


@define(eq=False)
class Scratch:
    """A folder for what does not fit into memory, made when it is first needed and removed at the end.

    It lies below `parent`, or among the system's temporary files if there is no parent that can be
    written to. Files that are mapped stay readable until the process ends.
    """

    parent: Path | None = None
    _folder: Path | None = field(init=False, default=None)
    _numbers: Iterator[int] = field(init=False, factory=itertools.count)

    def new(self) -> Path:
        """Return a new path in the folder."""
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
    """The rows of a split's files as its task wants them: a frame for each piece, at least one.

    The last piece, for most files the only one, stays in memory; iterating reads the others from
    `scratch`. `path` names the files; `rows` and `skipped` count the rows of all tables and the bad rows
    left out of them, `skipped_first` and `notices` are those of the tables.
    """

    path: str
    scratch: Scratch
    rows: int = field(init=False, default=0)
    skipped: int = field(init=False, default=0)
    skipped_first: Sequence[str] = field(init=False, default=())
    notices: Sequence[str] = field(init=False, default=())
    stored: list[Path] = field(init=False, factory=list)
    last: pl.DataFrame = field(init=False, factory=pl.DataFrame)
    _last_words: dict[str, pl.Series] = field(init=False, factory=dict)

    def add(self, table: Table, frame: pl.DataFrame, *, starts_file: bool = False) -> None:
        """Add the next piece; the start of a further file joins a small piece before it."""
        self.rows += len(table.frame)
        self.skipped += table.skipped
        self.skipped_first = [*self.skipped_first, *table.skipped_first][:SKIPPED_SHOWN]
        self.notices = [*dict.fromkeys([*self.notices, *table.notices])]
        if self.last.is_empty():
            self.last = frame
        elif starts_file and self.last.estimated_size() < SMALL_BYTES:
            self.last = pl.concat([self.last, frame])
        elif not frame.is_empty():
            path = self.scratch.new()
            self.last.write_ipc(path, compression="lz4")
            self.stored.append(path)
            self.last = frame
        self._last_words = {}

    def __iter__(self) -> Iterator[pl.DataFrame]:
        for path in self.stored:
            yield pl.read_ipc(path)
        yield self.last

    @property
    def is_whole(self) -> bool:
        """Whether there is one piece only."""
        return not self.stored

    def words(self, frame: pl.DataFrame, text: str) -> pl.Series:
        """Return a text column of a piece: of the one in memory the same object each time, so that a
        featurizer recognises what it has seen."""
        if frame is not self.last:
            return frame[text]
        if text not in self._last_words:
            self._last_words[text] = frame[text]
        return self._last_words[text]


@frozen(eq=False)
class Corpus:
    """All texts of prepared rows (`list[str]` of words per row), a piece at a time; may be iterated
    several times."""

    file: PreparedFile
    texts: Sequence[str]

    def __iter__(self) -> Iterator[pl.Series]:
        for path in self.file.stored:
            yield from pl.read_ipc(path, columns=list(self.texts)).select(self.texts)
        yield from (self.file.words(self.file.last, text) for text in self.texts)


@frozen(eq=False)
class Piece:
    """A table of one of several files, the first of its file or a following one."""

    path: Any
    table: Table
    starts_file: bool


def file_tables(
    source: DataSource[Any], paths: Sequence[Any], columns: Sequence[ColumnSpec]
) -> Iterator[Piece]:
    """Yield the tables of files. Raises `DataError` for a file that cannot be used."""
    for path in paths:
        if isinstance(path, TablePath):
            yield Piece(path, given_table(path, columns, source.config), starts_file=True)
            continue
        starts_file = True
        with component_errors(source, f"to read {path}"):
            tables = iter(source.pieces(path, columns))
            table: Table | None = next(tables)
        while table is not None:
            yield Piece(path, table, starts_file)
            starts_file = False
            with component_errors(source, f"to read {path}"):
                table = next(tables, None)


def files_name(paths: Sequence[Any]) -> str:
    """Return what messages call some files."""
    more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
    return f"{paths[0]}{more}"


def prepare_files(
    source: DataSource[Any], task: Task[Any], paths: Sequence[Path], scratch: Scratch
) -> PreparedFile:
    """Return the rows of files as the task wants them.

    Raises `DataError` for a file that cannot be used, and when more bad rows were left out than the
    source's config allows.
    """
    prepared = PreparedFile(files_name(paths), scratch)
    for piece in file_tables(source, paths, task.config.columns):
        prepare_piece(prepared, task, piece)
    check_skipped(task, prepared.path, [prepared])
    return prepared


def prepare_piece(prepared: PreparedFile, task: Task[Any], piece: Piece) -> None:
    """Add the rows of a table as the task wants them."""
    with component_errors(task, f"to prepare {piece.path}"):
        frame = task.prepare(piece.table)
    prepared.add(piece.table, frame, starts_file=piece.starts_file)


def check_skipped(task: Task[Any], path: str, splits: Iterable[PreparedFile]) -> None:
    """Raise `DataError` if too many rows of some files, all of whose rows are in `splits`, are bad."""
    allowed = task.config.data.config.max_skipped_share
    files = list(splits)
    skipped = sum(file.skipped for file in files)
    total = skipped + sum(file.rows for file in files)
    if skipped > allowed * total:
        raise DataError(
            "\n".join(
                [
                    f"{path}: `max_skipped_share` allows {allowed:.2%} of the rows to be skipped, but"
                    f" {skipped:,} of {total:,} are bad ({skipped / total:.2%})",
                    *(said for file in files for said in file.skipped_first),
                ]
            )
        )
