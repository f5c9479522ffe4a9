"""Strict JSON with the position of each value."""

from __future__ import annotations

import json
import math
import os
import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from json.decoder import scanstring  # type: ignore[attr-defined]  # typeshed leaves it out
from pathlib import Path
from typing import Any, NoReturn

from attrs import Factory, define, field

from mtl.config.json_path import JSONPath, render_path
from mtl.errors import ConfigError, Problem, UsageError

MAXIMUM_DEPTH = 200
MAXIMUM_SIZE = 1_000_000
"""Bytes of a file, characters of a text."""

HALF_A_PAIR = "must be valid Unicode, but has a lone surrogate"

LONGEST_INTEGER = 400
"""Digits of the longest integer that is read; Python itself stops at some thousands."""


@define(eq=False)
class Place:
    """The offset of a value in the text and, within an object, of its key; and the places within it.

    A tree, as the paths of all values of a deep document would take quadratic memory.
    """

    value: int
    key: int | None = None
    inside: dict[str | int, Place] | None = None

    def add(self, part: str | int, place: Place) -> Place:
        """Add the place of the value under `part`."""
        if self.inside is None:
            self.inside = {}
        self.inside[part] = place
        return place


@define(eq=False)
class Document:
    """A JSON value, the position of each part of it, and what is wrong with it as JSON.

    `problems` holds mistakes that do not stop the parser: repeated keys and numbers that are not finite.
    `origins` names what wrote a value in place of the text, such as `--set seed=1`; `moved` maps paths
    that a migration changed to those in the text.
    """

    value: Any
    source: str
    problems: list[Problem] = Factory(list)
    origins: dict[JSONPath, str] = Factory(dict)
    _place: Place | None = None
    _line_offsets: list[int] = field(factory=lambda: [0])
    moved: dict[JSONPath, JSONPath] = Factory(dict)

    def original(self, path: JSONPath) -> JSONPath:
        """Return the path in the text of what is at `path` now."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.moved:
                return (*self.moved[path[:length]], *path[length:])
        return path

    def position(self, path: JSONPath, *, key: bool = False) -> tuple[int, int] | None:
        """Return line and column, both from 1, of the value at `path` or of its key.

        If there is no such value, those of the nearest value around it; None if there is no text.
        """
        path = self.original(path)
        places = self._places(path)
        if not places:
            return None
        nearest, found = places[-1], len(places) == len(path) + 1
        offset = nearest.key if key and found and nearest.key is not None else nearest.value
        return self._line_and_column(offset)

    def _places(self, path: JSONPath) -> list[Place]:
        """Return the places on the way to `path`, as far as the text has them."""
        places: list[Place] = []
        place = self._place
        for part in path:
            if place is None:
                return places
            places.append(place)
            place = (place.inside or {}).get(part)
        return places if place is None else [*places, place]

    def problem(self, path: JSONPath, message: str, hint: str = "", *, key: bool = False) -> Problem:
        """Return a mistake at `path`, with its position in the text."""
        written = self.original(path)
        origin = self._origin(written)
        if origin is not None:
            return Problem(render_path(written), f"{message}, from `{origin}`", hint)
        line, column = self.position(path, key=key) or (None, None)
        return Problem(render_path(written), message, hint, line, column)

    def _origin(self, path: JSONPath) -> str | None:
        """Return what wrote the value at `path`, one around it, or one within an object that it created."""
        for written, origin in self.origins.items():
            if path[: len(written)] == written:
                return origin
            if path and written[: len(path)] == path and len(self._places(path)) <= len(path):
                return origin
        return None

    def _line_and_column(self, offset: int) -> tuple[int, int]:
        line = bisect_right(self._line_offsets, offset)
        return line, offset - self._line_offsets[line - 1] + 1


def read(path: Path) -> Document:
    """Parse a JSON file. Raises `UsageError` if it cannot be read, `ConfigError` as `parse` does."""
    try:
        if path.is_dir():
            raise UsageError(f"{path}: is a folder, but must be a JSON file")
        if not path.exists():
            raise UsageError(f"{path}: there is no such file")
        if not path.is_file():
            raise UsageError(
                f"{path}: is a pipe or device, but must be a JSON file; `-` reads standard input"
            )
        with path.open("rb") as file:
            data = file.read(MAXIMUM_SIZE + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(f"{path}: cannot be read: {reason}") from error
    return parse(decode(data, str(path)), str(path))


def decode(data: bytes, source: str) -> str:
    """Decode UTF-8. Raises `UsageError` for other bytes.

    Bytes beyond `MAXIMUM_SIZE` may be any: `parse` refuses such a text as too large.
    """
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        if len(data) > MAXIMUM_SIZE:  # the cut may have gone through a character
            return data.decode("utf-8", errors="replace")
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - data.rfind(b"\n", 0, error.start)
        raise UsageError(f"{source}:{line}:{column}: must be UTF-8, but this byte is not") from error


def parse(text: str, source: str = "config") -> Document:
    """Parse a JSON object. Raises `ConfigError` for anything else."""
    return _checked_root(parse_value(text, source))


def parse_value(text: str, source: str) -> Document:
    """Parse any JSON value. Raises `ConfigError` for anything else."""
    return _Parser(text.removeprefix("\ufeff"), source).document()


def from_value(value: Any, source: str = "config") -> Document:
    """Return a document of dicts, lists, strings, numbers, booleans, None and file paths.

    Raises `ConfigError` for anything else in it.
    """
    document = Document(None, source)
    document.value = _plain(value, (), document)
    if document.problems:
        raise ConfigError(document.problems, source)
    return _checked_root(document)


def _checked_root(document: Document) -> Document:
    if not isinstance(document.value, dict):
        message = f"a config must be an object, but is {describe(document.value)}"
        raise ConfigError(
            [*document.problems, document.problem((), message, "it begins with `{`")], document.source
        )
    return document


def is_text(text: str) -> bool:
    """Return whether a string has no lone surrogates, so that it can be encoded."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def describe(value: Any) -> str:
    """Return a JSON value for a message, shortened if it is long."""
    text = json.dumps(value, ensure_ascii=False, default=repr)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _plain(value: Any, path: JSONPath, document: Document) -> Any:
    if len(path) > MAXIMUM_DEPTH:
        document.problems.append(
            document.problem(path[:3], f"must not be nested deeper than {MAXIMUM_DEPTH}")
        )
    elif isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                document.problems.append(document.problem(path, f"a key must be a string, but is {key!r}"))
            elif not is_text(key):
                document.problems.append(document.problem(path, f"a key {HALF_A_PAIR}"))
        return {
            key: _plain(each, (*path, key), document) for key, each in value.items() if isinstance(key, str)
        }
    elif isinstance(value, (list, tuple)):
        return [_plain(each, (*path, index), document) for index, each in enumerate(value)]
    elif isinstance(value, (str, os.PathLike)):
        text = os.fspath(value)
        if not is_text(text):
            document.problems.append(document.problem(path, HALF_A_PAIR))
        return text
    elif value is not None and type(value) not in (str, int, float, bool):
        what = type(value).__name__
        document.problems.append(document.problem(path, f"must be a JSON value, but is of type {what}"))
    return value


