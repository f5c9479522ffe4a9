"""TOML with the position of each value.

The values are `tomllib`'s, which gives no positions; a pass of its own over the same text finds them, and
the keys that are set twice.
"""

from __future__ import annotations

import contextlib
import datetime
import math
import re
import tomllib
from typing import Any

from attrs import Factory, define

from mtl.config.document import (
    LONGEST_INTEGER,
    MAXIMUM_DEPTH,
    MAXIMUM_SIZE,
    TOO_DEEP,
    TOO_LARGE,
    Document,
    Place,
)
from mtl.config.json_path import JSONPath

_BLANK = re.compile(r"[ \t]*")
_SPACE = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_LINE = re.compile(r"[^\n]*\n?")
_KEY = re.compile(r"""[A-Za-z0-9_-]+|"(?:[^"\\\n]|\\.)*"|'[^'\n]*'""")
_STRING = re.compile(
    r'''"""(?:[^\\]|\\.)*?"""(?:"{0,2})|\'\'\'.*?\'\'\'(?:'{0,2})|"(?:[^"\\\n]|\\.)*"|'[^'\n]*\'''',
    re.DOTALL,
)
_BARE = re.compile(r"[^\s,\]}#]+(?: [0-9][^\s,\]}#]*)?")
_WHERE = re.compile(r" \(at (?:line (?P<line>\d+), column (?P<column>\d+)|end of document)\)$")


def parse_value(text: str, source: str) -> Document:
    """Parse a TOML document. Raises `ConfigError` for anything else."""
    text = text.removeprefix("\ufeff")
    place = Place(0)
    result = Document.of_text(text, source, place)
    if len(text) > MAXIMUM_SIZE:
        result.fail(0, TOO_LARGE)
    scanner = _Scanner(text, result, place)
    with contextlib.suppress(_Lost):  # `tomllib` says what is wrong there
        scanner.document()
    try:
        result.value = tomllib.loads(scanner.without_repeated())
    except ValueError as error:
        message, offset = _syntax_error(str(error), text, scanner.offset)
        result.fail(offset, f"invalid TOML: {message}")
    except RecursionError:
        result.fail(0, TOO_DEEP)
    result.value = _as_json(result.value, (), place, result)
    return result


def _syntax_error(message: str, text: str, reached: int) -> tuple[str, int]:
    """Return the message of `tomllib` without its position, and the position's offset."""
    match = _WHERE.search(message)
    if match is None:
        return message[:1].lower() + message[1:], reached
    short = message[: match.start()]
    short = short[:1].lower() + short[1:]
    if match["line"] is None:
        return f"{short} at the end", len(text)
    lines = text.split("\n")
    line, column = int(match["line"]), int(match["column"])
    return short, sum(len(each) + 1 for each in lines[: line - 1]) + column - 1


def _as_json(value: Any, path: JSONPath, place: Place | None, result: Document) -> Any:
    """Return the value without what JSON does not have, which is reported."""
    inside = place.inside or {} if place else {}
    offset = place.value if place else 0
    if isinstance(value, dict):
        return {key: _as_json(each, (*path, key), inside.get(key), result) for key, each in value.items()}
    if isinstance(value, list):
        return [_as_json(each, (*path, index), inside.get(index), result) for index, each in enumerate(value)]
    if isinstance(value, (datetime.date, datetime.time)):
        result.report(path, f"must be a JSON value, but is the date {value}", offset, "put it in quotes")
        return str(value)
    if isinstance(value, float) and not math.isfinite(value):
        result.report(path, f"must be a finite number, but is {value}", offset)
        return math.nan
    if isinstance(value, int) and abs(value) >= 10**LONGEST_INTEGER:
        result.report_not_finite(path, str(value), offset)
        return math.nan
    return value


class _Lost(Exception):
    """The text is no TOML here."""


