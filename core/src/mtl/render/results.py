"""Metrics of tasks: the table at the end of a run, and that of `mtl test`."""

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

METRICS_PER_TASK = 5
"""Metrics per task in the table at the end of a run; result.json has all."""


def result_table(result: Mapping[str, Any], metrics: Mapping[str, str]) -> Table:
    """Return the table at the end of a run: for each task the loss, the selection metric that `metrics`
    names, and some others."""
    tested = any(task.get("test") for task in result["tasks"].values())
    numbers = ["eval", *(["test"] if tested else []), "rows seen", "examples/s"]
    made = table("task", "metric", *numbers, right=numbers)
    for name, task in result["tasks"].items():
        evaluated, test = task.get("eval") or {}, task.get("test") or {}
        shown = list(plain_metrics({**test, **evaluated}, metrics.get(name)))[:METRICS_PER_TASK] or [ABSENT]
        facts = [f"{task['rows_seen']:,} of {task['rows_total']:,}", rate(task.get("examples_per_second"))]
        for line, metric in enumerate(shown):
            style = "bold" if metric == metrics.get(name) else ""
            values = [number(evaluated.get(metric)), *([number(test.get(metric))] if tested else [])]
            cells = [Text(value, style=style) for value in values]
            made.add_row(
                Text(name if line == 0 else "", style="bold"),
                Text(metric, style=style),
                *cells,
                *(facts if line == 0 else ("", "")),
                end_section=line == len(shown) - 1,
            )
    return made


def metrics_view(tasks: Mapping[str, Mapping[str, Any]]) -> Group:
    """Return a table of all plain metrics by task, and the names of those that only `--json` shows."""
    made = table("task", "metric", "value", right=("value",))
    large: dict[str, None] = {}
    for name, metrics in tasks.items():
        label = Text(name, style="bold")
        for metric, value in plain_metrics(metrics).items():
            made.add_row(label, metric, number(value))
            label = Text()
        large.update(dict.fromkeys(metric for metric, value in metrics.items() if not is_plain(value)))
    more = [Text(f"only with --json: {', '.join(large)}", style="dim")] if large else []
    return Group(made, *more)


def judged_view(judged: Mapping[str, Mapping[str, Any]], file: str) -> Group:
    """Return how many rows of each task are wrong, how well it is calibrated, and where it is weak."""
    made = table("task", "slice", "", "rows", "right", right=("rows", "right"))
    lines = []
    for task, facts in judged.items():
        label = Text(task, style="bold")
        for each in facts["slices"]:
            value = share(each["right"]) if "right" in each else f"off by {number(each['mean_distance'])}"
            made.add_row(label, each["by"], each["name"], number(each["rows"]), value)
            label = Text()
        wrong = "" if facts["wrong"] is None else f"{facts['wrong']:,} of {facts['rows']:,} rows are wrong"
        error = facts["calibration_error"]
        calibration = "" if error is None else f"expected calibration error {number(error)}"
        lines.append(Text(f"{task}: " + ("; ".join(filter(None, (wrong, calibration))) or "quantities")))
    return Group(Text(), made, Text(), *lines, Text(f"rows: {file}", style="dim"))


def costs_view(costs: Sequence[Cost], folder: Path) -> Group:
    """Return the largest costs of a profiled run, and the folder of the whole profile."""
    made = table("phase", "operation", "calls", "seconds", "share", right=("calls", "seconds", "share"))
    for cost in costs:
        made.add_row(cost.phase, cost.operation, f"{cost.calls:,}", number(cost.seconds), share(cost.share))
    return Group(Text(), made, Text(f"profile: {folder}", style="dim"))


def plain_metrics(metrics: Mapping[str, Any], *first: str | None) -> dict[str, Any]:
    """Return the metrics that fit into a cell, the loss and those in `first` before the others."""
    names = [name for name in ("loss", *first) if name is not None and name in metrics]
    names += [name for name in metrics if name not in names]
    return {name: metrics[name] for name in names if is_plain(metrics[name])}
