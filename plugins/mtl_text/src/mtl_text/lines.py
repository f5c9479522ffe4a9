"""Files as lines of text, and what is said about bad ones."""

from __future__ import annotations

import stat
from collections.abc import Mapping
from pathlib import Path

from attrs import frozen

from mtl import DataError

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_SHOWN = 5


@frozen
class Lines:
    """The lines of a file, without line ends; blank ones at the end of the file are left out.

    `texts[i]` is line `i + 1`; `bad` says by index why a line is no text.
    """

    source: str
    texts: list[str]
    bad: Mapping[int, str]


def read_bytes(path: Path) -> bytes:
    """A file's bytes. Raises `DataError` for what is missing, unreadable or no regular file."""
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            kind = "a folder" if stat.S_ISDIR(mode) else "no regular file"
            raise DataError(f"{path}: must be a file, but is {kind}")
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: must be a file that can be read, but: {error.strerror or error}") from error


def split_lines(data: bytes, source: str) -> Lines:
    """The lines of UTF-8 text, which end with LF or CR LF; a byte order mark is left out."""
    data = data.removeprefix(_BYTE_ORDER_MARK)
    bad: dict[int, str] = {}
    try:
        texts = data.decode().split("\n")
    except UnicodeDecodeError:
        texts = [_decode(line, index, bad) for index, line in enumerate(data.split(b"\n"))]
    if b"\r" in data:
        texts = [text.removesuffix("\r") for text in texts]
    if b"\0" in data:
        for index, text in enumerate(texts):
            if "\0" in text:
                bad[index] = f"text must not hold NUL, but character {text.index(chr(0)) + 1} is one"
    while texts and not texts[-1].strip(" ") and len(texts) - 1 not in bad:
        texts.pop()
    return Lines(source, texts, bad)


def without_long_lines(lines: Lines, longest: int) -> Lines:
    """The same lines; those with more than `longest` characters are bad, and empty."""
    too_long = {index: len(text) for index, text in enumerate(lines.texts) if len(text) > longest}
    if not too_long:
        return lines
    texts = ["" if index in too_long else text for index, text in enumerate(lines.texts)]
    why = {
        index: f"a line must have at most {longest:,} characters, but has {length:,}"
        for index, length in too_long.items()
    }
    return Lines(lines.source, texts, {**why, **lines.bad})


def _decode(line: bytes, index: int, bad: dict[int, str]) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        bad[index] = f"text must be UTF-8, but byte {error.start + 1} of the line is not"
        return ""


def first_bad(bad: Mapping[int, str]) -> list[str]:
    """The first of the bad lines, as in "line 3: what is wrong"."""
    return [f"line {index + 1}: {bad[index]}" for index in sorted(bad)[:_SHOWN]]


def bad_lines(source: str, bad: Mapping[int, str], total: int, hint: str = "") -> DataError:
    """One error about all bad lines: the first of them by line, and how many there are."""
    shown = [f"{source}:{index + 1}: {bad[index]}" for index in sorted(bad)[:_SHOWN]]
    share = f"{len(bad):,} of {total:,} lines are bad"
    return DataError("\n".join([*shown, f"{source}: {share}" + (f"; {hint}" if hint else "")]))