@define(eq=False)
class _Scanner:
    """Finds the places of keys and values; every method leaves `offset` after what it has read.

    Checks only what positions need; raises `_Lost` if the text cannot be followed.
    """

    text: str
    result: Document
    root: Place
    offset: int = 0
    repeated: list[tuple[int, int]] = Factory(list)
    values: set[Place] = Factory(set)
    tables: set[Place] = Factory(set)
    _table: Place | None = None
    _path: JSONPath = ()

    def without_repeated(self) -> str:
        """Return the text with spaces in place of all that is set for the second time."""
        parts, end = [], 0
        for start, stop in sorted(self.repeated):
            if stop > end:  # one may lie within another
                start = max(start, end)
                parts += [self.text[end:start], re.sub(r"[^\n]", " ", self.text[start:stop])]
                end = stop
        return "".join([*parts, self.text[end:]])

    def document(self) -> None:
        self._table = self.root
        ignored_from: int | None = None
        while self.skip(_SPACE) < len(self.text):
            start = self.offset
            if self.text[start] == "[":
                if ignored_from is not None:
                    self.repeated.append((ignored_from, start))
                ignored_from = None if self.header() else start
            elif ignored_from is None:
                self.pair(self.root if self._table is None else self._table, self._path)
            else:
                self.pair(Place(0), self._path)
        if ignored_from is not None:
            self.repeated.append((ignored_from, len(self.text)))

    def header(self) -> bool:
        """Enter a table, or a new one of a list of tables; False for one that was there before."""
        start = self.offset
        is_list = self.text.startswith("[[", start)
        self.offset += 2 if is_list else 1
        keys = self.keys()
        self.expect("]]" if is_list else "]")
        place = self.root
        path: JSONPath = ()
        for part, offset in keys[:-1]:
            place, path = self.enter(place, path, part, start, offset)
        last, offset = keys[-1]
        path = (*path, last)
        found = (place.inside or {}).get(last)
        if is_list:
            found = found or place.add(last, Place(start, offset))
            index = len(found.inside or {})
            self._table, self._path = found.add(index, Place(start)), (*path, index)
            return True
        if found is not None and (found in self.values or found in self.tables):
            self.result.report_repeated(path, offset, place)
            self._path = path
            return False
        self._table, self._path = found or place.add(last, Place(start, offset)), path
        self.tables.add(self._table)
        return True

    def enter(
        self, place: Place, path: JSONPath, part: str, start: int, offset: int
    ) -> tuple[Place, JSONPath]:
        """Return the table under `part`, or the last one of a list of tables."""
        found = (place.inside or {}).get(part) or place.add(part, Place(start, offset))
        path = (*path, part)
        last = len(found.inside or {}) - 1
        if last in (found.inside or {}) and found.inside is not None and found not in self.values:
            return found.inside[last], (*path, last)
        return found, path

    def pair(self, table: Place, path: JSONPath) -> bool:
        """Read `key = value` into a table; False if the key was set before."""
        start = self.offset
        keys = self.keys()
        self.expect("=")
        for part, offset in keys[:-1]:
            table, path = self.enter(table, path, part, offset, offset)
        last, offset = keys[-1]
        place = Place(0, offset)
        is_new = last not in (table.inside or {})
        if is_new:
            table.add(last, place)
        else:
            self.result.report_repeated((*path, last), offset, table)
        self.values.add(place)
        self.value((*path, last), place)
        if not is_new:
            self.repeated.append((start, self.offset))
        return is_new

    def keys(self) -> list[tuple[str, int]]:
        """Return the parts of a dotted key and their offsets."""
        found: list[tuple[str, int]] = []
        while True:
            self.skip(_BLANK)
            start = self.offset
            text = self.take(_KEY)
            found.append((_unquoted(text) if text[0] in "\"'" else text, start))
            if len(found) > MAXIMUM_DEPTH:
                self.result.fail(start, TOO_DEEP)
            self.skip(_BLANK)
            if not self.text.startswith(".", self.offset):
                return found
            self.offset += 1

    def value(self, path: JSONPath, place: Place) -> None:
        self.skip(_BLANK)
        place.value = self.offset
        if len(path) > MAXIMUM_DEPTH:
            self.result.fail(self.offset, TOO_DEEP)
        opening = self.text[self.offset : self.offset + 1]
        if opening == "[":
            self.items("]", path, place)
        elif opening == "{":
            self.items("}", path, place)
        elif opening in ('"', "'"):
            self.take(_STRING)
        elif len(self.take(_BARE)) > LONGEST_INTEGER:
            self.result.fail(place.value, "must be a finite number", "out of range for a 64-bit float")

    def items(self, closing: str, path: JSONPath, place: Place) -> None:
        """Read the items of an array or inline table, from one bracket to the other."""
        self.offset += 1
        count = 0
        while True:
            self.skip(_SPACE)
            if self.text.startswith(closing, self.offset):
                break
            if closing == "]":
                each = place.add(count, Place(0))
                self.values.add(each)
                self.value((*path, count), each)
            else:
                self.inline_pair(place, path)
            count += 1
            self.skip(_SPACE)
            if not self.text.startswith(",", self.offset):
                break
            self.offset += 1
        self.expect(closing)

    def inline_pair(self, table: Place, path: JSONPath) -> None:
        if self.pair(table, path):
            return
        start, end = self.repeated.pop()  # with the comma before it
        self.repeated.append((self.text.rindex(",", 0, start), end))

    def skip(self, pattern: re.Pattern[str]) -> int:
        match = pattern.match(self.text, self.offset)
        self.offset = match.end() if match else self.offset
        return self.offset

    def take(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self.text, self.offset)
        if match is None:
            raise _Lost
        self.offset = match.end()
        return match.group()

    def expect(self, text: str) -> None:
        self.skip(_BLANK)
        if not self.text.startswith(text, self.offset):
            raise _Lost
        self.offset += len(text)


def _unquoted(text: str) -> str:
    try:
        return str(tomllib.loads(f"key = {text}")["key"])
    except ValueError as error:
        raise _Lost from error
