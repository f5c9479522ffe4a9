"""Word vectors from files: GloVe, fastText, word2vec and NumPy.

A file is read as a stream, since it may be larger than memory; only the vectors of wanted words are kept.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BufferedReader
from itertools import islice
from pathlib import Path
from typing import Any, cast

import numpy as np
from attrs import frozen

from mtl import DataError
from mtl_text.data_config import Normalization
from mtl_text.lines import read_lines
from mtl_text.streams import open_text

LONGEST_LINE = 2**20
LONGEST_WORD = 2**12
LARGEST_WIDTH = 2**14
HEADER = re.compile(rb"\s*(\d{1,12})\s+(\d{1,6})\s*\n")
"""First line of word2vec's and fastText's files: how many words, and how wide."""

Entry = tuple[str, Any]
"""A word, and its numbers in a form that depends on the format."""


@frozen(eq=False)
class VectorFile:
    """A file with a vector per word, `width` numbers wide.

    `words` are those of a NumPy array, whose rows have no names.
    """

    path: Path
    width: int
    is_binary: bool = False
    has_header: bool = False
    words: Sequence[str] | None = None

    @classmethod
    def open(cls, path: Path, word_list: Path | None) -> VectorFile:
        """Detect the format of a file; `word_list` names the words of a NumPy array, one per line.

        Raises `DataError` for a file that has no word vectors.
        """
        if path.suffix == ".npy":
            return cls._of_array(path, word_list)
        with open_text(path, "utf-8") as file:
            first = _line(file, path, 1)
            header = HEADER.fullmatch(first)
            if header is None:
                return cls(path, _width(first, path, 1))
            width, sample = int(header[2]), file.peek(LONGEST_WORD)[:LONGEST_WORD]
        if not 0 < width <= LARGEST_WIDTH:
            raise DataError(f"{path}:1: vectors must have 1 to {LARGEST_WIDTH:,} numbers, but have {width:,}")
        return cls(path, width, is_binary=not _is_text(sample), has_header=True)

    @classmethod
    def _of_array(cls, path: Path, word_list: Path | None) -> VectorFile:
        if word_list is None:
            raise DataError(
                f"{path}: a NumPy array must come with the words of its rows; set `vectors_words`"
            )
        lines = read_lines(word_list)
        words = lines.texts.str.split("\t").list.first().str.strip_chars().to_list()
        array = _array(path)
        if len(array) != len(words):
            raise DataError(
                f"{path}: must have a row for each of the {len(words):,} words of {word_list},"
                f" but has {len(array):,}"
            )
        return cls(path, array.shape[1], words=words)

    def first_words(self, count: int) -> list[str]:
        """Return the first words of the file, which are usually its most frequent."""
        return [word for word, _ in islice(self._entries(), count)]

    def vectors_of(
        self, words: Sequence[str], *, lowercase: bool, normalization: Normalization
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the vectors of some words, float32 `[words, width]`, and which of them the file has, bool.

        A word that is spelled alike counts before one that differs in case or form, and of those the first.
        Raises `DataError` for a damaged file.
        """
        place = {word: number for number, word in enumerate(words)}
        vectors = np.zeros((len(words), self.width), dtype=np.float32)
        rank = np.full(len(words), 2)  # 0: spelled alike, 1: after normalization, 2: not found
        for number, (word, given) in enumerate(self._entries(), 1):
            own, found = place.get(word), 0
            if own is None:
                form = _normalized(word, lowercase, normalization)
                own, found = (None, 0) if form is None else (place.get(form), 1)
            if own is None or rank[own] <= found:
                continue
            vector = self._vector(given, number)
            if vector is not None:
                vectors[own], rank[own] = vector, found
        return vectors, rank < 2

    def _entries(self) -> Iterator[Entry]:
        if self.words is not None:
            yield from zip(self.words, _array(self.path), strict=True)
        elif self.is_binary:
            yield from self._binary_entries()
        else:
            yield from self._text_entries()

    def _text_entries(self) -> Iterator[Entry]:
        with open_text(self.path, "utf-8") as file:
            number = 1
            while line := _line(file, self.path, number):
                if number > 1 or not self.has_header:
                    word, _, rest = line.rstrip().partition(b" ")
                    if not rest:
                        word, _, rest = line.rstrip().partition(b"\t")
                    yield word.decode("utf-8", "replace"), rest
                number += 1

    def _binary_entries(self) -> Iterator[Entry]:
        with _open_binary(self.path) as file:
            match = HEADER.fullmatch(file.readline(100))
            if match is None:
                raise DataError(f"{self.path}: must not be compressed, since it is binary; unpack it first")
            size, count = 4 * self.width, int(match[1])
            for number in range(1, count + 1):
                word = _binary_word(file, self.path, number)
                data = file.read(size)
                if len(data) < size:
                    raise DataError(
                        f"{self.path}: must have {count:,} vectors, but ends in number {number:,}"
                    )
                yield word, data

    def _vector(self, given: Any, number: int) -> np.ndarray | None:
        """Return the numbers of an entry; None if a text has others before them, so that the word has spaces.

        Raises `DataError` if they are not finite numbers.
        """
        where = (
            f"{self.path}:{number + self.has_header}" if not self.is_binary else f"{self.path}: {number:,}"
        )
        if isinstance(given, bytes) and not self.is_binary:
            parts = given.split()
            if len(parts) > self.width:
                return None
            try:
                vector = np.array(parts, dtype=np.float32)
            except ValueError:
                raise DataError(f"{where}: a word must be followed by numbers") from None
            if len(vector) != self.width:
                raise DataError(f"{where}: a vector must have {self.width} numbers, but has {len(vector)}")
        else:
            vector = np.frombuffer(given, dtype="<f4") if self.is_binary else np.asarray(given, np.float32)
        if not np.isfinite(vector).all():
            raise DataError(f"{where}: a vector must be finite, but has {vector[~np.isfinite(vector)][0]}")
        return vector


