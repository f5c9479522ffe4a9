"""`--set trainer.epochs=3`: values by path over a document."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from mtl.config.document import MAXIMUM_DEPTH, Document, describe, is_text
from mtl.config.json_path import JSONPath, parse_path, render_path
from mtl.config.json_text import parse_value
from mtl.errors import ConfigError, Problem
from mtl.suggest import override_argument

_OVERRIDE = re.compile(r'(?P<path>(?:[^="]|"(?:[^"\\]|\\.)*")*)=(?P<value>.*)', re.DOTALL)
"""A key of the path may have a `=` within quotes."""


def override(document: Document, overrides: Iterable[str]) -> None:
    """Write each `PATH=VALUE` into `document`, in order; those that cannot be written are its problems.

    A value is JSON if it parses as JSON, otherwise a string. Missing objects are created; a component given
    by its name alone becomes `{"Name": {...}}`.
    """
    for text in overrides:
        origin = override_argument(text)
        try:
            path, value = _parsed(text)
            path = _through_names(document.value, path)
            document.value = write_value(document.value, path, value)
        except ValueError as error:
            document.problems.append(
                Problem("", f"{error}, from `{origin}`", f"as in `{override_argument('trainer.epochs=3')}`")
            )
        else:
            document.origins[path] = origin


def _parsed(text: str) -> tuple[JSONPath, Any]:
    match = _OVERRIDE.match(text)
    if match is None:
        raise ValueError("an override must be PATH=VALUE, but has no `=`")
    if not is_text(text):
        raise ValueError("an override must be UTF-8, but is not")
    path = parse_path(match["path"].strip())
    if len(path) > MAXIMUM_DEPTH:
        raise ValueError(f"a path must have at most {MAXIMUM_DEPTH} parts, but has {len(path):,}")
    if not isinstance(path[0], str):
        raise ValueError(f"`{render_path(path)}` must begin with a key")
    return path, _value(match["value"])


def _value(text: str) -> Any:
    try:
        document = parse_value(text, "")
    except ConfigError as error:
        if text.lstrip()[:1] not in ("{", "[", '"'):
            return text
        raise ValueError(f"the value must be JSON, but {error.problems[0].message}") from error
    if document.problems:
        raise ValueError(f"the value must be JSON, but {document.problems[0].message}")
    return document.value


def _through_names(value: Any, path: JSONPath) -> JSONPath:
    """Return `path` with the name of a component that `value` has by its name alone."""
    for depth, part in enumerate(path):
        if isinstance(value, str):
            return path if part == value else (*path[:depth], value, *path[depth:])
        if not isinstance(value, (dict, list)):
            break
        inside = value if isinstance(value, dict) else dict(enumerate(value))
        value = inside.get(part)
    return path


def write_value(target: Any, path: JSONPath, value: Any, above: JSONPath = ()) -> Any:
    """Return `target` with `value` at `path`."""
    if not path:
        return value
    part, rest = path[0], path[1:]
    here = (*above, part)
    if isinstance(part, int):
        if not isinstance(target, list) or part >= len(target):
            raise ValueError(f"there is no `{render_path(here)}`")
        return [
            write_value(each, rest, value, here) if index == part else each
            for index, each in enumerate(target)
        ]
    if target is None:
        target = {}
    elif isinstance(target, str):
        target = {target: {}}
    if not isinstance(target, dict):
        raise ValueError(f"`{render_path(above)}` has no settings: it is {describe(target)}")
    return {**target, part: write_value(target.get(part), rest, value, here)}
