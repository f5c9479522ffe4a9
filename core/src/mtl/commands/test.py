"""`mtl test`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mtl.commands.options import JsonOption, RunArgument, choose_task, print_json, results_only


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
    as_json: JsonOption = False,
) -> None:
    """Evaluate a run's model on test data."""
    from mtl import load

    with results_only():
        loaded = load(run, task=task)
        if data is not None or task is not None:
            task = choose_task(task, loaded.task_names)
        metrics = loaded.test(task, data)
    if as_json:
        print_json(metrics)
        return
    from mtl.render.results import metrics_view
    from mtl.render.terminal import output

    output().print(metrics_view(metrics))