def _normalized(word: str, lowercase: bool, normalization: Normalization) -> str | None:
    """Return the form in which the vocabulary has a word; None if that is the word itself."""
    form = word
    if normalization != "none" and not word.isascii():
        form = unicodedata.normalize(normalization, word)
    form = form.lower() if lowercase else form
    return form if form != word else None


def _line(file: BufferedReader[Any], path: Path, number: int) -> bytes:
    line = file.readline(LONGEST_LINE)
    if len(line) == LONGEST_LINE:
        raise DataError(f"{path}:{number}: a line must have less than {LONGEST_LINE:,} bytes")
    return line


def _width(line: bytes, path: Path, number: int) -> int:
    """Return how many numbers follow the word of a line."""
    parts = line.split()
    count = 0
    while count < len(parts) - 1 and _is_number(parts[-1 - count]):
        count += 1
    if not 0 < count <= LARGEST_WIDTH:
        raise DataError(
            f"{path}:{number}: must have a word and its numbers, as files of GloVe, fastText and word2vec do"
        )
    return count


def _is_number(part: bytes) -> bool:
    try:
        float(part)
    except ValueError:
        return False
    return True


def _is_text(sample: bytes) -> bool:
    """Return whether the start of a file, after its header, is text: a word, then numbers."""
    numbers = sample.partition(b" ")[2].partition(b"\n")[0].split()[:3]
    return bool(numbers) and all(map(_is_number, numbers))


@contextmanager
def _open_binary(path: Path) -> Iterator[BufferedReader[Any]]:
    try:
        with path.open("rb") as file:
            yield cast("BufferedReader[Any]", file)
    except OSError as error:
        raise DataError(f"{path}: must be a readable file, but: {error.strerror or error}") from error


def _binary_word(file: BufferedReader[Any], path: Path, number: int) -> str:
    word = bytearray()
    while (byte := file.read(1)) != b" ":
        if not byte or len(word) == LONGEST_WORD:
            raise DataError(f"{path}: vector number {number:,} must follow a word and a space")
        if byte != b"\n" or word:
            word += byte
    return word.decode("utf-8", "replace")


def _array(path: Path) -> np.ndarray:
    """Return the array of a file, mapped into memory. Raises `DataError` if it is not a matrix of numbers."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError, SyntaxError) as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"{path}: must be an array that NumPy saved, but: {reason}") from error
    if not isinstance(array, np.ndarray) or array.ndim != 2 or array.dtype.kind != "f":
        raise DataError(f"{path}: must be a matrix of floats, a row for each word")
    if not 0 < array.shape[1] <= LARGEST_WIDTH:
        raise DataError(
            f"{path}: vectors must have 1 to {LARGEST_WIDTH:,} numbers, but have {array.shape[1]:,}"
        )
    return array
