"""What a report says of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from attrs import frozen
from markupsafe import Markup

import mtl
from mtl import Metric, MtlError
from mtl.render import is_plain
from mtl.runs import Plugins, discover, load_config, plugins_of_run
from mtl_report.gradients import gradient_panels
from mtl_report.model import WorstRows, sharing, worst_rows
from mtl_report.page import render
from mtl_report.plots import COLORS, Line, Plots
from mtl_report.records import RunFiles, Series, mapping, numeric, sequence

TASKS_WITH_PLOTS = 32
"""Tasks whose curves are drawn; the tables have all tasks."""
TASKS_WITH_ROWS = 12
"""Tasks whose evaluation data is scored row by row."""
LABELS_IN_A_MATRIX = 16
"""With more labels a confusion matrix is shown as its largest cells."""
CONFUSIONS_SHOWN = 20
TIMED = ("data", "forward", "backward", "optimizer", "eval")


def run_page(files: RunFiles, *, data: bool) -> str:
    """Return the report of a run; with `data`, rows of its evaluation data are read and scored."""
    plots, plugins = Plots(), discover()
    run, why = _load(files, plugins)
    metrics = _metrics(files, run, plugins)
    return render(
        "run.html",
        files=files,
        name=files.folder.name,
        result=files.result,
        best=mapping(files.result.get("best")),
        seconds=mapping(files.result.get("seconds")),
        notes=[*_unfinished(files), *files.notes],
        metrics=metrics,
        results=_results(files, metrics),
        curves=_curves(files, metrics, plots),
        rates=_rates(files, plots),
        schedule=_schedule(files, plots),
        time=_time(files),
        sharing=sharing(run) if run is not None else None,
        why=why,
        gradients=gradient_panels(files, plots),
        confusions=_confusions(files),
        worst=_worst(run, files, data=data),
        data=data,
        phases=files.phases(),
    )


def _load(files: RunFiles, plugins: Plugins) -> tuple[mtl.LoadedRun | None, str]:
    """Return the run's best model, or why there is none."""
    try:
        return mtl.load(files.folder, plugins=plugins), ""
    except MtlError as error:
        return None, str(error)


def _unfinished(files: RunFiles) -> list[str]:
    if files.result:
        return []
    return [
        f"This run is not complete: its last record is of step {files.last_step:,}, and it has no"
        " result.json. Figures are those of its last evaluation."
    ]


@frozen
class LikelyMetric(Metric):
    """A metric that was recorded for a task whose plugin cannot be asked: it may go either way."""


def _metrics(files: RunFiles, run: mtl.LoadedRun | None, plugins: Plugins) -> dict[str, Metric]:
    """Return each task's metric that counts: what its plugin says, or else the first that was recorded."""
    try:
        config = run.config if run is not None else _config(files, plugins)
        known = {name: component.config.metric for name, component in config.tasks.items()}
    except MtlError:
        known = {}
    return {
        name: known.get(name) or LikelyMetric(_likely_metric(files, name), higher_is_better=True)
        for name in files.tasks
    }


def _config(files: RunFiles, plugins: Plugins) -> Any:
    plugins = plugins_of_run(files.folder, plugins)
    return load_config(files.config, plugins=plugins, check_paths=False).config


def _likely_metric(files: RunFiles, task: str) -> str:
    named = str(mapping(files.result.get("best")).get("metric", ""))
    if named.startswith(f"{task}."):
        return named.removeprefix(f"{task}.")
    metrics = _task_metrics(files, task, "eval")
    return next((name for name in metrics if name not in ("loss", "tokens")), "loss")


# --- results -------------------------------------------------------------------------------------


@frozen
class TaskResult:
    """A task's metrics: `all` has those that fit into a cell, as rows of name, eval and test."""

    name: str
    metric: str
    facts: Mapping[str, Any]
    eval: Mapping[str, Any]
    test: Mapping[str, Any]
    all: Sequence[tuple[str, Any, Any]]


def _results(files: RunFiles, metrics: Mapping[str, Metric]) -> list[TaskResult]:
    found = []
    for name in files.tasks:
        scored = {split: _task_metrics(files, name, split) for split in ("eval", "test")}
        names = dict.fromkeys(["loss", metrics[name].name, *scored["eval"], *scored["test"]])
        rows = [(metric, scored["eval"].get(metric), scored["test"].get(metric)) for metric in names]
        facts = mapping(mapping(files.result.get("tasks")).get(name))
        found.append(TaskResult(name, metrics[name].name, facts, scored["eval"], scored["test"], rows))
    return found


