"""Files as lines of text, and messages about bad lines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Self

import polars as pl
from attrs import Factory, define, frozen

from mtl import DataError
from mtl_text.streams import open_text

BLOCK_BYTES = 16 * 2**20
"""Bytes of a file that are read at once, before the rest of the last line. Their words as columns take about
twenty times as much memory for a while."""

_BYTE_ORDER_MARKS = (b"\xef\xbb\xbf", "\ufeff".encode().decode("cp1252").encode())
"""That of UTF-8, and what it becomes if a program took it for text, `\u00ef\u00bb\u00bf`."""
_SHOWN = 5
_NOT_UTF_8 = "text must be UTF-8"
SAMPLES = 100
"""Bad lines of which a common cause is looked for."""


@frozen(eq=False)
class Lines:
    """Lines of a file, without line ends; blank ones at their end are left out.

    `texts[i]` (`str`) is line `first + i`; `bad` says by line number why a line is not text.
    """

    source: str
    texts: pl.Series
    bad: Mapping[int, str]
    first: int = 1

    @property
    def last(self) -> int:
        """The number of the last line; 0 if the file has none."""
        return self.first + len(self.texts) - 1


def read_lines(path: Path, encoding: str = "utf-8") -> Lines:
    """Return all lines of a file. Raises as `open_text`."""
    with open_text(path, encoding) as file:
        return split_lines(file.read(), str(path))


@frozen
class Blocks:
    """The lines of a file, a block at a time; each iteration reads it anew. Raises as `open_text`."""

    path: Path
    encoding: str

    def __iter__(self) -> Iterator[Lines]:
        first = 1
        with open_text(self.path, self.encoding) as file:
            while block := file.read(BLOCK_BYTES):
                block += file.readline()
                yield split_lines(block, str(self.path), first)
                first += block.count(b"\n")


def read_blocks(path: Path, encoding: str = "utf-8") -> Iterable[Lines]:
    """Return the lines of a file, a block at a time, to be iterated any number of times. Raises as
    `open_text`."""
    with open_text(path, encoding) as file:
        data = file.read(BLOCK_BYTES + 1)
    return [split_lines(data, str(path))] if len(data) <= BLOCK_BYTES else Blocks(path, encoding)


def split_lines(data: bytes, source: str, first: int = 1) -> Lines:
    """Return the lines of UTF-8 text, which end with LF or CR LF, numbered from `first`; a byte order mark
    before line 1 is left out."""
    if first == 1:
        for mark in _BYTE_ORDER_MARKS:
            data = data.removeprefix(mark)
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


def with_blank_lines(lines: Lines, end: int) -> Lines:
    """Return the lines with blank ones after them, up to the line before `end`."""
    blank = pl.Series([""], dtype=pl.String).new_from_index(0, end - lines.last - 1)
    return Lines(lines.source, pl.concat([lines.texts, blank]), lines.bad, lines.first)


def join_lines(lines: Lines, following: Lines) -> Lines:
    """Return the lines of two blocks, one right after the other, as one block."""
    texts = pl.concat([lines.texts, following.texts])
    return Lines(lines.source, texts, {**lines.bad, **following.bad}, lines.first)


def divide_lines(lines: Lines, count: int) -> tuple[Lines, Lines]:
    """Return the first `count` lines, and the others."""
    first = lines.first + count
    return (
        Lines(lines.source, lines.texts.head(count), _from(lines.bad, lines.first, first), lines.first),
        Lines(lines.source, lines.texts.slice(count), _from(lines.bad, first, lines.last + 1), first),
    )


def _from(bad: Mapping[int, str], first: int, end: int) -> dict[int, str]:
    return {number: why for number, why in bad.items() if first <= number < end}


def without_long_lines(lines: Lines, longest: int) -> Lines:
    """Return the same lines; those with more than `longest` characters become bad, and empty."""
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
        bad[number] = f"{_NOT_UTF_8}, but byte {error.start + 1} of the line is not"
        return ""


class At(str):
    """What is wrong with a line, and the character of the line, from 1, where it is."""

    character: int

    def __new__(cls, why: str, character: int) -> Self:
        """Put a reason at a character."""
        made = super().__new__(cls, why)
        made.character = character
        return made


@define
class BadLines:
    """The bad lines of a file: how many there are, and what is wrong with the first, by number.

    `samples` are the texts of the first; `undecodable` counts those that are not UTF-8, `foreign` the good
    lines with characters beyond ASCII.
    """

    source: str
    count: int = 0
    first: dict[int, str] = Factory(dict)
    samples: list[str] = Factory(list)
    undecodable: int = 0
    foreign: int = 0

    def add(self, bad: Mapping[int, str], lines: Lines) -> None:
        """Add the bad lines of the next block."""
        self.count += len(bad)
        for number in sorted(bad)[: SAMPLES - len(self.samples)]:
            self.samples.append(lines.texts[number - lines.first])
        for number in sorted(bad)[: _SHOWN - len(self.first)]:
            self.first[number] = bad[number]
        self.undecodable += sum(why.startswith(_NOT_UTF_8) for why in lines.bad.values())
        self.foreign += int((lines.texts.str.len_bytes() != lines.texts.str.len_chars()).sum())

    @property
    def described(self) -> list[str]:
        """The first of them, as "line 3: what is wrong"."""
        return [
            f"line {number}{f', character {why.character}' if isinstance(why, At) else ''}: {why}"
            for number, why in self.first.items()
        ]

    def error(self, total: int, hint: str = "", cause: str = "") -> DataError:
        """Return one error about all of them, in a file of so many lines.

        A `cause` that they have in common comes first, with one line as an example of it.
        """
        share = f"{self.count:,} of {total:,} lines are bad"
        if cause:
            return DataError(f"{self.source}: {cause} ({share}; {self.described[0]})")
        shown = [
            f"{self.source}:{number}{f':{why.character}' if isinstance(why, At) else ''}: {why}"
            for number, why in self.first.items()
        ]
        return DataError("\n".join([*shown, f"{self.source}: {share}" + (f"; {hint}" if hint else "")]))


def bad_lines(lines: Lines, bad: Mapping[int, str]) -> BadLines:
    """Return the bad ones of these lines alone."""
    found = BadLines(lines.source)
    found.add(bad, lines)
    return found
