"""Figures of tasks: the closing table of a run, and those of `mtl test`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from mtl.render.cells import ABSENT, is_plain, number, rate, share, table

if TYPE_CHECKING:
    from mtl.training.profile import Cost

FIGURES_IN_A_TABLE = 5
"""Figures of a task that a closing table shows; the rest is in result.json."""


def result_table(result: Mapping[str, Any], metrics: Mapping[str, str]) -> Table:
    """The closing table of a run: a block of lines a task, the figure that selects first after the
    loss. `metrics` names it for each task."""
    tested = any(task.get("test") for task in result["tasks"].values())
    numbers = ["eval", *(["test"] if tested else []), "rows seen", "examples/s"]
    made = table("task", "metric", *numbers, right=numbers)
    for name, task in result["tasks"].items():
        evaluated, test = task.get("eval") or {}, task.get("test") or {}
        shown = list(plain_figures({**test, **evaluated}, metrics.get(name)))[:FIGURES_IN_A_TABLE] or [ABSENT]
        facts = [f"{task['rows_seen']:,} of {task['rows_total']:,}", rate(task.get("examples_per_second"))]
        for line, figure in enumerate(shown):
            style = "bold" if figure == metrics.get(name) else ""
            values = [number(evaluated.get(figure)), *([number(test.get(figure))] if tested else [])]
            cells = [Text(value, style=style) for value in values]
            made.add_row(
                Text(name if line == 0 else "", style="bold"),
                Text(figure, style=style),
                *cells,
                *(facts if line == 0 else ("", "")),
                end_section=line == len(shown) - 1,
            )
    return made


def figures_view(tasks: Mapping[str, Mapping[str, Any]]) -> Group:
    """All plain figures of each task, and the names of those that need `--json`."""
    made = table("task", "metric", "value", right=("value",))
    large: dict[str, None] = {}
    for name, figures in tasks.items():
        label = Text(name, style="bold")
        for figure, value in plain_figures(figures).items():
            made.add_row(label, figure, number(value))
            label = Text()
        large.update(dict.fromkeys(figure for figure, value in figures.items() if not is_plain(value)))
    more = [Text(f"with --json also {', '.join(large)}", style="dim")] if large else []
    return Group(made, *more)


def costs_view(costs: Sequence[Cost], folder: Path) -> Group:
    """The largest costs of a profiled run, and where the rest is."""
    made = table("phase", "operation", "calls", "seconds", "share", right=("calls", "seconds", "share"))
    for cost in costs:
        made.add_row(cost.phase, cost.operation, f"{cost.calls:,}", number(cost.seconds), share(cost.share))
    return Group(Text(), made, Text(f"profile: {folder}", style="dim"))


def plain_figures(figures: Mapping[str, Any], *first: str | None) -> dict[str, Any]:
    """The figures that fit into a cell, the loss and those in `first` before the others."""
    names = [name for name in ("loss", *first) if name is not None and name in figures]
    names += [name for name in figures if name not in names]
    return {name: figures[name] for name in names if is_plain(figures[name])}
