"""`mtl compare`"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mtl import MtlError, UsageError
from mtl.commands.options import (
    BaseDirOption,
    DeviceOption,
    JsonOption,
    SetOption,
    load,
    print_json,
    results_only,
    whole_number,
)
from mtl_compare.folds import with_folds
from mtl_compare.vary import folder_name, variations

if TYPE_CHECKING:
    from mtl_compare.comparison import Comparison

DEFAULT_SEEDS = 5


def compare(
    configs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="CONFIG...",
            help="One config, whose tasks are compared, or several; `-` or nothing reads standard input.",
            show_default=False,
        ),
    ] = None,
    vary: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATH=V1,V2",
            help="Compare CONFIG with these values of a setting; repeatable, for all combinations.",
            show_default=False,
        ),
    ] = None,
    seeds: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            parser=whole_number("--seeds"),
            help="Runs of each kind or config; 5 if absent.",
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
    folds: Annotated[
        int | None,
        typer.Option(
            metavar="K",
            parser=whole_number("--folds"),
            help="Cross-validate: K runs of each kind or config, each of which holds out another part of the"
            " training rows. In place of --seeds.",
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
            help="The folder, new or of the same comparison; runs/NAME-compare if absent (of several"
            " configs runs/A-B-compare).",
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
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    as_latex: Annotated[bool, typer.Option("--latex", help="Print a LaTeX table (booktabs).")] = False,
) -> None:
    """Train each task of CONFIG alone and all together, or several configs, and test the difference.

    Of several configs, the first is the baseline. The same command continues an interrupted comparison.
    """
    for option, number in (("--seeds", seeds), ("--jobs", jobs)):
        if number == 0:
            raise UsageError(f"`{option}` must be at least 1, but is 0")
    if as_json + as_csv + as_latex > 1:
        raise UsageError("`--csv`, `--json` and `--latex` exclude each other")
    if folds is not None and seeds is not None:
        raise UsageError("`--folds` and `--seeds` exclude each other: there is one run per fold")
    several = bool(vary) or len(configs or ()) > 1
    if several and (without or leave_one_out):
        raise UsageError("`--without` and `--leave-one-out` are for the tasks of one config")
    made = variations(configs or ["-"], vary or ())
    chosen = {name: load(path, [*(overrides or ()), *each], base_dir) for name, (path, each) in made.items()}
    if folds is not None:
        chosen = {name: (with_folds(each, of, folds, task or ()), of) for name, (each, of) in chosen.items()}
    (loaded, plugins), *_ = chosen.values()
    folder = output or Path("runs", f"{folder_name(made)}-compare")
    common: dict[str, Any] = {
        "output": folder,
        "seeds": [(first_seed or 0) + number for number in range(folds or seeds or DEFAULT_SEEDS)],
        "tasks": task or (),
        "device": device,
        "folds": () if folds is None else list(task or loaded.config.tasks),
    }
    with results_only():
        if several:
            from mtl_compare.configs import make_config_comparison

            configs_by_name = {name: each for name, (each, _) in chosen.items()}
            comparison = make_config_comparison(configs_by_name, plugins, **common)
        else:
            from mtl_compare.comparison import make_comparison

            left_out = None if leave_one_out else without or ()
            comparison = make_comparison(loaded, plugins, name=next(iter(made)), left_out=left_out, **common)
        if not quiet:
            from mtl_compare.estimate import say_estimate

            say_estimate(comparison, {name: each for name, (each, _) in chosen.items()}, plugins, jobs or 1)
        report = comparison.run(at_once=jobs or 1, quiet=quiet)
    _print(report, comparison, as_json=as_json, as_csv=as_csv, as_latex=as_latex, folder=str(folder))
    failed = [run for run in report["runs"] if run["status"] != "completed"]
    if failed:
        raise MtlError(f"{len(failed)} of {len(report['runs'])} runs failed; the others are compared")


def _print(
    report: dict[str, Any],
    comparison: Comparison,
    *,
    as_json: bool,
    as_csv: bool,
    as_latex: bool,
    folder: str,
) -> None:
    if as_json:
        print_json(report)
    elif as_csv or as_latex:
        from mtl_compare.export import comparison_csv, comparison_latex

        print((comparison_csv if as_csv else comparison_latex)(report), end="")
    else:
        from mtl.render import output
        from mtl_compare.render import report_view

        output().print(report_view(report, folder))
