"""Tables of runs, and runs side by side."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from mtl.render.cells import ABSENT, difference, duration, message, number, section, size, table
from mtl.runs.listing import RunSummary, setting

STYLES = {"completed": "green", "running": "cyan", "interrupted": "yellow", "damaged": "red"}
NUMBERS = ("steps", "value", "time", "size")


def run_columns(shown: Sequence[str]) -> tuple[str, ...]:
    """Return the columns of a table of runs; `shown` are further settings or metrics."""
    return ("name", "tasks", "status", "steps", "best metric", "value", "time", "size", "when", *shown)


def run_cells(run: RunSummary, shown: Sequence[str]) -> list[str]:
    """Return a row of a table of runs."""
    best = run.best or {}
    cells = [run.name, ", ".join(run.tasks), run.status, number(run.steps)]
    cells += [best.get("metric") or (ABSENT if not best else "mean"), number(best.get("value"))]
    cells += [ABSENT if run.seconds is None else duration(run.seconds), size(run.size)]
    cells.append(run.when.strftime("%Y-%m-%d %H:%M"))
    return [*cells, *(_shown(run, path) for path in shown)]


def _shown(run: RunSummary, path: str) -> str:
    value = shown_value(run, path)
    return number(value) if is_metric(path) else said(value)


def shown_value(run: RunSummary, path: str) -> Any:
    """Return a setting by its path, or a metric of the result by `TASK.eval.NAME` or `TASK.test.NAME`."""
    if not is_metric(path):
        return setting(run.config, path)
    task, split, name = path.split(".", 2)
    facts = (run.result.get("tasks") or {}).get(task) or {}
    return (facts.get(split) or {}).get(name)


def is_metric(path: str) -> bool:
    """Return whether a path names a metric instead of a setting."""
    parts = path.split(".", 2)
    return len(parts) == 3 and parts[1] in ("eval", "test")


def said(value: Any) -> str:
    """Format a setting in a cell."""
    if isinstance(value, float):
        return f"{value:g}"
    if value is None or isinstance(value, str):
        return ABSENT if value is None else value
    return json.dumps(value, ensure_ascii=False)


def runs_view(runs: Sequence[RunSummary], shown: Sequence[str]) -> Group:
    """Return a table of runs, and what is wrong with those that are damaged."""
    last = [path.rpartition(".")[2] for path in shown]
    columns = run_columns(
        [end if last.count(end) == 1 else path for end, path in zip(last, shown, strict=True)]
    )
    made = table(*columns, right=(*NUMBERS, *columns[len(run_columns(())) :]))
    made.padding = (0, 2, 0, 0)
    for column in made.columns:
        column.no_wrap = column.header in ("status", *NUMBERS, "when")
        column.overflow = "fold"
    for run in runs:
        cells: list[Any] = run_cells(run, shown)
        cells[0] = Text(cells[0], style="bold", overflow="fold")
        cells[2] = Text(cells[2], style=STYLES[run.status])
        made.add_row(*cells)
    problems = [message("damaged", "red", run.problem) for run in runs if run.problem]
    return Group(made, *problems)


def differences_view(found: Mapping[str, Any]) -> Group:
    """Return what differs between runs: settings, versions and metrics."""
    parts = [
        part for part in map(lambda kind: _part(found, kind), ("settings", "versions", "metrics")) if part
    ]
    if not found["settings"]:
        parts.insert(0, section("Settings", Text("the same", style="dim")))
    return Group(*parts)


def _part(found: Mapping[str, Any], kind: str) -> Group | None:
    if not found[kind]:
        return None
    columns, rows = differences_table(found, kind)
    made = table(*columns, right=columns[1:])
    for name, *values in rows:
        made.add_row(Text(name, overflow="fold"), *values)
    body: list[RenderableType] = [made]
    return section(kind.capitalize(), *body)


def differences_table(found: Mapping[str, Any], kind: str) -> tuple[list[str], list[list[str]]]:
    """Return columns and rows of one kind of differences; two runs' metrics have their difference, too."""
    pair = kind == "metrics" and len(found["runs"]) == 2
    columns = [{"settings": "setting", "versions": "package", "metrics": "metric"}[kind], *found["runs"]]
    write = number if kind == "metrics" else said
    rows = [[name, *map(write, values), *_change(values, pair)] for name, values in found[kind].items()]
    return [*columns, *(["difference"] if pair else [])], rows


def _change(values: Sequence[Any], pair: bool) -> Iterator[str]:
    """Yield the second of two values minus the first."""
    if pair:
        numeric = all(isinstance(each, int | float) and not isinstance(each, bool) for each in values)
        change = values[1] - values[0] if numeric else None
        yield difference(change, values[0])
