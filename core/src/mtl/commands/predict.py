"""`mtl predict`"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Annotated, Any

import typer

from mtl.commands.options import RunArgument, one_of, print_json, results_only, say_waiting
from mtl.errors import DataError, UsageError

STANDARD_INPUT = "<stdin>"


def predict(
    run: RunArgument,
    file: Annotated[
        str | None,
        typer.Argument(metavar="FILE", help="Rows; `-` or nothing reads standard input.", show_default=False),
    ] = None,
    task: Annotated[
        str | None, typer.Option(metavar="NAME", help="The task to predict for.", show_default=False)
    ] = None,
    format: Annotated[
        str,
        typer.Option(
            metavar="auto|text|jsonl",
            parser=one_of("--format", "auto", "text", "jsonl"),
            help="A text a line, or a JSON object a line; auto looks at the first line.",
        ),
    ] = "auto",
) -> None:
    """Predict for the rows of FILE.

    One JSON object a line for each row, in order, by the run's best model.
    """
    from mtl import load

    results = sys.stdout
    with results_only():
        loaded = load(run)
        names = ", ".join(loaded.task_names)
        if task is None and len(loaded.task_names) > 1:
            raise UsageError(f"`--task` is needed, one of: {names}")
        if task is not None and task not in loaded.task_names:
            raise UsageError(f"`--task` must be one of {names}, but is `{task}`")
        for prediction in loaded.predict(task or loaded.task_names[0], read_rows(file, format)):
            print_json(prediction, indent=None, file=results)


def read_rows(file: str | None, format: str) -> Iterator[dict[str, Any]]:
    """The rows of a file or of standard input, read as they are asked for.

    Raises `DataError` with file and line for what is no UTF-8, no JSON object, or cannot be opened.
    """
    if file in (None, "-"):
        say_waiting("rows, one a line,")
        yield from _rows(sys.stdin.buffer, STANDARD_INPUT, format)
        return
    try:
        stream = Path(file).open("rb")  # noqa: SIM115 - closed below; only opening it can fail here
    except OSError as error:
        raise DataError(f"{file}: cannot be read: {error.strerror}") from error
    with stream:
        yield from _rows(stream, file, format)


def _rows(stream: Iterable[bytes], name: str, format: str) -> Iterator[dict[str, Any]]:
    lines = _lines(stream, name)
    if format == "auto":
        first = next(lines, None)
        if first is None:
            return
        format = "jsonl" if _is_object(first) else "text"
        lines = chain([first], lines)
    for number, line in enumerate(lines, start=1):
        if format == "text":
            yield {"text": line}
        elif line.strip():
            yield _object(line, f"{name}:{number}")


def _lines(stream: Iterable[bytes], name: str) -> Iterator[str]:
    for number, line in enumerate(stream, start=1):
        try:
            yield line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise DataError(f"{name}:{number}:{error.start + 1}: must be UTF-8, but is not") from None


def _is_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _object(line: str, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise DataError(f"{where}: must be a JSON object, but is not JSON: {error}") from None
    except RecursionError:
        raise DataError(f"{where}: must be a JSON object, but is too deep") from None
    if not isinstance(row, dict):
        raise DataError(f"{where}: must be a JSON object, but is `{line[:40]}`")
    return row
