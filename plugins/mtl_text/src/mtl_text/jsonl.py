"""JSON lines."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import polars as pl
from attrs import Factory, define

from mtl import ColumnSpec, ColumnType, DataError, table_schema
from mtl_text.data_config import JSONLConfig
from mtl_text.lines import Lines
from mtl_text.sources import (
    LineRows,
    LineSource,
    Reader,
    Wanted,
    as_names,
    check_columns,
    columns_notice,
    first_line,
    listed_names,
    names_in_file,
)

ROWS_FOR_KEYS = 100
"""Rows whose keys are looked at for the notice about what is not read."""


class JSONL(LineSource[JSONLConfig]):
    """One JSON object per line; blank lines are skipped. A target that is text may also be an integer or a
    boolean."""

    def _reader(self, blocks: Iterable[Lines], wanted: Wanted) -> Reader:
        lines = next(iter(blocks))
        check_columns(self.config.columns, wanted.columns, lines.source)
        _refuse_other_json(first_line(lines)[1].strip(), lines.source)
        notices = [] if wanted.for_inputs else self._notices(lines, wanted)
        labels = MixedLabels()
        return Reader(lambda lines: self._rows(lines, wanted, labels), notices)

    def _keys(self, wanted: Wanted) -> dict[ColumnSpec, tuple[str, ...]]:
        stated = self.config.columns
        return {column: names_in_file(column.name, stated.get(column.name)) for column in wanted.read}

    def _notices(self, lines: Lines, wanted: Wanted) -> list[str]:
        """Return the keys of the first rows that are read, and those that are not."""
        keys: dict[str, None] = {}
        for _, row in islice(_json_rows(lines, {}), ROWS_FOR_KEYS):
            keys |= dict.fromkeys(row)
        read: dict[str, str] = {}
        for column, names in self._keys(wanted).items():
            read |= {name: column.name for name in names if name in keys or _first(name) in keys}
        used = {name if name in keys else _first(name) for name in read}
        unread = [key for key in keys if key not in used]
        return columns_notice(lines.source, read, unread)

    def _rows(self, lines: Lines, wanted: Wanted, labels: MixedLabels) -> LineRows:
        keys = self._keys(wanted)
        bad = dict(lines.bad)
        rows: list[tuple[Any, ...]] = []
        objects: list[dict[str, Any]] = []
        for number, value in _json_rows(lines, bad):
            try:
                rows.append((number, *(_json_value(column, keys[column], value) for column in keys)))
            except ValueError as error:
                bad[number] = str(error)
            else:
                objects.append(value)
                labels.add(keys, value)
        frame = pl.DataFrame(rows, schema=table_schema(wanted.read), orient="row")
        others = _json_others(objects, keys.values()) if wanted.for_inputs else None
        return LineRows(frame, bad, others, labels.notices(lines.source))


@define
class MixedLabels:
    """Finds labels that a file has as strings and as other values, which become one: `1` and `"1"`."""

    kinds: dict[str, dict[str, set[bool]]] = Factory(dict)
    said: set[str] = Factory(set)

    def add(self, keys: Mapping[ColumnSpec, Sequence[str]], row: Mapping[str, Any]) -> None:
        """Add the labels of the next row."""
        for column, names in keys.items():
            if not column.input and column.type is ColumnType.TEXT:
                label = next((row[name] for name in names if row.get(name) is not None), None)
                text = label.strip() if isinstance(label, str) else json.dumps(label)
                of_column = self.kinds.setdefault(column.name, {})
                of_column.setdefault(text, set()).add(isinstance(label, str))

    def notices(self, source: str) -> list[str]:
        """Return a notice for each column with such labels, once."""
        notices = []
        for column, labels in self.kinds.items():
            mixed = next((label for label, kinds in labels.items() if len(kinds) > 1), None)
            if mixed is not None and column not in self.said:
                self.said.add(column)
                notices.append(
                    f'{source}: `{column}` is {mixed} in some rows and "{mixed}" in others; they are read as'
                    " one label"
                )
        return notices


def _refuse_other_json(first: str, source: str) -> None:
    """Name a file that is JSON, but not one object per line, by its first line."""
    if first.startswith("["):
        raise DataError(
            f"{source}: must be one JSON object per line, but looks like a JSON array; convert it, for"
            " example with `jq -c '.[]'`"
        )
    if first == "{":
        raise DataError(
            f"{source}: must be one JSON object per line, but looks like objects over several lines; convert"
            " it, for example with `jq -c .`"
        )


def _json_others(rows: Sequence[dict[str, Any]], read: Iterable[Sequence[str]]) -> pl.DataFrame:
    """Return the values of the keys that are not read, as text."""
    found = [
        next((key for key in names if _at(row, key) is not None), None) for row in rows for names in read
    ]
    names = dict.fromkeys(key for row in rows for key in row)
    taken = {key if key in names else _first(key) for key in found if key is not None}
    names = {name: None for name in names if name not in taken}
    cells = {name: [_json_cell(row.get(name)) for row in rows] for name in names}
    return pl.DataFrame(cells, schema=dict.fromkeys(names, pl.String))


def _first(key: str) -> str:
    """Return the first part of a dotted key."""
    return key.partition(".")[0]


def _at(value: Any, key: str) -> Any:
    """Return what stands in an object at a key, or else at a dotted one; None if nothing does.

    In a list, a number is a position; any other key gives the list of what stands there in its items.
    """
    if isinstance(value, dict) and key in value:
        return value[key]
    first, dot, rest = key.partition(".")
    if isinstance(value, dict):
        inner = value.get(first)
        return _at(inner, rest) if dot else None
    if isinstance(value, list) and first.isdecimal():
        if int(first[:9]) >= len(value):
            return None
        return _at(value[int(first[:9])], rest) if dot else value[int(first[:9])]
    return [_at(each, key) for each in value] if isinstance(value, list) else None


def _json_cell(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)


def _json_rows(lines: Lines, bad: dict[int, str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the objects of the lines that are not bad, by line number; other values become bad lines."""
    for number, text in enumerate(lines.texts, lines.first):
        if number in lines.bad or not text.strip():
            continue
        try:
            value = _json_object(text)
        except ValueError as error:
            bad[number] = str(error)
        else:
            yield number, value


