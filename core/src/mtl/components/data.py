"""Where rows come from: sources that read files, and datasets that can be fetched."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Generic, Literal, TypeVar

from attrs import frozen

from mtl.fields import InputPath, configclass, option

if TYPE_CHECKING:
    import polars as pl

ConfigT = TypeVar("ConfigT")

Split = Literal["train", "eval", "test"]


@configclass
class DataSourceConfig:
    """Where a task's rows are."""

    train_path: InputPath = option(help="Rows to train on.")
    eval_path: InputPath | None = option(None, "Rows that choose the best model.")
    test_path: InputPath | None = option(None, "Rows that are scored once, with the best model.")
    on_bad_row: Literal["error", "skip"] = option(
        "error", "A row that cannot be read ends the run, or is skipped and counted."
    )

    def path(self, split: Split) -> Path | None:
        """The file of a split, or None where the config names none."""
        paths: dict[str, Path | None] = {
            "train": self.train_path,
            "eval": self.eval_path,
            "test": self.test_path,
        }
        return paths[split]


@frozen
class Table:
    """Rows of one file, or of a piece of it.

    `frame` holds a column for each that the task asked for and `line`, the row's line number
    (from 1). `skipped` counts bad rows left out by the user's choice; `skipped_first` says of the
    first of them what is wrong, as in "line 3: a row must have 2 columns, but has 1 column".
    """

    frame: pl.DataFrame
    path: str
    skipped: int = 0
    skipped_first: Sequence[str] = ()


class DataSource(ABC, Generic[ConfigT]):
    """Reads files into tables."""

    def __init__(self, config: ConfigT) -> None:
        self.config = config

    @abstractmethod
    def read(self, path: Path, columns: Sequence[str], *, optional: Sequence[str] = ()) -> Table:
        """The rows of `path` with `columns` (all `str`), and those of `optional` that it has.

        Raises `DataError` with file, line and column for a row that cannot be read, unless the
        config says to skip.
        """

    def pieces(self, path: Path, columns: Sequence[str]) -> Iterator[Table]:
        """The rows of `read` as one table after the other, at least one: what training reads.

        A source whose files may be larger than memory gives them so. Line numbers go on from table to
        table, each counts its own bad rows, and the same errors are raised at the latest at the end.
        """
        yield self.read(path, columns)


@frozen
class Download:
    """One archive to fetch: addresses in the order to try, MD5, and the files to take from it,
    as {name in the archive: path below the base folder}. No more than `max_bytes` are taken from a server."""

    urls: tuple[str, ...]
    md5: str
    files: Mapping[str, str]
    max_bytes: int = 2**30


@configclass
class DatasetConfig:
    """A public dataset that `mtl data fetch` brings; it has no settings of its own."""


class Dataset(ABC):
    """A public dataset, and a small generated one in its format."""

    def __init__(self, config: DatasetConfig) -> None:
        self.config = config

    @abstractmethod
    def downloads(self) -> Sequence[Download]:
        """What `mtl data fetch NAME` brings."""

    def sample(self, seed: int) -> Mapping[str, str]:
        """Generated files in the dataset's format, {path below the folder: text}."""
        return {}