def _task_metrics(files: RunFiles, task: str, split: str) -> dict[str, Any]:
    """Return the plain metrics of a task: those of the result, or else those recorded last."""
    return {name: value for name, value in _scored(files, task, split).items() if is_plain(value)}


def _scored(files: RunFiles, task: str, split: str) -> Mapping[str, Any]:
    metrics = mapping(mapping(mapping(files.result.get("tasks")).get(task)).get(split))
    if files.result:
        return metrics
    records = files.of(split, task)
    last = records[-1] if records else {}
    return {name: value for name, value in last.items() if name not in _PLACE}


_PLACE = ("kind", "step", "epoch", "task", "phase")


# --- over the steps ------------------------------------------------------------------------------


@frozen
class Curves:
    """A task's plots, None where there is nothing to draw; `stopped` is the step at which it left the
    schedule, if it did."""

    task: str
    metric: str
    direction: str
    loss: Markup | None
    metric_plot: Markup | None
    has_train: bool
    has_eval: bool
    stopped: int | None


def _direction(metric: Metric) -> str:
    if isinstance(metric, LikelyMetric):
        return ""
    return ", higher is better" if metric.higher_is_better else ", lower is better"


def _curves(files: RunFiles, metrics: Mapping[str, Metric], plots: Plots) -> list[Curves]:
    best = mapping(files.result.get("best")).get("step")
    common = {
        "mark": best if isinstance(best, int) and 0 <= best <= files.last_step else None,
        "phases": files.phases(),
        "last_step": files.last_step,
    }
    found = []
    for name in files.tasks[:TASKS_WITH_PLOTS]:
        metric = metrics[name]
        train, scored = files.series("train", name, "loss"), files.series("eval", name, "loss")
        curve = files.series("eval", name, metric.name)
        losses = [Line(train, 0), Line(scored, 1, dots=True)]
        lines = [line for line in losses if line.series.defined]
        found.append(
            Curves(
                name,
                metric.name,
                _direction(metric),
                plots.curves(lines, y="loss", **common) if lines else None,  # type: ignore[arg-type]
                plots.curves([Line(curve, 2, dots=True)], y="", **common)  # type: ignore[arg-type]
                if curve.defined and metric.name != "loss"
                else None,
                has_train=bool(train.defined),
                has_eval=bool(scored.defined),
                stopped=next((record["step"] for record in files.of("stopped", name)), None),
            )
        )
    return found


def _rates(files: RunFiles, plots: Plots) -> Markup | None:
    """Return the learning rate over the steps; None where it never changed."""
    rates = {record["step"]: numeric(record.get("lr")) for record in files.of_kind("train")}
    series = Series(tuple(sorted(rates)), tuple(rates[step] for step in sorted(rates)))
    if len(set(series.defined)) < 2:
        return None
    return plots.curves([Line(series, 5)], y="", phases=files.phases(), last_step=files.last_step)


@frozen
class TaskShare:
    """A task's part of the steps; `style` is its color."""

    name: str
    style: int
    steps: float
    share: float


@frozen
class Schedule:
    """Steps by task, those with a color of their own first, and the plot over the steps where the
    records tell."""

    tasks: Sequence[TaskShare]
    plot: Markup | None


def _schedule(files: RunFiles, plots: Plots) -> Schedule | None:
    """Return how the steps went to the tasks: a record's `share` is its task's since the report before."""
    shares = {name: files.series("train", name, "share") for name in files.tasks}
    reports = sorted({step for series in shares.values() for step in series.steps})
    since = {step: step - before for before, step in pairwise([0, *reports])}
    results = mapping(files.result.get("tasks"))
    totals = {}
    for name, series in shares.items():
        taken = (
            since[step] * (value or 0.0) for step, value in zip(series.steps, series.values, strict=True)
        )
        known = numeric(mapping(results.get(name)).get("steps"))
        totals[name] = max(round(sum(taken)) if known is None else known, 0)
    whole = sum(totals.values())
    if not whole:
        return None
    order = sorted(files.tasks, key=lambda name: -totals[name])
    styles = {name: min(place, COLORS - 1) for place, name in enumerate(order)}
    tasks = [TaskShare(name, styles[name], totals[name], totals[name] / whole) for name in order]
    drawn = len(reports) > 1 and len(order) > 1
    parts = _by_colour(shares, styles, reports) if drawn else []
    return Schedule(tasks, plots.shares(parts, last_step=files.last_step) if parts else None)


