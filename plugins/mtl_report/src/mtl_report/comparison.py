"""What a report says of a comparison: `compare.json`, whose format docs/compare.md says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import evolve, frozen
from markupsafe import Markup

from mtl import UsageError
from mtl.runs import read_json
from mtl_report.page import render
from mtl_report.plots import Plots
from mtl_report.records import mapping, numeric, sequence

COMPARISON = "compare.json"
FORMAT = 1
NEUTRAL, GOOD, BAD = 6, 2, 1
"""Colors of differences: that cannot be told, that help, that hurt."""
TASKS_IN_A_MATRIX = 24


@frozen
class Difference:
    """What training together does to a task, against training without all or one of the others.

    `gain` and `interval` are signed so that more is better; `word` is "helps" or "hurts" where that can
    be told, `sentence` the verdict in words.
    """

    task: str
    without: str | None
    word: str
    sentence: str
    mean: float | None
    gain: float | None
    interval: tuple[float, float] | None
    gains: Sequence[float]
    p_seeds: float | None
    p_rows: float | None
    baseline: Mapping[str, Any]
    plot: Markup | None = None
    relative: float | None = None


@frozen
class ComparedTask:
    """A task: where its figures come from, its figures together, and the differences, that to the task
    alone first."""

    name: str
    metric: str
    higher_is_better: bool
    split: str
    rows: float | None
    selected_on: str | None
    together: Mapping[str, Any]
    differences: Sequence[Difference]
    scale: Markup | None


def comparison_page(folder: Path) -> str:
    """Return the report of a comparison. Raises `UsageError` where it cannot be read."""
    found = read_json(folder / COMPARISON)
    if found.get("format") != FORMAT:
        raise UsageError(
            f"{folder / COMPARISON}: `format` must be {FORMAT}, but is {found.get('format')!s:.40}"
        )
    if found.get("kind") == "configs":
        raise UsageError(
            f"{folder}: this is a comparison of configs, which `mtl compare` shows with --csv, --latex or"
            " --json; a report shows one of tasks"
        )
    plots = Plots()
    tasks = [_task(name, mapping(facts), plots) for name, facts in mapping(found.get("tasks")).items()]
    return render(
        "compare.html",
        name=folder.name,
        found=found,
        tasks=tasks,
        verdicts=[difference for task in tasks for difference in task.differences],
        delta=mapping(found.get("delta_m")),
        costs=[(name, mapping(cost)) for name, cost in mapping(found.get("cost")).items()],
        runs=[mapping(run) for run in sequence(found.get("runs"))],
        notes=[str(note) for note in sequence(found.get("notes"))],
        seeds=sequence(found.get("seeds")),
        transfer=_transfer(tasks),
    )


def _task(name: str, facts: Mapping[str, Any], plots: Plots) -> ComparedTask:
    higher = facts.get("higher_is_better") is not False
    together = mapping(facts.get("together"))
    alone = {**mapping(facts.get("alone")), "difference": facts.get("difference")}
    baselines: dict[str | None, Mapping[str, Any]] = {None: alone}
    baselines |= {other: mapping(each) for other, each in mapping(facts.get("without")).items()}
    differences = [_difference(name, other, each, together, higher) for other, each in baselines.items()]
    limits = _limits(differences)
    return ComparedTask(
        name=name,
        metric=str(facts.get("metric", "")),
        higher_is_better=higher,
        split=str(facts.get("split", "")),
        rows=numeric(facts.get("rows")),
        selected_on=facts.get("selected_on") if isinstance(facts.get("selected_on"), str) else None,
        together=together,
        differences=[_drawn(difference, limits, plots) for difference in differences],
        scale=plots.scale(limits) if limits is not None else None,
    )


def _difference(
    task: str, other: str | None, baseline: Mapping[str, Any], together: Mapping[str, Any], higher: bool
) -> Difference:
    facts = mapping(baseline.get("difference"))
    amount, sign = numeric(facts.get("mean")), 1.0 if higher else -1.0
    ends = [numeric(end) for end in sequence(facts.get("interval"))]
    interval = [sign * end for end in ends if end is not None]
    word = str(facts.get("verdict", ""))
    mate = "raining together" if other is None else f"raining with {other}"
    alone = numeric(baseline.get("mean"))
    return Difference(
        task=task,
        without=other,
        word=word,
        sentence=f"T{mate} {word} {task}"
        if word in ("helps", "hurts")
        else f"Whether t{mate} helps {task} {facts.get('text') or word or 'is not known yet'}",
        mean=amount,
        gain=None if amount is None else sign * amount,
        interval=(min(interval), max(interval)) if len(interval) == 2 else None,
        gains=[sign * gain for gain in _by_seed(together, baseline)],
        p_seeds=numeric(facts.get("p_seeds")),
        p_rows=numeric(facts.get("p_rows")),
        baseline=baseline,
        relative=sign * amount / abs(alone) if amount is not None and alone else None,
    )


def _by_seed(together: Mapping[str, Any], baseline: Mapping[str, Any]) -> Iterator[float]:
    """Return the difference of each seed that both have."""

    def values(summary: Mapping[str, Any]) -> dict[Any, float]:
        found = [numeric(value) for value in sequence(summary.get("values"))]
        seeds = sequence(summary.get("seeds")) or range(len(found))
        return {str(seed): value for seed, value in zip(seeds, found, strict=False) if value is not None}

    joint, other = values(together), values(baseline)
    return (joint[seed] - other[seed] for seed in joint if seed in other)


def _limits(differences: Sequence[Difference]) -> tuple[float, float] | None:
    """Return the axis that a task's differences share: all of them and 0."""
    values = [value for each in differences for value in (*each.gains, *(each.interval or ()))]
    values += [each.gain for each in differences if each.gain is not None]
    if not values:
        return None
    low, high = min(*values, 0.0), max(*values, 0.0)
    margin = 0.06 * (high - low) or 1.0
    return low - margin, high + margin


def _drawn(difference: Difference, limits: tuple[float, float] | None, plots: Plots) -> Difference:
    if limits is None:
        return difference
    style = {"helps": GOOD, "hurts": BAD}.get(difference.word, NEUTRAL)
    plot = plots.interval(difference.gain, difference.interval, difference.gains, limits=limits, style=style)
    return evolve(difference, plot=plot)


@frozen
class Transfer:
    """Who helps whom: for each task, its relative gain from the presence of each other one, and of all,
    as (gain, how strong from -1 to 1, verdict)."""

    others: Sequence[str]
    rows: Sequence[tuple[str, Sequence[tuple[float | None, float, str]]]]


def _transfer(tasks: Sequence[ComparedTask]) -> Transfer | None:
    left_out = {each.without for task in tasks for each in task.differences if each.without is not None}
    places = {task.name: place for place, task in enumerate(tasks)}
    others = sorted(left_out, key=lambda name: (places.get(name, len(tasks)), name))
    if not others or len(others) > TASKS_IN_A_MATRIX:
        return None
    gains = [abs(each.relative) for task in tasks for each in task.differences if each.relative is not None]
    largest = max(gains, default=0.0) or 1.0
    rows = []
    for task in tasks:
        known = {each.without: each for each in task.differences}
        cells: list[tuple[float | None, float, str]] = []
        for other in (None, *others):
            each = known.get(other)
            gain = each.relative if each else None
            cells.append((gain, (gain or 0.0) / largest, each.word if each else ""))
        rows.append((task.name, cells))
    return Transfer(others, rows)
