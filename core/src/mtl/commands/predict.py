"""`mtl predict`"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from mtl.commands.options import RunArgument, choose_task, one_of, print_json, results_only, say_waiting
from mtl.errors import DataError, MtlError

if TYPE_CHECKING:
    from mtl.runs import LoadedRun

STANDARD_INPUT = "<stdin>"


def predict(
    run: RunArgument,
    file: Annotated[
        str | None,
        typer.Argument(metavar="FILE", help="Rows; `-` or nothing reads standard input.", show_default=False),
    ] = None,
    task: Annotated[
        str | None, typer.Option(metavar="NAME", help="Task to predict for.", show_default=False)
    ] = None,
    format: Annotated[
        str,
        typer.Option(
            metavar="auto|text|jsonl",
            parser=one_of("--format", "auto", "text", "jsonl"),
            help="A text per line, or a JSON object per line; auto reads FILE as the task's data source does,"
            " and standard input by its first line.",
        ),
    ] = "auto",
    text: Annotated[bool, typer.Option("--text", help="Short for --format text.")] = False,
    vectors: Annotated[
        bool,
        typer.Option("--vectors", help="Write the encoder's document vectors instead of predictions."),
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write here, not to standard output.", show_default=False),
    ] = None,
    on_bad_row: Annotated[
        str,
        typer.Option(
            metavar="report|skip|error",
            parser=one_of("--on-bad-row", "report", "skip", "error"),
            help="Answer a row that cannot be predicted with an `error`, skip it, or stop there.",
        ),
    ] = "report",
) -> None:
    """Predict for the rows of FILE.

    Writes one JSON object per row, in order: the prediction of the run's best model and the row's other
    columns. Labels are not needed.
    """
    from mtl import load

    with _results(output) as results, results_only():
        loaded = load(run, task=task)
        name = choose_task(task, loaded.task_names)
        options = {"on_bad_row": on_bad_row} | ({"vectors": True} if vectors else {})
        for answer in _answers(loaded, name, file, "text" if text else format, options):
            print_json(answer, indent=None, file=results)


def _answers(
    loaded: LoadedRun, task: str, file: str | None, format: str, options: dict[str, Any]
) -> Iterable[dict[str, Any]]:
    of_lines = options | {"format": format}
    if file in (None, "-"):
        say_waiting("rows, one per line,")
        yield from loaded.predict_lines(task, sys.stdin.buffer, STANDARD_INPUT, **of_lines)
    elif format == "auto":
        yield from loaded.predict_file(task, str(file), **options)
    else:
        with _opened(str(file)) as lines:
            yield from loaded.predict_lines(task, lines, str(file), **of_lines)


@contextmanager
def _opened(file: str) -> Iterator[Iterable[bytes]]:
    try:
        stream = Path(file).open("rb")  # noqa: SIM115 - closed below; only opening it can fail here
    except OSError as error:
        raise DataError(f"{file}: cannot be read: {error.strerror}") from error
    with stream:
        yield stream


@contextmanager
def _results(output: Path | None) -> Iterator[TextIO]:
    """Open the file for the answers, which is complete or absent; without one, standard output."""
    if output is None:
        yield sys.stdout
        return
    from mtl.files import atomic_write

    try:
        if output.exists() and not output.is_file():  # a pipe or a device: nothing may take its place
            with output.open("w", encoding="utf-8") as file:
                yield file
            return
        with (
            atomic_write(output, make_parents=False) as temporary,
            temporary.open("w", encoding="utf-8") as file,
        ):
            yield file
    except OSError as error:
        raise MtlError(f"{output}: cannot be written: {error.strerror or error}") from error