def _by_colour(
    shares: Mapping[str, Series], styles: Mapping[str, int], reports: Sequence[int]
) -> list[tuple[Series, int]]:
    """Return the shares of the tasks of each color at each report, which hold since the one before."""
    sums = {style: dict.fromkeys(reports, 0.0) for style in sorted(set(styles.values()))}
    for name, series in shares.items():
        for step, value in zip(series.steps, series.values, strict=True):
            sums[styles[name]][step] += value or 0.0
    return [
        (Series((0, *by_step), (by_step[reports[0]], *by_step.values())).thinned(120), style)
        for style, by_step in sums.items()
    ]


def _time(files: RunFiles) -> list[tuple[str, float, float]]:
    """Seconds of each kind of work and their share of all."""
    seconds = mapping(files.result.get("seconds"))
    spent = {name: numeric(seconds.get(name)) or 0.0 for name in TIMED}
    spent = {name: max(value, 0.0) for name, value in spent.items()}
    other = (numeric(seconds.get("total")) or 0.0) - sum(spent.values())
    spent["other"] = max(other, 0.0)
    whole = sum(spent.values())
    return [(name, value, value / whole) for name, value in spent.items() if value] if whole else []


# --- confusions ----------------------------------------------------------------------------------


@frozen
class Confusion:
    """A confusion matrix: rows of a label, its cells as (count, share of the row), and its sum; or, of
    many labels, the most frequent mistakes as (true label, predicted label, count, share)."""

    task: str
    split: str
    labels: Sequence[str]
    rows: Sequence[tuple[str, Sequence[tuple[int, float]], int]]
    mistakes: Sequence[tuple[str, str, int, float]]
    per_class: Sequence[tuple[str, Mapping[str, Any]]]


def _confusions(files: RunFiles) -> list[Confusion]:
    found = []
    for task in files.tasks[:TASKS_WITH_PLOTS]:
        for split in ("test", "eval"):
            metrics = _scored(files, task, split)
            confusion = _confusion(task, split, metrics)
            if confusion is not None:
                found.append(confusion)
                break
    return found


def _confusion(task: str, split: str, metrics: Mapping[str, Any]) -> Confusion | None:
    """Return the confusion matrix among a task's metrics, in the form that DocClassificationTask gives."""
    written = mapping(metrics.get("confusion_matrix"))
    labels = [str(label) for label in sequence(written.get("labels"))]
    matrix = [sequence(row) for row in sequence(written.get("matrix"))]
    if not labels or len(matrix) != len(labels):
        return None
    if any(len(row) != len(labels) or any(type(n) is not int or n < 0 for n in row) for row in matrix):
        return None
    rows = [
        (label, [(n, n / max(sum(row), 1)) for n in row], sum(row))
        for label, row in zip(labels, matrix, strict=True)
    ]
    mistakes = [
        (true, labels[place], n, part)
        for at, (true, cells, _) in enumerate(rows)
        for place, (n, part) in enumerate(cells)
        if n and place != at
    ]
    mistakes.sort(key=lambda mistake: -mistake[2])
    per_class = [(label, mapping(each)) for label, each in mapping(metrics.get("per_class")).items()]
    is_large = len(labels) > LABELS_IN_A_MATRIX
    return Confusion(
        task,
        split,
        labels,
        [] if is_large else rows,
        mistakes[:CONFUSIONS_SHOWN] if is_large else [],
        per_class,
    )


# --- rows ----------------------------------------------------------------------------------------


@frozen
class TaskRows:
    """A task's rows of the highest loss, or why there are none."""

    task: str
    rows: WorstRows | None
    why: str


def _worst(run: mtl.LoadedRun | None, files: RunFiles, *, data: bool) -> list[TaskRows]:
    if run is None or not data:
        return []
    found = []
    for task in run.task_names[:TASKS_WITH_ROWS]:
        try:
            found.append(TaskRows(task, worst_rows(run, task), ""))
        except MtlError as error:
            found.append(TaskRows(task, None, str(error)))
    return found
