"""Strict JSON with the position of each value."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from json.decoder import scanstring  # type: ignore[attr-defined]  # typeshed leaves it out
from typing import Any, NoReturn

from mtl.config.document import (
    HALF_A_PAIR,
    LONGEST_INTEGER,
    MAXIMUM_DEPTH,
    MAXIMUM_SIZE,
    TOO_DEEP,
    TOO_LARGE,
    Document,
    Place,
    describe,
    is_text,
)
from mtl.config.json_path import JSONPath


def parse_value(text: str, source: str) -> Document:
    """Parse any JSON value. Raises `ConfigError` for anything else."""
    return _Parser(text.removeprefix("\ufeff"), source).document()


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
        self.place = Place(0)
        self.result = Document.of_text(text, source, self.place)

    def document(self) -> Document:
        if len(self.text) > MAXIMUM_SIZE:
            self.fail(TOO_LARGE)
        self.result.value = self.value((), self.place)
        if self.peek():
            self.fail(f"expected the end of the config, but found {self.shown()}")
        return self.result

    def value(self, path: JSONPath, place: Place) -> Any:
        character = self.peek()
        place.value = self.offset
        if len(path) > MAXIMUM_DEPTH:
            self.fail(TOO_DEEP)
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
                self.result.report_repeated(inner, start, place)
                self.value(inner, Place(0))
            else:
                value[key] = self.value(inner, place.add(key, Place(0, start)))
        return value

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
                line = self.result.line_and_column(opening)[0]
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
            self.result.report(
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
        self.result.report_not_finite(path, text, start)
        return math.nan

    def peek(self) -> str:
        """Return the next character that is not white space; empty at the end."""
        match = self.WHITESPACE.match(self.text, self.offset)
        self.offset = match.end() if match else self.offset
        return self.text[self.offset : self.offset + 1]

    def shown(self) -> str:
        rest = self.text[self.offset : self.offset + 20].split("\n")[0]
        return f"`{rest.split()[0] if rest.split() else rest}`" if rest else "the end"

    def fail(self, message: str, hint: str = "") -> NoReturn:
        self.result.fail(self.offset, message, hint)
