"""`mtl plan`"""

from __future__ import annotations

from typing import Annotated

import typer

from mtl.commands.options import (
    BaseDirOption,
    ConfigArgument,
    FromOption,
    JsonOption,
    SetOption,
    load,
    print_json,
    results_only,
)


def plan(
    config: ConfigArgument = None,
    overrides: SetOption = None,
    base_dir: BaseDirOption = None,
    from_run: FromOption = None,
    measure: Annotated[
        bool, typer.Option("--measure", help="Estimate time and memory from a few steps.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show what a run of CONFIG would do.

    Tasks and their data, the schedule, the modules and who shares them, memory. Nothing is kept.
    """
    loaded, plugins = load(config, overrides, base_dir)
    from mtl import plan as make_plan

    with results_only():
        planned = make_plan(loaded, measured=measure, from_run=from_run, plugins=plugins)
    if as_json:
        print_json(planned)
        return
    from mtl.render.plan import plan_view
    from mtl.render.terminal import output

    output().print(plan_view(planned))
