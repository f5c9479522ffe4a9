"""Files as lines of text, and what is said about bad ones."""

from __future__ import annotations

import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import polars as pl
from attrs import Factory, define, frozen

from mtl import DataError

BLOCK_BYTES = 16 * 2**20
"""So much of a file is read at once, and the rest of its last line. Its words as columns take some
twenty times as much memory for a while."""

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_SHOWN = 5


@frozen(eq=False)
class Lines:
    """Lines of a file, without line ends; blank ones at their end are left out.

    `texts[i]` (`str`) is line `first + i`; `bad` says by line number why a line is no text.
    """

    source: str
    texts: pl.Series
    bad: Mapping[int, str]
    first: int = 1

    @property
    def last(self) -> int:
        """The number of the last line; 0 where a file has none."""
        return self.first + len(self.texts) - 1


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """A file to read. Raises `DataError` for what is missing, unreadable or no regular file."""
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            kind = "a folder" if stat.S_ISDIR(mode) else "no regular file"
            raise DataError(f"{path}: must be a file, but is {kind}")
        with path.open("rb") as file:
            yield file
    except OSError as error:
        raise DataError(f"{path}: must be a file that can be read, but: {error.strerror or error}") from error


def read_lines(path: Path) -> Lines:
    """All lines of a file. Raises `DataError` for what is missing, unreadable or no regular file."""
    with _opened(path) as file:
        return split_lines(file.read(), str(path))


@frozen
class Blocks:
    """The lines of a file, a block at a time; each iteration reads it anew. Raises as `read_lines`."""

    path: Path

    def __iter__(self) -> Iterator[Lines]:
        first = 1
        with _opened(self.path) as file:
            while block := file.read(BLOCK_BYTES):
                block += file.readline()
                yield split_lines(block, str(self.path), first)
                first += block.count(b"\n")


def read_blocks(path: Path) -> Iterable[Lines]:
    """The lines of a file, a block at a time, as often as one likes. Raises as `read_lines`."""
    with _opened(path):
        is_small = path.stat().st_size <= BLOCK_BYTES
    return [read_lines(path)] if is_small else Blocks(path)


def split_lines(data: bytes, source: str, first: int = 1) -> Lines:
    """The lines of UTF-8 text, which end with LF or CR LF, numbered from `first`; a byte order mark
    before line 1 is left out."""
    if first == 1:
        data = data.removeprefix(_BYTE_ORDER_MARK)
    bad: dict[int, str] = {}
    lines = data.split(b"\n")
    try:
        texts = pl.Series(lines, dtype=pl.Binary).cast(pl.String)
    except pl.exceptions.PolarsError:  # some are no UTF-8
        decoded = [_decode(line, number, bad) for number, line in enumerate(lines, first)]
        texts = pl.Series(decoded, dtype=pl.String)
    if b"\r" in data:
        texts = texts.str.strip_suffix("\r")
    if b"\0" in data:
        for place in texts.str.contains("\0", literal=True).arg_true():
            at = texts[place].index("\0") + 1
            bad[first + place] = f"text must not hold NUL, but character {at} is one"
    filled = (texts.str.strip_chars(" ") != "").arg_true()
    last = max([first - 1, *bad, *(first + place for place in filled[-1:])])
    return Lines(source, texts.head(last + 1 - first), bad, first)


def without_long_lines(lines: Lines, longest: int) -> Lines:
    """The same lines; those with more than `longest` characters are bad, and empty."""
    lengths = lines.texts.str.len_chars()
    too_long = lengths > longest
    if not too_long.any():
        return lines
    why = {
        lines.first + place: f"a line must have at most {longest:,} characters, but has {lengths[place]:,}"
        for place in too_long.arg_true()
    }
    texts = lines.texts.set(too_long, "")
    return Lines(lines.source, texts, {**why, **lines.bad}, lines.first)


def _decode(line: bytes, number: int, bad: dict[int, str]) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        bad[number] = f"text must be UTF-8, but byte {error.start + 1} of the line is not"
        return ""


@define
class BadLines:
    """The bad lines of a file: how many there are, and by number what is wrong with the first."""

    source: str
    count: int = 0
    first: dict[int, str] = Factory(dict)

    def add(self, bad: Mapping[int, str]) -> None:
        """Take in the bad lines of those that come next."""
        self.count += len(bad)
        for number in sorted(bad)[: _SHOWN - len(self.first)]:
            self.first[number] = bad[number]

    @property
    def described(self) -> list[str]:
        """The first of them, as in "line 3: what is wrong"."""
        return [f"line {number}: {why}" for number, why in self.first.items()]

    def error(self, total: int, hint: str = "") -> DataError:
        """One error about all of them, of a file of so many lines."""
        shown = [f"{self.source}:{number}: {why}" for number, why in self.first.items()]
        share = f"{self.count:,} of {total:,} lines are bad"
        return DataError("\n".join([*shown, f"{self.source}: {share}" + (f"; {hint}" if hint else "")]))


def bad_lines(lines: Lines, bad: Mapping[int, str]) -> BadLines:
    """The bad ones of these lines alone."""
    found = BadLines(lines.source)
    found.add(bad)
    return found