class _Parser:
    """One pass over the text; every method leaves `offset` after what it has read."""

    WHITESPACE = re.compile(r"[ \t\n\r]*")
    NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")
    WORD = re.compile(r"-?\w+")
    CONSTANTS = {"true": True, "false": False, "null": None}  # noqa: RUF012  # never changed
    NEAR = {"True": "true", "False": "false", "None": "null", "undefined": "null"}  # noqa: RUF012

    def __init__(self, text: str, source: str) -> None:
        self.text = text
        self.offset = 0
        lines = [0, *(match.end() for match in re.finditer("\n", text[: MAXIMUM_SIZE + 1]))]
        self.place = Place(0)
        self.result = Document(None, source, [], {}, self.place, lines)

    def document(self) -> Document:
        if len(self.text) > MAXIMUM_SIZE:
            self.fail(f"a config must not be larger than {MAXIMUM_SIZE:,} characters")
        self.result.value = self.value((), self.place)
        if self.peek():
            self.fail(f"expected the end of the config, but found {self.shown()}")
        return self.result

    def value(self, path: JSONPath, place: Place) -> Any:
        character = self.peek()
        place.value = self.offset
        if len(path) > MAXIMUM_DEPTH:
            self.fail(f"must not be nested deeper than {MAXIMUM_DEPTH}")
        if character == "{":
            return self.object(path, place)
        if character == "[":
            return self.array(path, place)
        if character == '"':
            return self.string()
        return self.scalar(path)

    def object(self, path: JSONPath, place: Place) -> dict[str, Any]:
        value: dict[str, Any] = {}
        for _ in self.items("}"):
            if self.peek() != '"':
                self.fail(f"expected a key in double quotes, but found {self.shown()}")
            start = self.offset
            key = self.string()
            inner = (*path, key)
            if self.peek() != ":":
                self.fail(f"expected a colon after the key {describe(key)}, but found {self.shown()}")
            self.offset += 1
            if key in value:
                self.repeated(inner, start, place)
            else:
                value[key] = self.value(inner, place.add(key, Place(0, start)))
        return value

    def repeated(self, path: JSONPath, start: int, around: Place) -> None:
        """Report the second of two equal keys and skip its value."""
        first, _ = self.result._line_and_column((around.inside or {})[path[-1]].key or 0)
        message = f"`{path[-1]}` is repeated; it is first set in line {first}"
        self.report(path, message, start, "remove one of them")
        self.value(path, Place(0))

    def array(self, path: JSONPath, place: Place) -> list[Any]:
        value: list[Any] = []
        for _ in self.items("]"):
            index = len(value)
            value.append(self.value((*path, index), place.add(index, Place(0))))
        return value

    def items(self, closing: str) -> Iterator[None]:
        """Yield at the start of each item; end after the closing bracket."""
        opening = self.offset
        self.offset += 1
        if self.peek() == closing:
            self.offset += 1
            return
        while True:
            yield
            character = self.peek()
            if character == closing:
                self.offset += 1
                return
            if character != ",":
                line = self.result._line_and_column(opening)[0]
                opened = f"`{self.text[opening]}` of line {line}"
                self.fail(f"expected a comma or the `{closing}` of {opened}, but found {self.shown()}")
            comma = self.offset
            self.offset += 1
            if self.peek() == closing:
                self.offset = comma
                self.fail(f"`{closing}` must not follow a comma", "remove it")

    def string(self) -> str:
        start = self.offset
        try:
            text, self.offset = scanstring(self.text, start + 1, True)
        except json.JSONDecodeError as error:
            self.offset = min(error.pos, len(self.text))
            what = error.msg.removesuffix(" at").removesuffix(" starting")
            self.fail(f"invalid string: {what[:1].lower()}{what[1:]}")
        if not is_text(text):
            self.offset = start
            self.fail(f"a string {HALF_A_PAIR}")
        return str(text)

    def scalar(self, path: JSONPath) -> Any:
        number, word = self.NUMBER.match(self.text, self.offset), self.WORD.match(self.text, self.offset)
        if number and not (word and word.end() > number.end()):
            start, self.offset = self.offset, number.end()
            return self.number(number, path, start)
        name = word.group() if word else ""
        if name in self.CONSTANTS:
            self.offset += len(name)
            return self.CONSTANTS[name]
        if name in ("NaN", "Infinity", "-Infinity"):
            self.report(
                path, f"must be a finite number, but is {name}", self.offset, "JSON has no such number"
            )
            self.offset += len(name)
            return math.nan
        hint = f"write {self.NEAR[name]}" if name in self.NEAR else ""
        if self.text.startswith(("//", "/*", "#"), self.offset):
            hint = "JSON has no comments"
        elif self.text.startswith("'", self.offset):
            hint = "write strings in double quotes"
        self.fail(f"expected a value, but found {self.shown()}", hint)

    def number(self, match: re.Match[str], path: JSONPath, start: int) -> int | float:
        text = match.group()
        if match[1] is None and match[2] is None:
            if len(text) <= LONGEST_INTEGER:
                return int(text)
        elif math.isfinite(float(text)):
            return float(text)
        shown = text if len(text) <= 40 else f"{text[:37]}..."
        self.report(
            path,
            f"must be a finite number, but is {shown}",
            start,
            "out of range for a 64-bit float",
        )
        return math.nan

    def peek(self) -> str:
        """Return the next character that is not white space; empty at the end."""
        match = self.WHITESPACE.match(self.text, self.offset)
        self.offset = match.end() if match else self.offset
        return self.text[self.offset : self.offset + 1]

    def shown(self) -> str:
        rest = self.text[self.offset : self.offset + 20].split("\n")[0]
        return f"`{rest.split()[0] if rest.split() else rest}`" if rest else "the end"

    def report(self, path: JSONPath, message: str, offset: int, hint: str = "") -> None:
        line, column = self.result._line_and_column(offset)
        self.result.problems.append(Problem(render_path(path), message, hint, line, column))

    def fail(self, message: str, hint: str = "") -> NoReturn:
        line, column = self.result._line_and_column(self.offset)
        problem = Problem("", message, hint, line, column)
        raise ConfigError([*self.result.problems, problem], self.result.source)
