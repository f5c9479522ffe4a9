"""Files as streams of UTF-8 text: decompressed, decoded, with LF at the ends of lines."""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import IO, Any, cast

from mtl import DataError

CHUNK_BYTES = 2**20
HEAD_BYTES = 4096
ZSTD_CHUNK_BYTES = 4096
"""Few, as each may hold 32,000 times as much."""
MAX_EXPANSION = 200
"""A compressed file may hold at most this many times its size; text rarely holds 50 times."""
EXPANSION_FLOOR = 64 * 2**20
"""Files that hold no more bytes than this are never refused for their expansion."""

BYTE_ORDER_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
"""In this order: the mark of UTF-32 begins with that of UTF-16."""
OTHER_FORMATS = {
    b"PAR1": "a Parquet file: use the data source `Parquet`",
    b"ARROW1": "an Arrow file: use a data source for Arrow, or convert it to JSON lines",
    b"SQLite format 3\0": "an SQLite database: export its rows as TSV or JSON lines",
    b"%PDF-": "a PDF file: extract its text first",
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": "an Excel workbook: save it as TSV or CSV",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive: unpack it first",
    b"Rar!": "a RAR archive: unpack it first",
}


@contextmanager
def open_text(path: Path, encoding: str) -> Iterator[BufferedReader[Any]]:
    """Open a file as UTF-8 text, whatever it is compressed with and encoded in.

    Raises `DataError` for a file that is missing, unreadable, not a regular file, damaged, not in
    `encoding` or not text.
    """
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            kind = "a folder" if stat.S_ISDIR(mode) else "a pipe or device"
            raise DataError(f"{path}: must be a regular file, but is {kind}")
        with BufferedReader(path.open("rb", buffering=0), CHUNK_BYTES) as file:
            yield as_text(file, path.stat().st_size, str(path), encoding)
    except OSError as error:
        raise DataError(f"{path}: must be a readable file, but: {error.strerror or error}") from error


def bytes_as_text(data: bytes, source: str, encoding: str) -> BufferedReader[Any]:
    """As `open_text`, from the bytes of a file, which messages call `source`."""
    return as_text(BufferedReader(io.BytesIO(data), CHUNK_BYTES), len(data), source, encoding)


def as_text(file: BufferedReader[Any], size: int, source: str, encoding: str) -> BufferedReader[Any]:
    """Return the text in a file of so many bytes, which messages call `source`, as UTF-8."""
    head = file.peek(CHUNK_BYTES)
    for magic, unpack in _UNPACK.items():
        if head.startswith(magic):
            file = _stream(_unpacked(unpack, magic, file, size, source))
            head = file.peek(CHUNK_BYTES)
            break
    _refuse_other_formats(head[:HEAD_BYTES], source, encoding)
    if codecs.lookup(encoding).name != "utf-8":
        if head.startswith(codecs.BOM_UTF8) and codecs.lookup(encoding).name != "utf-8-sig":
            raise DataError(
                f"{source}: must be {encoding}, but begins with the byte order mark of UTF-8;"
                " leave out `encoding`"
            )
        file = _stream(_recoded(file, source, encoding))
        head = file.peek(CHUNK_BYTES)
    if b"\n" not in head and b"\r" in head[:-1]:  # as classic Mac OS ended lines
        return _stream(chunk.replace(b"\r", b"\n") for chunk in _chunks(file))
    return file


def _refuse_other_formats(head: bytes, source: str, encoding: str) -> None:
    """Raise `DataError` for a file that is not text, or not in the stated encoding."""
    for magic, what in OTHER_FORMATS.items():
        if head.startswith(magic):
            raise DataError(f"{source}: must be text, but looks like {what}")
    if codecs.lookup(encoding).name == "utf-8":
        found = next((name for mark, name in BYTE_ORDER_MARKS.items() if head.startswith(mark)), None)
        found = found or _utf_16_without_mark(head)
        if found:
            raise DataError(
                f'{source}: must be UTF-8, but looks like {found.upper()}; set `"encoding": "{found}"`'
            )


def _utf_16_without_mark(head: bytes) -> str | None:
    """Of Latin text in UTF-16, every other byte is zero."""
    half = len(head) // 2
    even, odd = head[::2].count(0), head[1::2].count(0)
    if half < 10 or max(even, odd) < 0.8 * half or min(even, odd) > 0.05 * half:
        return None
    return "utf-16-be" if even > odd else "utf-16-le"


