"""YAML 1.2 with the position of each value: its core schema, without tags and merge keys.

`ruamel.yaml` splits the text into events; what a scalar is, and what a config may not have, is said here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any, NoReturn

from attrs import define, frozen
from ruamel.yaml import YAML, events
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from mtl.config.document import (
    HALF_A_PAIR,
    LONGEST_INTEGER,
    MAXIMUM_DEPTH,
    MAXIMUM_SIZE,
    TOO_DEEP,
    TOO_LARGE,
    Document,
    Place,
    is_text,
)
from mtl.config.json_path import JSONPath

MAXIMUM_ALIASED = 100_000
"""Values that all aliases together stand for."""

_INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_CONSTANTS = {
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys(("null", "Null", "NULL", "~", ""), None),
}


def parse_value(text: str, source: str) -> Document:
    """Parse one YAML document. Raises `ConfigError` for anything else."""
    return _Composer(text.removeprefix("\ufeff"), source).document()


@frozen
class _Anchored:
    """What an anchor stands for: a value, the places in it, how many values it has and how deep it is."""

    value: Any
    place: Place
    size: int
    depth: int


@define(eq=False)
class _Subtree:
    """The size and depth of what has been read of a value."""

    size: int = 1
    depth: int = 0

    def add(self, inner: _Subtree) -> None:
        self.size += inner.size
        self.depth = max(self.depth, inner.depth + 1)


class _Composer:
    """One pass over the events; every method leaves `event` after what it has read."""

    def __init__(self, text: str, source: str) -> None:
        self.text = text
        self.place = Place(0)
        self.result = Document.of_text(text, source, self.place)
        self.anchors: dict[str, _Anchored] = {}
        self.aliased = 0

    def document(self) -> Document:
        if len(self.text) > MAXIMUM_SIZE:
            self.result.fail(0, TOO_LARGE)
        self.events = self._events()
        self.advance()  # past the start of the stream
        self.advance()
        if isinstance(self.event, events.StreamEndEvent):
            return self.result
        if self.event.version not in (None, (1, 2)):
            self.fail("a config must be YAML 1.2", "remove the line with `%YAML`", offset=0)
        self.advance()
        self.result.value, _ = self.value((), self.place)
        self.advance()  # past the end of the document
        if not isinstance(self.event, events.StreamEndEvent):
            self.fail("a config must be one document, but another one begins here")
        return self.result

    def _events(self) -> Iterator[Any]:
        try:
            yield from YAML(typ="safe", pure=True).parse(self.text)
        except MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            where = ""
            if error.context and error.context_mark:
                line, _ = self.result.line_and_column(error.context_mark.index)
                where = f" {error.context} of line {line}"
            self.fail(f"invalid YAML{where}: {error.problem}", offset=mark.index if mark else 0)
        except YAMLError as error:
            offset = getattr(error, "position", 0)
            self.fail(f"invalid YAML: {getattr(error, 'reason', error)}", offset=offset)
        except (ValueError, OverflowError) as error:  # an escape of a character that Unicode does not have
            self.fail(f"invalid YAML: {error}", offset=self.event.end_mark.index)

    def advance(self) -> None:
        self.event: Any = next(self.events)

    @property
    def offset(self) -> int:
        return int(self.event.start_mark.index)

    def fail(self, message: str, hint: str = "", *, offset: int | None = None) -> NoReturn:
        self.result.fail(self.offset if offset is None else offset, message, hint)

    def value(self, path: JSONPath, place: Place) -> tuple[Any, _Subtree]:
        event = self.event
        place.value = self.offset
        if len(path) > MAXIMUM_DEPTH:
            self.fail(TOO_DEEP)
        if isinstance(event, events.AliasEvent):
            return self.alias(path, place)
        self.refuse_tag()
        subtree = _Subtree()
        if isinstance(event, events.MappingStartEvent):
            value: Any = self.mapping(path, place, subtree)
        elif isinstance(event, events.SequenceStartEvent):
            value = self.sequence(path, place, subtree)
        else:
            value = self.scalar(path)
        self.advance()
        if event.anchor is not None:
            self.anchors[event.anchor] = _Anchored(value, place, subtree.size, subtree.depth)
        return value, subtree

    def refuse_tag(self) -> None:
        tag = self.event.tag
        if tag is not None:
            shown = str(tag).replace("tag:yaml.org,2002:", "!!")
            self.fail(f"a config must have no tags, but has `{shown}`", "quotes make a value a string")

    def alias(self, path: JSONPath, place: Place) -> tuple[Any, _Subtree]:
        """Return a copy of what the alias stands for; mistakes within it are shown at its anchor."""
        name = self.event.anchor
        if name not in self.anchors:
            self.fail(f"`*{name}` must come after its anchor `&{name}`, but there is no such anchor")
        anchored = self.anchors[name]
        self.aliased += anchored.size
        if self.aliased > MAXIMUM_ALIASED:
            self.fail(f"aliases must not stand for more than {MAXIMUM_ALIASED:,} values")
        if len(path) + anchored.depth > MAXIMUM_DEPTH:
            self.fail(TOO_DEEP)
        place.inside = anchored.place.inside
        self.advance()
        return _copied(anchored.value), _Subtree(anchored.size, anchored.depth)

    def mapping(self, path: JSONPath, place: Place, subtree: _Subtree) -> dict[str, Any]:
        value: dict[str, Any] = {}
        self.advance()
        while not isinstance(self.event, events.MappingEndEvent):
            start = self.offset
            key = self.key()
            if key in value:
                self.result.report_repeated((*path, key), start, place)
                self.value((*path, key), Place(0))
                continue
            value[key], inner = self.value((*path, key), place.add(key, Place(0, start)))
            subtree.add(inner)
        return value

    def key(self) -> str:
        event = self.event
        if not isinstance(event, events.ScalarEvent):
            self.fail("a key must be a string", "a value that begins with `{`, `[` or `*` is put in quotes")
        self.refuse_tag()
        if event.implicit[0] and event.value == "<<":
            self.fail("merge keys (`<<`) are not YAML 1.2", "`shared_module_key` lets tasks share settings")
        if event.implicit[0] and event.value == "":
            self.fail("a key is missing here")
        key = self.string()
        self.advance()
        if event.anchor is not None:
            self.anchors[event.anchor] = _Anchored(key, Place(int(event.start_mark.index)), 1, 0)
        return key

    def sequence(self, path: JSONPath, place: Place, subtree: _Subtree) -> list[Any]:
        value: list[Any] = []
        self.advance()
        while not isinstance(self.event, events.SequenceEndEvent):
            index = len(value)
            each, inner = self.value((*path, index), place.add(index, Place(0)))
            value.append(each)
            subtree.add(inner)
        return value

    def scalar(self, path: JSONPath) -> Any:
        text = self.event.value
        if not self.event.implicit[0]:
            return self.string()
        if text in _CONSTANTS:
            return _CONSTANTS[text]
        if _NOT_FINITE.fullmatch(text):
            message = f"must be a finite number, but is {text}"
            self.result.report(path, message, self.offset, "a string is put in quotes")
            return math.nan
        if _INTEGER.fullmatch(text):
            if len(text) <= LONGEST_INTEGER:
                return int(text, 0 if text[1:2] in ("o", "x") else 10)
        elif not _FLOAT.fullmatch(text):
            return self.string()
        elif math.isfinite(float(text)):
            return float(text)
        self.result.report_not_finite(path, text, self.offset)
        return math.nan

    def string(self) -> str:
        text = str(self.event.value)
        if not is_text(text):  # as in JSON, two escapes may stand for one character
            text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
            if "\ufffd" in text and "\ufffd" not in self.event.value:
                self.fail(f"a string {HALF_A_PAIR}")
        return text


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copied(each) for key, each in value.items()}
    return [_copied(each) for each in value] if isinstance(value, list) else value
