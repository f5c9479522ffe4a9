"""What the rows of a split hold, before any task prepares them: texts, lengths, labels and odd characters."""

from __future__ import annotations

import hashlib
import html
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from statistics import median, quantiles
from typing import Any

import numpy as np
import polars as pl
from attrs import Factory, define

from mtl.components import ColumnSpec, ColumnType, Table, TaskConfig

LINES_NAMED = 5
"""Rows whose lines a finding names."""

_MISREAD = re.compile(
    "\u00c3[\u0080-\u00bf]|\u00c2[\u00a0-\u00bf]|\u00e2\u20ac|\u00ef\u00bb\u00bf|\u00f0\u0178"
)
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_INVISIBLE = re.compile("[\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff]")
_PRIVATE = re.compile("[\ue000-\uf8ff]")
_ENTITY = re.compile(r"&(#\d{2,6}|#x[0-9a-fA-F]{2,6}|[a-zA-Z]{2,8});")
_TAG = re.compile(r"</?(br|p|div|span|b|i|a|li|ul|td|tr|table|h[1-6])\b[^<>]*>", re.IGNORECASE)

ODD: Mapping[str, str] = {
    "replacement": "the replacement character U+FFFD: bytes that could not be decoded were lost",
    "misread": "characters such as `\u00c3\u00a9`: UTF-8 that was read as another encoding",
    "control": "control characters",
    "invisible": "invisible characters, such as zero-width spaces or marks of direction",
    "private": "characters of a private use area, which have no meaning of their own",
    "markup": "HTML tags or entities, such as `<br>` and `&amp;`",
}
"""Kinds of odd characters, in words."""


def odd_characters(text: str) -> Iterator[str]:
    """Yield the kinds of odd characters in a text, keys of `ODD`."""
    if text.isascii():
        if _CONTROL.search(text):
            yield "control"
    else:
        if "\ufffd" in text:
            yield "replacement"
        for kind, pattern in (
            ("misread", _MISREAD),
            ("control", _CONTROL),
            ("invisible", _INVISIBLE),
            ("private", _PRIVATE),
        ):
            if pattern.search(text):
                yield kind
    if ("<" in text and _TAG.search(text)) or ("&" in text and _has_entity(text)):
        yield "markup"


def _has_entity(text: str) -> bool:
    return any(html.unescape(found[0]) != found[0] for found in _ENTITY.finditer(text))


@define(eq=False)
class SplitTexts:
    """What is known of the rows of one split; of each row its line, length, hashes and target."""

    path: str = ""
    rows: int = 0
    skipped: int = 0
    lines: list[int] = Factory(list)
    hashes: list[bytes] = Factory(list)
    targets: list[bytes] = Factory(list)
    words: list[int] = Factory(list)
    labels: Counter[str] = Factory(Counter)
    numbers: list[float] = Factory(list)
    odd: dict[str, list[int]] = Factory(dict)
    all_numbers: int = 0

    def add(self, table: Table, config: TaskConfig) -> None:
        """Add the rows of a table."""
        self.path = self.path or table.path
        self.rows += len(table.frame)
        self.skipped += table.skipped
        lines = table.frame["line"].to_list()
        self.lines += lines
        texts = _joined(table.frame, config.input_columns)
        for line, text in zip(lines, texts, strict=True):
            plain = " ".join(text.casefold().split())
            self.hashes.append(hashlib.blake2b(plain.encode(), digest_size=8).digest())
            self.words.append(len(text.split()))
            self.all_numbers += bool(plain) and not any(map(str.isalpha, plain))
            for kind in odd_characters(text):
                self.odd.setdefault(kind, []).append(line)
        targets = [column for column in config.columns if not column.input]
        self._add_targets(table.frame, targets)

    def _add_targets(self, frame: pl.DataFrame, targets: Sequence[ColumnSpec]) -> None:
        joined = _joined(frame, targets) if targets else [""] * len(frame)
        self.targets += [hashlib.blake2b(each.encode(), digest_size=8).digest() for each in joined]
        for column in targets:
            values = frame[column.name].drop_nulls()
            if column.type is ColumnType.FLOAT:
                self.numbers += values.to_list()
            elif column.type is ColumnType.TEXT:
                self.labels.update(values.str.strip_chars().to_list())
            elif column.type is ColumnType.TEXTS:
                self.labels.update(values.explode().drop_nulls().to_list())

    def described(self) -> dict[str, Any]:
        """Return sizes, lengths and labels, as JSON."""
        words = self.words or [0]
        cut = quantiles(words, n=20)[-1] if len(words) > 1 else words[0]
        return {
            "path": self.path,
            "rows": self.rows,
            "skipped": self.skipped,
            "words": {
                "total": sum(words),
                "mean": sum(words) / len(words),
                "median": median(words),
                "95 %": cut,
                "longest": max(words),
            },
            "numbers": {
                "lowest": min(self.numbers),
                "mean": sum(self.numbers) / len(self.numbers),
                "highest": max(self.numbers),
            }
            if self.numbers
            else None,
        }

    def repeated(self) -> tuple[list[int], list[int]]:
        """Return the lines of rows whose texts an earlier row has, and of those whose target differs from
        that of the first such row."""
        first: dict[bytes, bytes] = {}
        again, other = [], []
        for line, row, target in zip(self.lines, self.hashes, self.targets, strict=True):
            if row not in first:
                first[row] = target
                continue
            again.append(line)
            if first[row] != target:
                other.append(line)
        return again, other

    def also_in(self, other: SplitTexts) -> list[int]:
        """Return the lines of rows whose texts are in another split."""
        known = set(other.hashes)
        return [line for line, row in zip(self.lines, self.hashes, strict=True) if row in known]

    def outliers(self, factor: float) -> list[int]:
        """Return the lines of rows whose number is farther from the quartiles than `factor` times what
        lies between them."""
        if len(self.numbers) < 4 or len(self.numbers) != self.rows:
            return []
        values = np.asarray(self.numbers)
        low, high = np.quantile(values, [0.25, 0.75])
        far = factor * (high - low)
        outside = (values < low - far) | (values > high + far) if far else np.zeros(len(values), dtype=bool)
        return [self.lines[place] for place in np.flatnonzero(outside)]


def _joined(frame: pl.DataFrame, columns: Sequence[ColumnSpec]) -> list[str]:
    """Return what each row has in some columns, as one text."""
    parts = [
        pl.col(column.name).cast(pl.List(pl.String)).list.join(" ")
        if column.type in (ColumnType.TEXTS, ColumnType.INTEGERS)
        else pl.col(column.name).cast(pl.String)
        for column in columns
    ]
    joined = frame.select(pl.concat_str([part.fill_null("") for part in parts], separator="\n"))
    return joined.to_series().to_list()
