"""Rows to predict from lines: a text per line, or a JSON object per line."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, Literal

from mtl.components import ColumnSpec, ColumnType, Task
from mtl.errors import DataError, UsageError
from mtl.runs.arguments import shown
from mtl.runs.observer import logger
from mtl.runs.predicting import InputRow

LineFormat = Literal["auto", "text", "jsonl"]
LINE_FORMATS: tuple[LineFormat, ...] = ("auto", "text", "jsonl")


def line_rows(
    task: Task[Any], lines: Iterable[bytes], name: str, format: LineFormat = "auto"
) -> Iterator[InputRow]:
    """Yield a row per line, read as it is asked for; blank lines between JSON objects are left out.

    With the format "auto", lines are JSON objects if the first one is. Raises `DataError` for a line that
    is not UTF-8, `UsageError` for lines of text if the task reads more than texts.
    """
    decoded = _decoded(lines, name)
    if format == "auto":
        first = next(decoded, None)
        if first is None:
            return
        format = "jsonl" if _is_object(first) else "text"
        decoded = chain([first], decoded)
    if format == "text":
        yield from _text_rows(task, decoded, name)
    else:
        inputs = {column.name for column in task.config.input_columns}
        numbered = enumerate(decoded, start=1)
        yield from (_json_row(line, inputs, number) for number, line in numbered if line.strip())


def _decoded(lines: Iterable[bytes], name: str) -> Iterator[str]:
    for number, line in enumerate(lines, start=1):
        if not isinstance(line, bytes):
            raise UsageError(f"{name}:{number}: a line must be bytes, but is {shown(line)}")
        try:
            yield line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise DataError(f"{name}:{number}:{error.start + 1}: must be UTF-8, but is not") from None


def _text_rows(task: Task[Any], lines: Iterable[str], name: str) -> Iterator[InputRow]:
    """Yield a row per line: the task's texts, separated by tabs; what follows them is not read."""
    needed = _needed(task.config.input_columns)
    odd = [column for column in needed if column.type is not ColumnType.TEXT]
    if odd:
        what = f"`{odd[0].name}`, which must be {odd[0].type.value}"
        raise UsageError(f"{name}: {task.name} reads {what}; give a JSON object per line instead of texts")
    noticed = False
    for number, line in enumerate(lines, start=1):
        texts = line.split("\t")
        values = {column.name: text for column, text in zip(needed, texts, strict=False)}
        if len(texts) < len(needed):
            names = ", ".join(f"`{column.name}`" for column in needed)
            problem = f"a line must have {len(needed)} texts, {names}, separated by tabs, or be a JSON object"
            yield InputRow(number, values, problem=problem)
            continue
        if len(texts) > len(needed) and not noticed:
            noticed = True
            logger.warning(
                "%s:%d: a tab ends the text; what follows it on a line, such as a label, is not read",
                name,
                number,
            )
        yield InputRow(number, values)


def _needed(inputs: Sequence[ColumnSpec]) -> list[ColumnSpec]:
    return [column for column in inputs if not column.may_be_empty] or list(inputs)


def _is_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _finite(number: str) -> float:
    """Return a number of JSON. Raises `ValueError` for one that an answer could not carry as JSON."""
    if not math.isfinite(float(number)):
        raise ValueError(f"{number} is not a finite number")
    return float(number)


def _json_row(line: str, inputs: set[str], number: int) -> InputRow:
    try:
        row = json.loads(line, parse_constant=_finite, parse_float=_finite)
    except ValueError as error:
        return InputRow(number, {}, problem=f"must be a JSON object, but is not JSON: {error}")
    except RecursionError:
        return InputRow(number, {}, problem="must be a JSON object, but is nested too deeply")
    if not isinstance(row, dict):
        return InputRow(number, {}, problem=f"must be a JSON object, but is `{line[:40]}`")
    values = {key: value for key, value in row.items() if key in inputs}
    return InputRow(number, values, {key: value for key, value in row.items() if key not in inputs})
