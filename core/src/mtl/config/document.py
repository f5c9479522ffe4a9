"""A config's value with the position of each part of it, whatever the format of its text."""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from typing import Any, NoReturn

from attrs import Factory, define, field

from mtl.config.json_path import JSONPath, render_path
from mtl.errors import ConfigError, Problem

MAXIMUM_DEPTH = 200
MAXIMUM_SIZE = 1_000_000
"""Bytes of a file, characters of a text."""

TOO_LARGE = f"a config must not be larger than {MAXIMUM_SIZE:,} characters"
TOO_DEEP = f"must not be nested deeper than {MAXIMUM_DEPTH}"
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
    """A value as JSON has them, the position of each part of it, and what is wrong with its text.

    `problems` holds mistakes that do not stop a parser, such as repeated keys and numbers that are not
    finite. `origins` names what wrote a value in place of the text, such as `--set seed=1`; `moved` maps
    paths that a migration changed to those in the text.
    """

    value: Any
    source: str
    problems: list[Problem] = Factory(list)
    origins: dict[JSONPath, str] = Factory(dict)
    _place: Place | None = None
    _line_offsets: list[int] = field(factory=lambda: [0])
    moved: dict[JSONPath, JSONPath] = Factory(dict)
    text: str = ""

    @classmethod
    def of_text(cls, text: str, source: str, place: Place) -> Document:
        """Return a document for a parser to fill in; `place` is that of the whole value."""
        lines = [0, *(match.end() for match in re.finditer("\n", text[: MAXIMUM_SIZE + 1]))]
        return cls(None, source, place=place, line_offsets=lines, text=text)

    def report(self, path: JSONPath, message: str, offset: int, hint: str = "") -> None:
        """Add a mistake at an offset of the text that does not stop the parser."""
        line, column = self.line_and_column(offset)
        self.problems.append(Problem(render_path(path), message, hint, line, column))

    def report_repeated(self, path: JSONPath, offset: int, around: Place) -> None:
        """Report the second of two equal keys within `around`."""
        first, _ = self.line_and_column((around.inside or {})[path[-1]].key or 0)
        message = f"`{path[-1]}` is repeated; it is first set in line {first}"
        self.report(path, message, offset, "remove one of them")

    def report_not_finite(self, path: JSONPath, text: str, offset: int) -> None:
        """Report a number that is too large."""
        shown = text if len(text) <= 40 else f"{text[:37]}..."
        self.report(
            path, f"must be a finite number, but is {shown}", offset, "out of range for a 64-bit float"
        )

    def fail(self, offset: int, message: str, hint: str = "") -> NoReturn:
        """Raise `ConfigError` for what a parser cannot read, with the mistakes before it."""
        line, column = self.line_and_column(offset)
        problem = Problem("", message, hint, line, column)
        raise ConfigError([*self.problems, problem], self.source)

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
        return self.line_and_column(offset)

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

    def line_and_column(self, offset: int) -> tuple[int, int]:
        """Return line and column, both from 1, of an offset."""
        line = bisect_right(self._line_offsets, offset)
        return line, offset - self._line_offsets[line - 1] + 1


def is_text(text: str) -> bool:
    """Return whether a string has no lone surrogates, so that it can be encoded."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def describe(value: Any) -> str:
    """Return a value as JSON for a message, shortened if it is long."""
    text = json.dumps(value, ensure_ascii=False, default=repr)
    return text if len(text) <= 60 else f"{text[:57]}..."
