"""`mtl test`"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mtl.commands.options import JsonOption, RunArgument, choose_task, print_json, results_only
from mtl.errors import MtlError

if TYPE_CHECKING:
    from mtl.runs import LoadedRun


def test(
    run: RunArgument,
    task: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Only this task; all tasks if absent.", show_default=False),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="File to evaluate on instead of the task's test data.", show_default=False
        ),
    ] = None,
    errors: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write the rows that are predicted wrong as CSV, and show calibration and slices.",
            show_default=False,
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Evaluate a run's model on test data."""
    from mtl import load

    with results_only():
        loaded = load(run, task=task)
        if data is not None or task is not None:
            task = choose_task(task, loaded.task_names)
        metrics = loaded.test(task, data)
        judged = {} if errors is None else _write_errors(loaded, list(metrics), data, errors)
    if as_json:
        print_json({"metrics": metrics, "errors": judged} if errors else metrics)
        return
    from mtl.render.results import metrics_view
    from mtl.render.terminal import output

    output().print(metrics_view(metrics))
    if errors is not None:
        from mtl.render.results import judged_view

        output().print(judged_view(judged, str(errors)))


def _write_errors(
    loaded: LoadedRun, tasks: Sequence[str], data: Path | None, file: Path
) -> dict[str, dict[str, Any]]:
    """Write the wrong rows of tasks, and return a summary of each task that judges rows."""
    from mtl.files import write_text
    from mtl.render.export import csv_table
    from mtl.runs.judging import error_columns, judge, require_judged

    found = {name: judge(loaded, name, "test" if data is None else data) for name in tasks}
    require_judged(found)
    judged = {name: each for name, each in found.items() if each is not None}
    rows = [row for each in judged.values() for row in each.error_rows(loaded)]
    columns = error_columns(rows)
    try:
        write_text(file, csv_table(columns, [[row.get(name) for name in columns] for row in rows]))
    except OSError as error:
        raise MtlError(f"{file}: cannot be written: {error.strerror or error}") from error
    return {name: each.to_json() for name, each in judged.items()}
