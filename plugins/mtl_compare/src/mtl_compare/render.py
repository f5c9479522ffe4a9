"""A comparison for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mtl.render import ABSENT, count, decimals, duration, message, number, table, with_deviation
from mtl_compare.statistics import HELPS, HURTS

STYLES = {HELPS: "bold green", HURTS: "bold red"}
OTHER_METRICS = 4
"""Other metrics of a task that are shown; compare.json has all."""


def report_view(report: Mapping[str, Any], folder: str) -> Group:
    """Return a block a task, then all tasks, the cost, and what a reader should know."""
    parts: list[RenderableType] = []
    for name, task in report["tasks"].items():
        parts += [*(_configs(report, name) if report["kind"] == "configs" else _task(name, task)), Text()]
    parts += [*_all_tasks(report), Text(), _costs(report["cost"]), Text()]
    for run in report["runs"]:
        if run["status"] == "failed":
            parts.append(
                message("failed", "bold red", f"{run['name']}, seed {run['seed']}: {run['message']}")
            )
    parts += [message("note", "dim", note) for note in report["notes"]]
    return Group(*parts, Text(f"comparison: {folder}"))


# --- a task ----------------------------------------------------------------------------------------


def _task(name: str, task: Mapping[str, Any]) -> Iterator[RenderableType]:
    yield _title(name, task)
    baselines = {"alone": {**task["alone"], "difference": task["difference"]}}
    baselines |= {f"without {other}": each for other, each in task["without"].items()}
    for label, baseline in baselines.items():
        yield _verdict(name, label, baseline["difference"])
    made = _table("", "mean ± deviation", "difference ± 95 %", "p seeds", "p rows")
    made.add_row("together", _mean(task["together"]))
    for label, baseline in baselines.items():
        made.add_row(label, _mean(baseline), *_difference(baseline["difference"], baseline["mean"]))
    yield made
    metrics = list(task["metrics"].items())[:OTHER_METRICS]
    if metrics:
        yield _other_metrics(metrics)


def _title(name: str, task: Mapping[str, Any]) -> Text:
    better = "higher" if task["higher_is_better"] else "lower"
    rows = count(task["rows"], f"{task['split']} row")
    return Text.assemble((name, "bold"), f"   {task['metric']} on {rows}, {better} is better")


def _configs(report: Mapping[str, Any], name: str) -> Iterator[RenderableType]:
    """Yield a task in several configs, each against the first."""
    task, baseline = report["tasks"][name], report["baseline"]
    yield _title(name, task)
    made = _table("", "mean ± deviation", "difference ± 95 %", "p seeds", "p rows")
    for config, each in task["configs"].items():
        if each["difference"] is None:
            made.add_row(config, _mean(each))
            continue
        made.add_row(config, _mean(each), *_difference(each["difference"], each["mean"]))
        yield _config_verdict(name, config, baseline, each["difference"])
    yield made


def _config_verdict(task: str, config: str, baseline: str, difference: Mapping[str, Any]) -> Text:
    """Return the verdict in a sentence: whether a config is better than the baseline on a task."""
    word, text = difference["verdict"], difference["text"]
    if word in STYLES:
        than = "better" if word == HELPS else "worse"
        return Text(f"{config} is {than} than {baseline} on {task}", style=STYLES[word])
    return Text(f"whether {config} is better than {baseline} on {task} {text}", style="yellow")


def _table(*columns: str) -> Table:
    made = table(*columns, right=columns[1:])
    made.padding = (0, 2, 0, 0)
    return made


def _verdict(task: str, label: str, difference: Mapping[str, Any]) -> Text:
    """Return the verdict in a sentence: what training together does to a task, or one other task."""
    who = "training together" if label == "alone" else label.removeprefix("without ")
    word, text = difference["verdict"], difference["text"]
    if word in STYLES:
        return Text(f"{who} {word} {task}", style=STYLES[word])
    return Text(f"whether {who} helps {task} {text}", style="yellow")


def _mean(summary: Mapping[str, Any]) -> str:
    return with_deviation(summary["mean"], summary["deviation"])


def _difference(difference: Mapping[str, Any], like: float | None) -> tuple[str, str, str]:
    """Return the difference with half its interval, in the decimals of `like`, and the probabilities."""
    places = decimals(like)
    text = _signed(difference["mean"], difference["interval"], lambda value: f"{value:,.{places}f}")
    return text, _p(difference["p_seeds"]), _p(difference["p_rows"])


def _signed(mean: float | None, interval: list[float] | None, written: Any) -> str:
    if mean is None:
        return ABSENT
    half = f" ± {written((interval[1] - interval[0]) / 2)}" if interval else ""
    return f"{'+' if mean > 0 else ''}{written(mean)}{half}"


def _p(value: float | None) -> str:
    if value is None:
        return ABSENT
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _other_metrics(metrics: list[tuple[str, Mapping[str, Any]]]) -> Table:
    made = _table("", "together", "alone", "p seeds")
    for name, each in metrics:
        cells = (name, _mean(each["together"]), _mean(each["alone"]), _p(each["difference"]["p_seeds"]))
        made.add_row(*(Text(cell, style="dim") for cell in cells))
    return made


# --- all tasks -------------------------------------------------------------------------------------


def _all_tasks(report: Mapping[str, Any]) -> Iterator[RenderableType]:
    configs = report["kind"] == "configs"
    deltas = report["delta_m"] if configs and len(report["tasks"]) > 1 else {}
    for name, delta in deltas.items() if configs else [("all tasks", report["delta_m"])]:
        if not delta:
            continue
        share = _signed(delta["mean"], delta["interval"], lambda value: f"{100 * value:.2f} %")
        p = "" if delta["p_seeds"] is None else f", p {_p(delta['p_seeds'])}"
        what = ("   the mean relative gain of a task", "dim")
        yield Text.assemble((name, "bold"), f"   Δm {share}{p}", what)


def _costs(cost: Mapping[str, Any]) -> Table:
    made = _table("cost of one run", "time", "parameters", "steps")
    for name, each in cost.items():
        label = "all alone, summed" if name == "alone" else name
        seconds = ABSENT if each["seconds"] is None else duration(each["seconds"])
        made.add_row(label, seconds, number(each["parameters"]), number(each["steps"]))
    return made
