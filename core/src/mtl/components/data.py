"""Data: columns, sources that read them from files, and datasets that can be downloaded."""

from __future__ import annotations

import enum
import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, Self, TypeVar

from attrs import field, frozen

from mtl.errors import Problem
from mtl.fields import InputPaths, configclass, option

if TYPE_CHECKING:
    import polars as pl

ConfigT = TypeVar("ConfigT")

Split = Literal["train", "eval", "test"]
"""Rows to train on, to select the best model by, or to score it on once."""
HELD_OUT: tuple[Split, ...] = ("eval", "test")
"""The splits that may be rows of the training files."""


class ColumnType(enum.Enum):
    """The type of a column's cells, in words that fit a message."""

    TEXT = "a string"
    INTEGER = "an integer"
    FLOAT = "a number"
    TEXTS = "a list of strings"
    INTEGERS = "a list of integers"

    def holds(self, value: object) -> bool:
        """Return whether a Python value can stand in such a column; an integer is also a number."""
        if self in (ColumnType.TEXTS, ColumnType.INTEGERS):
            item = ColumnType.TEXT if self is ColumnType.TEXTS else ColumnType.INTEGER
            return isinstance(value, list) and all(map(item.holds, value))
        if self is ColumnType.TEXT:
            return isinstance(value, str)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        if isinstance(value, int) and abs(value) < 2**63:
            return True
        return self is ColumnType.FLOAT and isinstance(value, float) and math.isfinite(value)


@frozen
class ColumnSpec:
    """A column that a task reads.

    An `input` column is needed to predict; the others are targets. A column that `may_be_empty` has
    nulls for rows without a value; in any other, a row without a value is a bad row.
    """

    name: str
    type: ColumnType = ColumnType.TEXT
    input: bool = True
    may_be_empty: bool = False


@configclass
class DataSourceConfig:
    """The files of a task's splits.

    A source that reads something else, such as addresses on the web, overrides the three paths with
    options of other types; strings and lists of strings go to its `read` as they are.

    `endings` are those of the files that the source reads best, such as `.csv`; `mtl init` chooses by them.
    """

    endings: ClassVar[tuple[str, ...]] = ()

    train_path: InputPaths = option(help="Rows to train on: a path, a list of paths, or globs.")
    eval_path: InputPaths | None = option(None, "Rows that choose the best model.")
    test_path: InputPaths | None = option(None, "Rows that are scored once, with the best model.")
    eval_fraction: float | None = option(
        None,
        "Share of the rows of `train_path` that are held out to choose the best model, in place of"
        " `eval_path`.",
        above=0,
        below=1,
    )
    test_fraction: float | None = option(
        None,
        "Share of the rows of `train_path` that are held out and scored once, in place of `test_path`.",
        above=0,
        below=1,
    )
    eval_fold: int = option(
        0,
        "Which part of the size of `eval_fraction` is held out, from 0, as for cross-validation.",
        minimum=0,
    )
    stratify_by: str | None = option(
        None, "A column, such as `label`, of whose values each split gets its share."
    )
    group_by: str | None = option(
        None,
        "A column, such as an author's, whose rows of one value stay in one split; rows of equal texts do so"
        " if absent.",
    )
    split_seed: int | None = option(
        None, "Seed that draws the rows that are held out; the run's `seed` if absent.", minimum=0
    )
    on_bad_row: Literal["error", "skip"] = option(
        "error", "Whether a row that cannot be read ends the run or is skipped and counted."
    )
    max_skipped_share: float = option(
        0.05,
        'With `on_bad_row` "skip", the largest share of a split\'s rows that may be skipped.',
        minimum=0,
        maximum=1,
    )

    @property
    def column_types(self) -> frozenset[ColumnType]:
        """The types of column that the source can give."""
        return frozenset({ColumnType.TEXT})

    def paths(self, split: Split) -> tuple[Any, ...]:
        """Return the files of a split, none if the config names none."""
        paths: Any = {"train": self.train_path, "eval": self.eval_path, "test": self.test_path}[split]
        if paths is None:
            return ()
        return (paths,) if isinstance(paths, str) else tuple(paths)

    def fraction(self, split: Split) -> float | None:
        """Return the share of the training files' rows that a split takes, None if it takes none of them."""
        return {"train": None, "eval": self.eval_fraction, "test": self.test_fraction}[split]

    @property
    def is_divided(self) -> bool:
        """Whether rows of the training files are held out."""
        return self.eval_fraction is not None or self.test_fraction is not None

    def has(self, split: Split) -> bool:
        """Return whether there are rows for a split."""
        return bool(self.paths(split)) or self.fraction(split) is not None

    def check(self) -> Iterator[Problem]:
        """Find splits that contradict each other, with paths relative to this config."""
        for split in HELD_OUT:
            if self.fraction(split) is None:
                continue
            if self.paths(split):
                yield Problem(
                    f"{split}_fraction",
                    f"`{split}_fraction` takes rows of `train_path`, but `{split}_path` names a file",
                    "leave out one of the two",
                )
        yield from self._check_fractions()
        for split in HELD_OUT:
            if self.is_divided and set(self.paths(split)) & set(self.paths("train")):
                yield Problem(
                    f"{split}_path",
                    f"`{split}_path` must not name a file of `train_path`, whose rows are divided",
                    f"use `{split}_fraction`",
                )
        if not self.is_divided:
            for name in ("stratify_by", "group_by", "split_seed"):
                if getattr(self, name) is not None:
                    yield Problem(name, f"`{name}` needs `eval_fraction` or `test_fraction`")

    def _check_fractions(self) -> Iterator[Problem]:
        test, evaluated = self.test_fraction or 0.0, self.eval_fraction or 0.0
        if test + evaluated >= 1:
            yield Problem(
                "eval_fraction",
                "`eval_fraction` and `test_fraction` must leave rows to train on, but add up to"
                f" {test + evaluated:g}",
            )
        elif self.eval_fold and self.eval_fraction is None:
            yield Problem("eval_fold", "`eval_fold` needs an `eval_fraction`")
        elif test + (self.eval_fold + 1) * evaluated > 1 + 1e-9:
            folds = int((1 - test) / evaluated + 1e-9)
            yield Problem(
                "eval_fold",
                f"`eval_fold` must be below {folds}, the number of folds of an `eval_fraction` of"
                f" {evaluated:g}, but is {self.eval_fold}",
            )


