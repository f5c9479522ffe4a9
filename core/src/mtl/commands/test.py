"""`mtl test`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mtl.commands.options import JsonOption, RunArgument, print_json, results_only
from mtl.errors import UsageError


def test(
    run: RunArgument,
    task: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="This task only; all tasks if absent.", show_default=False),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Rows to test on, in place of the task's test data.", show_default=False
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Evaluate a run's model on test data."""
    from mtl import load

    with results_only():
        loaded = load(run)
        if data is not None and task is None:
            if len(loaded.task_names) > 1:
                raise UsageError(f"`--data` needs `--task`, one of: {', '.join(loaded.task_names)}")
            task = loaded.task_names[0]
        figures = loaded.test(task, data)
    if as_json:
        print_json(figures)
        return
    from mtl.render.results import figures_view
    from mtl.render.terminal import output

    output().print(figures_view(figures))
