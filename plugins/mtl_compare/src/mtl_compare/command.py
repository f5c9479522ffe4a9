"""`mtl compare`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mtl import MtlError, UsageError
from mtl.commands.options import (
    BaseDirOption,
    ConfigArgument,
    DeviceOption,
    JsonOption,
    SetOption,
    load,
    print_json,
    results_only,
    whole_number,
)

DEFAULT_SEEDS = 5


def compare(
    config: ConfigArgument = None,
    seeds: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            parser=whole_number("--seeds"),
            help="Runs of each kind; 5 if absent.",
            show_default=False,
        ),
    ] = None,
    first_seed: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            parser=whole_number("--first-seed"),
            help="The first run's seed, the others follow it; 0 if absent.",
            show_default=False,
        ),
    ] = None,
    task: Annotated[
        list[str] | None,
        typer.Option(metavar="TASK", help="Compare this task, not all; repeatable.", show_default=False),
    ] = None,
    without: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TASK", help="Train all tasks but this one as well; repeatable.", show_default=False
        ),
    ] = None,
    leave_one_out: Annotated[
        bool, typer.Option("--leave-one-out", help="As --without, for each task in turn.")
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="The folder, new or of the same comparison; runs/NAME-compare if absent.",
            show_default=False,
        ),
    ] = None,
    overrides: SetOption = None,
    base_dir: BaseDirOption = None,
    device: DeviceOption = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            parser=whole_number("--jobs"),
            help="Runs at once, each with its share of the CPUs; 1 if absent.",
            show_default=False,
        ),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Show the result and errors only.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Train each task of CONFIG alone and all together, and say whether that helps.

    The same command goes on with a comparison that was interrupted, and takes what is done.
    """
    for option, number in (("--seeds", seeds), ("--jobs", jobs)):
        if number == 0:
            raise UsageError(f"`{option}` must be at least 1, but is 0")
    loaded, plugins = load(config, overrides, base_dir)
    name = "config" if config in (None, "-") else Path(str(config)).stem
    with results_only():
        from mtl_compare.comparison import make_comparison

        folder = output or Path("runs", f"{name}-compare")
        comparison = make_comparison(
            loaded,
            plugins,
            output=folder,
            name=name,
            seeds=[(first_seed or 0) + number for number in range(seeds or DEFAULT_SEEDS)],
            tasks=task or (),
            left_out=None if leave_one_out else without or (),
            device=device,
        )
        report = comparison.run(at_once=jobs or 1, quiet=quiet)
    if as_json:
        print_json(report)
    else:
        from mtl.render import output as results
        from mtl_compare.render import report_view

        results().print(report_view(report, str(folder)))
    failed = [run for run in report["runs"] if run["status"] != "completed"]
    if failed:
        raise MtlError(f"{len(failed)} of {len(report['runs'])} runs failed; the others are compared")
