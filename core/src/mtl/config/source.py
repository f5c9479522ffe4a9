"""Documents from files, texts and Python values."""

from __future__ import annotations

import os
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

from mtl.config import json_text
from mtl.config.document import (
    HALF_A_PAIR,
    MAXIMUM_DEPTH,
    MAXIMUM_SIZE,
    TOO_DEEP,
    Document,
    describe,
    is_text,
)
from mtl.config.json_path import JSONPath
from mtl.errors import ConfigError, UsageError


class Format(StrEnum):
    """A format of a config's text."""

    JSON = "JSON"
    YAML = "YAML"
    TOML = "TOML"

    @classmethod
    def of(cls, path: Path) -> Format:
        """Return the format that a file's name stands for: JSON if it is no other's."""
        return {".yaml": cls.YAML, ".yml": cls.YAML, ".toml": cls.TOML}.get(path.suffix.lower(), cls.JSON)


_BEGINS = {
    Format.JSON: "it begins with `{`",
    Format.YAML: "it begins with a key, as in `tasks:`",
    Format.TOML: "it begins with a key or a table, as in `[trainer]`",
}


def read(path: Path) -> Document:
    """Parse a file in the format of its name's ending.

    Raises `UsageError` if it cannot be read, `ConfigError` as `parse` does.
    """
    format = Format.of(path)
    try:
        if path.is_dir():
            raise UsageError(f"{path}: is a folder, but must be a {format} file")
        if not path.exists():
            raise UsageError(f"{path}: there is no such file")
        if not path.is_file():
            raise UsageError(
                f"{path}: is a pipe or device, but must be a {format} file; `-` reads standard input"
            )
        with path.open("rb") as file:
            data = file.read(MAXIMUM_SIZE + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(f"{path}: cannot be read: {reason}") from error
    return parse(decode(data, str(path)), str(path), format)


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


def parse(text: str, source: str = "config", format: Format = Format.JSON) -> Document:
    """Parse an object. Raises `ConfigError` for anything else."""
    if format is Format.YAML:
        from mtl.config import yaml_text  # these two are imported for files that need them

        return _checked_root(yaml_text.parse_value(text, source), format)
    if format is Format.TOML:
        from mtl.config import toml_text

        return _checked_root(toml_text.parse_value(text, source), format)
    return _checked_root(json_text.parse_value(text, source), format)


def from_value(value: Any, source: str = "config") -> Document:
    """Return a document of dicts, lists, strings, numbers, booleans, None and file paths.

    Raises `ConfigError` for anything else in it.
    """
    document = Document(None, source)
    document.value = _plain(value, (), document)
    if document.problems:
        raise ConfigError(document.problems, source)
    return _checked_root(document)


def _checked_root(document: Document, format: Format = Format.JSON) -> Document:
    if not isinstance(document.value, dict):
        message = f"a config must be an object, but is {describe(document.value)}"
        raise ConfigError(
            [*document.problems, document.problem((), message, _BEGINS[format])], document.source
        )
    return document


def _plain(value: Any, path: JSONPath, document: Document) -> Any:
    if len(path) > MAXIMUM_DEPTH:
        document.problems.append(document.problem(path[:3], TOO_DEEP))
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