def _recoded(file: BufferedReader[Any], source: str, encoding: str) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder(encoding)()
    lines = 1
    try:
        for chunk in _chunks(file):
            text = decoder.decode(chunk).encode()
            lines += text.count(b"\n")
            yield text
        yield decoder.decode(b"", final=True).encode()
    except UnicodeError as error:
        raise DataError(f"{source}: must be {encoding}, but after line {lines:,} is not: {error}") from None


# --- compression -----------------------------------------------------------------------------------


def _unpack_zstd(file: IO[bytes]) -> Iterator[bytes]:
    """Yield the contents of the frames of a file; zstandard's own reader accepts a truncated
    file as complete. Raises `EOFError`, or `ValueError` for what is not in the format."""
    import zstandard  # only here, so that all other files are read without it

    packed = file.read(ZSTD_CHUNK_BYTES)
    while packed:
        frame = zstandard.ZstdDecompressor().decompressobj()
        while not frame.eof:
            if not packed:
                raise EOFError("it ends within a frame")
            try:
                yield frame.decompress(packed)
            except zstandard.ZstdError as error:
                raise ValueError(str(error)) from error
            packed = frame.unused_data or file.read(ZSTD_CHUNK_BYTES)


def _unzip(file: BufferedReader[Any]) -> IO[bytes]:
    archive = zipfile.ZipFile(file)
    names = [each.filename for each in archive.infolist() if not each.is_dir()]
    if "[Content_Types].xml" in names:
        raise ValueError("is an Excel workbook or the like; save it as TSV or CSV")
    names = [name for name in names if not name.startswith("__MACOSX/")]
    if len(names) != 1:
        raise ValueError(f"has {len(names)} files; unpack it and name the files that you need")
    return archive.open(names[0])


_UNPACK: Mapping[bytes, Callable[[BufferedReader[Any]], IO[bytes]]] = {
    b"\x1f\x8b": lambda file: cast(IO[bytes], gzip.GzipFile(fileobj=file)),
    b"\xfd7zXZ\0": lzma.LZMAFile,
    b"\x28\xb5\x2f\xfd": lambda file: _stream(_unpack_zstd(file)),
    b"BZh": bz2.BZ2File,
    b"PK\3\4": _unzip,
}
_NAMES = dict(zip(_UNPACK, ("gzip", "xz", "zstd", "bzip2", "zip"), strict=True))
_DAMAGED = (
    EOFError,
    OSError,
    RuntimeError,  # a password, and compression that zipfile does not know
    ValueError,
    lzma.LZMAError,
    zipfile.BadZipFile,
    zlib.error,
)


def _unpacked(
    unpack: Callable[[BufferedReader[Any]], IO[bytes]],
    magic: bytes,
    file: BufferedReader[Any],
    size: int,
    source: str,
) -> Iterator[bytes]:
    """Yield what a compressed file holds. Raises `DataError` if it is damaged, or holds far more than
    text does."""
    total = 0
    try:
        for chunk in _chunks(unpack(file)):
            total += len(chunk)
            if total > max(EXPANSION_FLOOR, MAX_EXPANSION * size):
                raise DataError(
                    f"{source}: must hold at most {MAX_EXPANSION} times its size, {size:,} bytes, but holds"
                    " more; unpack it yourself if this is intended"
                )
            yield chunk
    except _DAMAGED as error:
        raise DataError(f"{source}: must be a whole {_NAMES[magic]} file, but: {error}") from error


# --- streams of chunks -----------------------------------------------------------------------------


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    while chunk := file.read(CHUNK_BYTES):
        yield chunk


def _stream(chunks: Iterable[bytes]) -> BufferedReader[Any]:
    return BufferedReader(_Chunks(iter(chunks)), CHUNK_BYTES)


class _Chunks(io.RawIOBase):
    """A stream of chunks of bytes."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self.chunks = chunks
        self.rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while not self.rest:
            chunk = next(self.chunks, None)
            if chunk is None:
                return 0
            self.rest = memoryview(chunk)
        count = min(len(buffer), len(self.rest))
        buffer[:count] = self.rest[:count]
        self.rest = self.rest[count:]
        return count
