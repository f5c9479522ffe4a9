"""A comparison as CSV, with all numbers in full, and as a LaTeX table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mtl.render import Latex, csv_table, latex, latex_table
from mtl_compare.statistics import HELPS, HURTS, LEVEL

STRICT = 0.01
COLUMNS = (
    *("task", "name", "metric", "higher_is_better", "split", "rows", "runs", "mean", "deviation", "values"),
    *("baseline", "difference", "interval_low", "interval_high", "p_seeds", "p_rows", "verdict"),
)


def comparison_csv(report: Mapping[str, Any]) -> str:
    """Return a row per task and config, or per task and kind of run."""
    return csv_table(COLUMNS, list(_csv_rows(report)))


def _csv_rows(report: Mapping[str, Any]) -> Iterator[list[Any]]:
    for task, facts in report["tasks"].items():
        for name, summary, baseline, difference in _lines(report, facts):
            tested = difference or {}
            low, high = tested.get("interval") or (None, None)
            yield [
                *(task, name, facts["metric"], str(facts["higher_is_better"]).lower()),
                *(facts["split"], facts["rows"], len(summary["values"])),
                *(summary["mean"], summary["deviation"], " ".join(map(repr, summary["values"]))),
                *(baseline, tested.get("mean"), low, high),
                *(tested.get("p_seeds"), tested.get("p_rows"), tested.get("verdict")),
            ]


def _lines(report: Mapping[str, Any], facts: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any, Any]]:
    """Yield name, values, baseline and difference from it, the baseline first."""
    if report["kind"] == "configs":
        for name, each in facts["configs"].items():
            yield name, each, None if name == report["baseline"] else report["baseline"], each["difference"]
        return
    yield "alone", facts["alone"], None, None
    yield "together", facts["together"], "alone", facts["difference"]
    for other, each in facts["without"].items():
        # The difference is that of all tasks from these.
        yield f"without {other}", each, None, None


def comparison_latex(report: Mapping[str, Any]) -> str:
    """Return a row per config or kind of run and a column per task: mean ± deviation, with marks.

    One star means that both tests are below 5 %, two that both are below 1 %.
    """
    tasks: Mapping[str, Mapping[str, Any]] = report["tasks"]
    cells: dict[str, dict[str, Latex]] = {}
    for task, facts in tasks.items():
        lines = list(_lines(report, facts))
        digits = _digits([summary["mean"] for _, summary, _, _ in lines])
        for name, summary, _, difference in lines:
            cells.setdefault(name, {})[task] = _cell(summary, difference, digits)
    columns = ["", *(f"{task} ({facts['metric']})" for task, facts in tasks.items())]
    rows = [[name, *(each.get(task, "") for task in tasks)] for name, each in cells.items()]
    baseline = report["baseline"] if report["kind"] == "configs" else "alone"
    seeds = len(report["seeds"])
    note = (
        f"% mean and standard deviation over {seeds} seed{'s' if seeds != 1 else ''}; * and **: differs from"
        f" {baseline} with p < {LEVEL} and p < {STRICT}, over seeds (paired t-test) and over rows\n"
    )
    return note + latex_table(columns, rows, right=columns[1:])


def _digits(means: Sequence[float | None]) -> int:
    """Return the decimals of a column: all its cells have as many."""
    largest = max((abs(mean) for mean in means if mean is not None), default=0.0)
    return 4 if largest < 10 else 2 if largest < 1000 else 1


def _cell(summary: Mapping[str, Any], difference: Mapping[str, Any] | None, digits: int) -> Latex:
    if summary["mean"] is None:
        return Latex(latex("-"))
    text = f"${summary['mean']:.{digits}f}"
    if summary["deviation"] is not None:
        text += rf" \pm {summary['deviation']:.{digits}f}"
    mark = _mark(difference)
    return Latex(f"{text}{'^{' + mark + '}' if mark else ''}$")


def _mark(difference: Mapping[str, Any] | None) -> str:
    """Return the stars of a difference that both tests, as far as they apply, find unlikely to be chance."""
    if difference is None or difference["verdict"] not in (HELPS, HURTS):
        return ""
    tested = [p for p in (difference["p_seeds"], difference["p_rows"]) if p is not None]
    return "**" if max(tested) < STRICT else "*"
