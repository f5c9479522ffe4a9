"""Rules for data sources and datasets."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

import polars as pl
from attrs import frozen

from mtl.components import ColumnSpec, Dataset, DataSource, Table
from mtl.data.tables import DTYPES
from mtl.errors import DataError, UsageError
from mtl.testing.bench import Bench
from mtl.testing.checks import Failed, Skipped, rule

ODD_FILES = {
    "empty": b"",
    "one line feed": b"\n",
    "no line feed at the end": b"a good film\t1",
    "carriage returns": b"a good film\t1\r\na dull one\t0\r\n",
    "a byte order mark": b"\xef\xbb\xbfa good film\t1\n",
    "bytes that are no UTF-8": b"a g\xffod film\t1\na dull one\t0\n",
    "zero bytes": b"\x00\x00\n\x00",
    "an opened quote": b'a "good film\t1\na dull one\t0\n',
    "an opened bracket": b'{"text": "a\n{]\n',
    "a long line": b"word " * 20_000 + b"\t1\n",
}


@frozen(slots=False)
class SourceBench(Bench):
    """A data source, with the file that its settings name, if it is there, and the columns that it has."""

    columns: Sequence[ColumnSpec] = (ColumnSpec("text"),)

    @cached_property
    def source(self) -> DataSource[object]:
        """The source with its settings."""
        source = self.factory(self.config)
        if not isinstance(source, DataSource):
            raise Failed(f"the factory must give a DataSource, but gave {type(source).__name__}")
        return source

    @property
    def path(self) -> Path:
        """The file to read. Raises `Skipped` where there is none."""
        path: Path = self.config.paths("train")[0]
        if not path.is_file():
            raise Skipped("no file to read was given")
        return path


def _checked(table: Table, columns: Sequence[ColumnSpec], path: Path) -> pl.DataFrame:
    if not isinstance(table, Table):
        raise Failed(f"`read` must give a Table, but gives {type(table).__name__}")
    frame = table.frame
    names = [column.name for column in columns]
    missing = [name for name in (*names, "line") if name not in frame.columns]
    if missing:
        raise Failed(f"the table has no column `{missing[0]}`")
    for column in columns if len(frame) else ():
        cells = frame[column.name]
        if cells.dtype != DTYPES[column.type]:
            raise Failed(f"the column `{column.name}` must be {DTYPES[column.type]}, but is {cells.dtype}")
        if not column.may_be_empty and cells.null_count():
            raise Failed(f"the column `{column.name}` must not have nulls")
    if len(frame):
        lines = frame["line"].to_list()
        content = path.read_bytes()
        count = len(content) if b"\0" in content else content.count(b"\n") + 1
        if lines != sorted(set(lines)) or lines[0] < 1 or lines[-1] > count:
            raise Failed(f"`line` must count up within the file's {count} lines, but is {lines[:5]}")
    return frame


@rule("tasks take columns by name, and messages about a row give its `line`")
def reads_rows(bench: SourceBench) -> None:
    """It reads the columns asked for with their types and the line of each row, and the same twice."""
    table = bench.source.read(bench.path, bench.columns)
    frame = _checked(table, bench.columns, bench.path)
    if frame.is_empty():
        raise Failed("the file gives no rows")
    if not frame.equals(bench.source.read(bench.path, bench.columns).frame):
        raise Failed("reading the file twice gives different rows")


@rule("training reads large files in chunks")
def reads_pieces_alike(bench: SourceBench) -> None:
    """`pieces` returns tables that together are what `read` returns."""
    whole = bench.source.read(bench.path, bench.columns)
    pieces = list(bench.source.pieces(bench.path, bench.columns))
    for table in pieces:
        _checked(table, bench.columns, bench.path)
    columns = [*(column.name for column in bench.columns), "line"]
    if not pieces or not pl.concat([each.frame[columns] for each in pieces]).equals(whole.frame[columns]):
        raise Failed(f"{len(pieces)} tables do not have the {len(whole.frame)} rows of the file")


@rule("rows to predict have no targets")
def reads_inputs(bench: SourceBench) -> None:
    """`inputs` reads a file without its target columns, and returns one row in `others` for each."""
    tables = list(bench.source.inputs(bench.path, bench.columns))
    inputs = [column for column in bench.columns if column.input]
    for table in tables:
        frame = _checked(table, inputs, bench.path)
        if table.others is not None and table.others.width and len(table.others) != len(frame):
            raise Failed(f"`others` has {len(table.others)} rows for {len(frame)}")
    found = sum(len(table.frame) + len(table.bad) for table in tables)
    rows = len(bench.source.read(bench.path, bench.columns).frame)
    if not tables or found < rows:
        raise Failed(f"the file has {rows} rows, but {found} to predict")


@rule("a user must learn what is wrong with a file and where")
def survives_any_file(bench: SourceBench) -> None:
    """A damaged, empty or missing file gives a table, or a `DataError` that names it."""
    with TemporaryDirectory() as folder:
        for name, content in ODD_FILES.items():
            path = Path(folder, "odd")
            path.write_bytes(content)
            try:
                _checked(bench.source.read(path, bench.columns), bench.columns, path)
            except DataError as error:
                if str(path) not in str(error):
                    raise Failed(f"the error of a file with {name} does not name the file: {error}") from None
            except Failed as failed:
                raise Failed(f"of a file with {name}: {failed}") from None
            except Exception as error:
                raise Failed(f"a file with {name} raises {type(error).__name__}: {error}") from error
        try:
            bench.source.read(Path(folder, "missing"), bench.columns)
        except UsageError:
            return
        except Exception as error:
            raise Failed(f"a missing file raises {type(error).__name__}: {error}") from error
        raise Failed("reading a missing file raises no error")


@rule("nobody notices a row that is silently left out")
def skips_only_where_asked(bench: SourceBench) -> None:
    """With `on_bad_row` "skip", the rows are the same or fewer, and each skipped one is counted."""
    rows = bench.source.read(bench.path, bench.columns).frame
    lenient = bench.factory(bench.configured({**bench.settings, "on_bad_row": "skip"}).config)
    table = lenient.read(bench.path, bench.columns)
    if len(table.frame) + table.skipped != len(rows):
        raise Failed(
            f"of {len(rows)} good rows, {len(table.frame)} are read and {table.skipped} said to be skipped"
        )


@rule("`mtl data sample` must be reproducible")
def samples_alike(bench: Bench) -> None:
    """`sample` returns text by relative path, if anything, and the same for the same seed."""
    dataset = _dataset(bench)
    files = dataset.sample(0)
    if not files:
        return
    for path, text in files.items():
        _check_below(path)
        if not isinstance(text, str) or not text.strip():
            raise Failed(f"the sample's {path} is empty or not text")
    if dict(files) != dict(_dataset(bench).sample(0)):
        raise Failed("two samples of one seed differ")


@rule("`mtl data fetch` must verify what it writes and stay within the folder")
def says_what_it_downloads(bench: Bench) -> None:
    """Each download has web addresses, whole checksums if any, and relative paths without `..`."""
    for download in _dataset(bench).downloads():
        for url in download.urls:
            if urlsplit(url).scheme not in ("https", "http") or not urlsplit(url).netloc:
                raise Failed(f"{url!r} is not a web address")
        if not download.urls or not download.files:
            raise Failed("a download has no addresses, or no files")
        for kind, checksum, digits in (("MD5", download.md5, 32), ("SHA-256", download.sha256, 64)):
            if checksum and not re.fullmatch(f"[0-9a-f]{{{digits}}}", checksum):
                raise Failed(f"an {kind} has {digits} hexadecimal digits, unlike {checksum!r}")
        if not download.is_archive and len(download.files) != 1:
            raise Failed(f"{download.urls[0]} is no archive, but has {len(download.files)} files")
        for path in download.files.values():
            _check_below(path)


def _dataset(bench: Bench) -> Dataset:
    dataset = bench.factory(bench.config)
    if not isinstance(dataset, Dataset):
        raise Failed(f"the factory must give a Dataset, but gave {type(dataset).__name__}")
    return dataset


def _check_below(path: str) -> None:
    parts = PurePosixPath(path)
    if parts.is_absolute() or ".." in parts.parts or "\\" in path:
        raise Failed(f"{path!r} does not stay below the folder")


SOURCE = (reads_rows, reads_pieces_alike, reads_inputs, survives_any_file, skips_only_where_asked)
DATASET = (samples_alike, says_what_it_downloads)
