"""`mtl runs`"""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mtl.commands.options import JsonOption, one_of, print_json
from mtl.errors import UsageError

if TYPE_CHECKING:
    from mtl.runs.listing import RunSummary

runs_app = typer.Typer(
    no_args_is_help=False,
    help="List, compare, prune and cite runs.\n\n`mtl runs FOLDER` is `mtl runs list FOLDER`.",
)

RUNS = Path("runs")
SORTS = ("name", "status", "steps", "metric", "time", "size", "when")
FolderArgument = Annotated[
    Path, typer.Argument(metavar="FOLDER", help="Where to look, folders in it included.")
]
CsvOption = Annotated[bool, typer.Option("--csv", help="Print CSV.")]
LatexOption = Annotated[bool, typer.Option("--latex", help="Print a LaTeX table (booktabs).")]
RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.", show_default=False)]


@runs_app.command("list")
def listing(
    folder: FolderArgument = RUNS,
    task: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only runs with this task.", show_default=False)
    ] = None,
    status: Annotated[
        str | None,
        typer.Option(
            metavar="completed|running|interrupted|damaged",
            parser=one_of("--status", "completed", "running", "interrupted", "damaged"),
            help="Only runs of this status.",
            show_default=False,
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(metavar="PATTERN", help="Only these names, as in `sst2-*`.", show_default=False),
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATH=VALUE", help="Only runs with this setting; repeatable.", show_default=False
        ),
    ] = None,
    show: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATH",
            help="A column with this setting, or a metric as `SST2.test.accuracy`; repeatable.",
            show_default=False,
        ),
    ] = None,
    sort: Annotated[
        str,
        typer.Option(
            metavar="|".join(SORTS),
            parser=one_of("--sort", *SORTS),
            help="Sort by this column; `metric` begins with the best value, the others with the smallest.",
        ),
    ] = "when",
    reverse: Annotated[bool, typer.Option("--reverse", help="Sort the other way round.")] = False,
    as_csv: CsvOption = False,
    as_json: JsonOption = False,
    as_latex: LatexOption = False,
) -> None:
    """List the runs in FOLDER: tasks, status, steps, best metric, time, size, date."""
    _one_format(as_csv, as_json, as_latex)
    from mtl.render.runs import run_cells, run_columns, runs_view, shown_value
    from mtl.runs.listing import find_runs

    wanted = [_condition(each) for each in where or ()]
    runs = [
        run
        for run in find_runs(folder)
        if (task is None or task in run.tasks)
        and status in (None, run.status)
        and (name is None or fnmatchcase(run.name, name))
        and all(condition(run) for condition in wanted)
    ]
    runs = _sorted(runs, sort, reverse=reverse)
    shown = show or []
    if as_json:
        more = [{path: shown_value(run, path) for path in shown} for run in runs]
        print_json([{**run.to_json(), **each} for run, each in zip(runs, more, strict=True)])
    elif as_csv:
        facts = [run.to_json() for run in runs]
        columns = [key for key in _CSV_COLUMNS]
        rows = [
            [*(_plain(each[key]) for key in columns), *(_plain(shown_value(run, path)) for path in shown)]
            for run, each in zip(runs, facts, strict=True)
        ]
        _print_csv([*columns, *shown], rows)
    elif as_latex:
        _print_latex(run_columns(shown), [run_cells(run, shown) for run in runs])
    elif not runs:
        print(
            f"mtl: {folder}: no run here{' fits' if task or status or name or where else ''}", file=sys.stderr
        )
    else:
        from mtl.render.terminal import output

        output().print(runs_view(runs, shown))


_CSV_COLUMNS = (
    *("name", "folder", "tasks", "status", "steps", "metric", "value", "best_step", "seed", "seconds"),
    *("size_bytes", "checkpoint_bytes", "when"),
)


@runs_app.command()
def diff(
    runs: Annotated[
        list[Path], typer.Argument(metavar="A B...", help="Two or more run folders.", show_default=False)
    ],
    as_csv: CsvOption = False,
    as_json: JsonOption = False,
    as_latex: LatexOption = False,
) -> None:
    """Show in which settings, versions and metrics runs differ."""
    _one_format(as_csv, as_json, as_latex)
    if len(runs) < 2:
        raise UsageError("`mtl runs diff` needs at least two run folders")
    from mtl.render.runs import differences_table, differences_view
    from mtl.runs.differences import differences
    from mtl.runs.listing import read_run

    found = differences([read_run(path) for path in runs])
    kinds = [kind for kind in ("settings", "versions", "metrics") if found[kind]]
    if as_json:
        print_json(found)
    elif as_csv:
        rows = [[kind, name, *map(_plain, found[kind][name])] for kind in kinds for name in found[kind]]
        _print_csv(["kind", "name", *found["runs"]], rows)
    elif as_latex:
        for kind in kinds:
            _print_latex(*differences_table(found, kind))
    else:
        from mtl.render.terminal import output

        output().print(differences_view(found))