@frozen
class Table:
    """Rows of one file, or of a piece of it.

    `frame` has the schema `mtl.table_schema(columns)`: `line`, the row's line number (from 1), and a
    column for each that the task asked for. `skipped` counts bad rows that were left
    out; `skipped_first` says what is wrong with the first of them, as in "line 3: a row must have 2
    columns, but has 1 column". `notices` say what a user should know about the file, such as the columns
    that are not read.

    A table of rows to predict has two things more. `others` are the file's other columns as text, by
    their names in the file, with a row for each row of `frame`. `bad` says by line number what is
    wrong with each row that was left out.
    """

    frame: pl.DataFrame
    path: str
    skipped: int = 0
    skipped_first: Sequence[str] = ()
    notices: Sequence[str] = ()
    others: pl.DataFrame | None = None
    bad: Mapping[int, str] = field(factory=dict)


class DataSource(ABC, Generic[ConfigT]):
    """Reads files into tables."""

    def __init__(self, config: ConfigT) -> None:
        self.config = config

    @abstractmethod
    def read(self, path: Any, columns: Sequence[ColumnSpec]) -> Table:
        """Return the rows of `path`, a path of the config's `paths`, with these columns.

        Raises `DataError` with file, line and column for a row that cannot be read, unless the
        config says to skip it.
        """

    def pieces(self, path: Any, columns: Sequence[ColumnSpec]) -> Iterator[Table]:
        """Yield the rows of `read` as a sequence of tables, at least one; training reads these.

        A source whose files may be larger than memory overrides this. Line numbers continue from
        table to table, each table counts its own bad rows, and the same errors are raised, at the
        latest at the end.
        """
        yield self.read(path, columns)

    def inputs(self, path: Any, columns: Sequence[ColumnSpec]) -> Iterator[Table]:
        """Yield rows to predict, as a sequence of tables, at least one.

        `columns` are all that the task reads; a table has only the input columns among them. A source
        that knows more of its files gives `Table.others`, target columns among them, and tells
        bad rows in `Table.bad`, whatever `on_bad_row` says, instead of raising `DataError` for them.
        """
        yield from self.pieces(path, [column for column in columns if column.input])


@frozen
class Download:
    """One archive or file to download: its addresses in the order to try, its MD5 or SHA-256, and the files
    to unpack, as {name in the archive: path below the base folder}.

    A name may be a pattern, such as `*/*-train.conllu`, that fits one file of the archive; a pattern in
    `optional` may fit none. A download that is no archive (`is_archive` false) has one file. With neither
    checksum, because none is published, users are told so, and the SHA-256 of what came. A server may send
    `size` bytes, or at most `max_bytes` if the size is not known.
    """

    urls: tuple[str, ...]
    md5: str = ""
    files: Mapping[str, str] = field(factory=dict)
    max_bytes: int = 2**30
    sha256: str = ""
    size: int | None = None
    is_archive: bool = True
    optional: Collection[str] = ()

    @property
    def checksum(self) -> str | None:
        """The checksum with its algorithm, as in `md5:9f81…`; None if none is published."""
        if self.sha256:
            return f"sha256:{self.sha256}"
        return f"md5:{self.md5}" if self.md5 else None

    @property
    def key(self) -> str:
        """What names the download in records: its checksum, or a hash of its first address."""
        return self.sha256 or self.md5 or hashlib.sha256(self.urls[0].encode()).hexdigest()


@configclass
class DatasetConfig:
    """A public dataset that `mtl data fetch` downloads."""

    @classmethod
    def named(cls, name: str) -> Self | None:
        """Return the config of the member `name` of a family of datasets; None if it is not one of it."""
        return None


class Dataset(ABC):
    """A public dataset, and a small generated one in its format."""

    def __init__(self, config: DatasetConfig) -> None:
        self.config = config

    @abstractmethod
    def downloads(self) -> Sequence[Download]:
        """Return what `mtl data fetch NAME` downloads."""

    def sample(self, seed: int) -> Mapping[str, str]:
        """Return generated files in the dataset's format, {path below the folder: text}."""
        return {}