def _json_object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        at = f"column {error.colno}: {error.msg}"
        raise ValueError(f"a row must be a JSON object, but {at}") from None
    except (ValueError, RecursionError):
        raise ValueError("a row must be a JSON object, but is too deep or has too long a number") from None
    if not isinstance(value, dict):
        raise ValueError(f"a row must be a JSON object, but is {_json_kind(value)}")
    return value


def _json_value(column: ColumnSpec, keys: Sequence[str], row: Mapping[str, Any]) -> Any:
    """Return the value of a column, of its type. Raises `ValueError` if it is not one."""
    name, type_ = column.name, column.type
    key = next((key for key in keys if _at(row, key) is not None), None)
    if key is None and column.may_be_empty:
        return None
    if key is None:
        null = next((key for key in keys if key in row), None)
        if null is not None:
            raise ValueError(f"`{null}` must be {_right(column)}, but is null")
        raise ValueError(f"`{name}` must be there, {as_names(keys)}, but the keys are {listed_names(row)}")
    value = _at(row, key)
    if type_ is ColumnType.TEXT and not column.input and isinstance(value, bool | int):
        return json.dumps(value)
    if not type_.holds(value):
        raise ValueError(
            f"`{key}` must be {_right(column)}, but is {_json_kind(value)}{_hint(column, value)}"
        )
    for text in [value] if isinstance(value, str) else value if type_ is ColumnType.TEXTS else []:
        if any("\ud800" <= character <= "\udfff" for character in text):
            raise ValueError(f"`{key}` must be text, but has half a surrogate pair")
    if type_ is ColumnType.TEXT:
        value = value.strip()
    if value in ("", []) and not column.may_be_empty:
        raise ValueError(f"`{key}` must not be empty")
    return None if value == "" else value


def _right(column: ColumnSpec) -> str:
    if column.type is ColumnType.TEXT and not column.input:
        return "a string, an integer or a boolean"
    return column.type.value


def _hint(column: ColumnSpec, value: object) -> str:
    """Return what a value may be that stands where a label should."""
    if column.type is not ColumnType.TEXT or column.input:
        return ""
    if isinstance(value, float):
        return f" ({value}): write labels as strings; numbers in quantity are for a regression task"
    return ": several labels per row are for a multi-label task" if isinstance(value, list) else ""


def _json_kind(value: object) -> str:
    kinds = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "null"}
    return kinds.get(type(value), "a number")