@runs_app.command()
def prune(
    folder: FolderArgument = RUNS,
    models: Annotated[
        bool, typer.Option("--models", help="Remove the models, too: the runs can then only be listed.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
) -> None:
    """Remove the checkpoints of completed runs in FOLDER.

    A completed run needs them only to become longer. Runs that are under way or interrupted keep theirs.
    """
    from mtl.render.cells import count, size
    from mtl.render.terminal import output
    from mtl.runs.listing import COMPLETED, find_runs

    completed = [run for run in find_runs(folder) if run.status == COMPLETED]
    found = [(run, run.checkpoint_size + (run.model_size if models else 0)) for run in completed]
    found = [(run, freed) for run, freed in found if freed]
    if not found:
        output().print(f"{folder}: no completed run has anything to remove", soft_wrap=True)
        return
    for run, freed in found:
        output().print(f"{size(freed):>8}   {run.folder}", soft_wrap=True)
    what = "checkpoints and models" if models else "checkpoints"
    total = f"{size(sum(freed for _, freed in found))} of {what} in {count(len(found), 'completed run')}"
    if dry_run:
        output().print(f"would remove {total}", soft_wrap=True)
        return
    if not yes:
        if not sys.stdin.isatty():
            raise UsageError(f"nothing was removed: pass --yes to remove {total} without being asked")
        if not typer.confirm(f"Remove {total}?"):
            output().print("nothing was removed", soft_wrap=True)
            return
    for run, _ in found:
        _remove(run, models=models)
    output().print(f"removed {total}", soft_wrap=True)


@runs_app.command()
def cite(run: RunArgument) -> None:
    """Print a methods paragraph on a completed run, and BibTeX."""
    from mtl.runs.citing import citation
    from mtl.runs.listing import read_run

    print(citation(read_run(run)), end="")


def _remove(run: RunSummary, *, models: bool) -> None:
    """Remove checkpoints, and models if asked; a run that has begun again meanwhile keeps them."""
    from mtl.runs.folder import RunFolder

    folder = RunFolder(run.folder)
    with folder.locked():
        if folder.result.exists():
            folder.remove_checkpoints()
            if models:
                shutil.rmtree(folder.model, ignore_errors=True)


def _condition(text: str) -> Callable[[RunSummary], bool]:
    """Return the test of `PATH=VALUE`. Raises `UsageError` for anything else."""
    from mtl.render.runs import said, shown_value

    path, equals, value = text.partition("=")
    if not equals or not re.fullmatch(r"[^.\s]+(\.[^.\s]+)*", path):
        raise UsageError(f"`--where` must be PATH=VALUE, as in trainer.epochs=3, but is `{text}`")

    def holds(run: RunSummary) -> bool:
        found = shown_value(run, path)
        return value in (said(found), _plain(found), str(found))

    return holds


def _plain(value: Any) -> Any:
    """Return a value for a cell of CSV: numbers in full, lists with commas."""
    if isinstance(value, list):
        return ", ".join(str(each) for each in value)
    return str(value).lower() if isinstance(value, bool) else value


def _sorted(runs: Sequence[RunSummary], by: str, *, reverse: bool) -> list[RunSummary]:
    """Return runs in an order; those without a value come last."""
    keys: dict[str, Callable[[RunSummary], Any]] = {
        "name": lambda run: run.name,
        "status": lambda run: run.status,
        "steps": lambda run: run.steps,
        "metric": lambda run: (run.best or {}).get("value"),
        "time": lambda run: run.seconds,
        "size": lambda run: run.size,
        "when": lambda run: run.when,
    }
    key = keys[by]
    known = [run for run in runs if key(run) is not None]
    known.sort(key=key, reverse=reverse)
    if by == "metric":
        known.sort(key=lambda run: (run.best or {}).get("metric") or "")
        known = [run for group in _by_metric(known) for run in _best_first(group, reverse=reverse)]
    return [*known, *(run for run in runs if key(run) is None)]


def _by_metric(runs: Sequence[RunSummary]) -> list[list[RunSummary]]:
    groups: dict[Any, list[RunSummary]] = {}
    for run in runs:
        groups.setdefault((run.best or {}).get("metric"), []).append(run)
    return list(groups.values())


def _best_first(runs: Sequence[RunSummary], *, reverse: bool) -> list[RunSummary]:
    """Return runs of one metric, the best first."""
    from mtl.runs.listing import higher_is_better

    higher = higher_is_better(runs[0]) if len(runs) > 1 else True
    return sorted(runs, key=lambda run: (run.best or {})["value"], reverse=higher != reverse)


def _one_format(*chosen: bool) -> None:
    if sum(chosen) > 1:
        raise UsageError("`--csv`, `--json` and `--latex` exclude each other")


def _print_csv(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    from mtl.render.export import csv_table

    print(csv_table(columns, rows), end="")


def _print_latex(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    from mtl.render.export import latex_table
    from mtl.render.runs import NUMBERS

    print(latex_table(columns, rows, right=[*NUMBERS, *columns[9:]]), end="")
