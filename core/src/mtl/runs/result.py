"""What `train` returns: a completed run, its metrics and curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
from attrs import frozen

from mtl.errors import UsageError
from mtl.runs.records import read_records

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CURVES_PER_ROW = 2


@frozen
class Result:
    """A completed run: its folder and the contents of its result.json."""

    folder: Path
    data: Mapping[str, Any]

    @property
    def metrics(self) -> dict[str, dict[str, dict[str, Any]]]:
        """The metrics of the best model by task and split (`metrics["SST2"]["test"]`), if there is data."""
        return {
            task: {split: dict(facts[split]) for split in ("eval", "test") if facts.get(split)}
            for task, facts in self.data["tasks"].items()
        }

    @property
    def best(self) -> Mapping[str, Any] | None:
        """The step, epoch, metric and value of the model that was kept; None without one."""
        best: Mapping[str, Any] | None = self.data["best"]
        return best

    def curves(self) -> pl.DataFrame:
        """Return all recorded numbers in a long table: `kind`, `step`, `epoch`, `task`, `metric`, `value`.

        `kind` is "train", "eval" or "test". Metrics that are not single numbers are left out.
        """
        records, _ = read_records(self.folder / "metrics.jsonl")
        rows = [
            (record["kind"], record["step"], record.get("epoch"), record["task"], name, float(value))
            for record in records
            if record["kind"] in ("train", "eval", "test")
            for name, value in record.items()
            if name not in ("step", "epoch", "phase")
            and isinstance(value, int | float)
            and not isinstance(value, bool)
        ]
        schema = {"kind": pl.String, "step": pl.Int64, "epoch": pl.Int64}
        schema |= {"task": pl.String, "metric": pl.String, "value": pl.Float64}
        return pl.DataFrame(rows, schema=schema, orient="row")

    def plot(self, metrics: Sequence[str] | None = None) -> Figure:
        """Return a figure of the curves, a plot per task and metric: the loss and what selects the model.

        `metrics` names others. Raises `UsageError` for a metric that no task has, or without matplotlib.
        """
        try:
            from matplotlib.figure import Figure
        except ImportError:
            raise UsageError("plotting needs matplotlib: `pip install matplotlib`") from None
        curves = self.curves()
        shown = self._plotted(curves, metrics)
        rows = -(-len(shown) // CURVES_PER_ROW)
        figure = Figure(figsize=(5 * CURVES_PER_ROW, 3 * rows), layout="constrained")
        for index, (task, metric) in enumerate(shown):
            axes = figure.add_subplot(rows, CURVES_PER_ROW, index + 1)
            for kind, style in (("train", "-"), ("eval", "o-")):
                of = curves.filter(kind=kind, task=task, metric=metric)
                if len(of):
                    axes.plot(of["step"], of["value"], style, label=kind, markersize=3)
            axes.set(title=task, xlabel="step", ylabel=metric)
            axes.legend()
        return figure

    def _plotted(self, curves: pl.DataFrame, metrics: Sequence[str] | None) -> list[tuple[str, str]]:
        """Return the tasks and metrics to plot."""
        known = curves.filter(pl.col("kind") != "test").select("task", "metric").unique(maintain_order=True)
        pairs: list[tuple[str, str]] = known.rows()
        if metrics is None:
            task, _, name = ((self.best or {}).get("metric") or "").partition(".")
            return [pair for pair in pairs if pair[1] == "loss" or pair == (task, name)]
        names = {metric for _, metric in pairs}
        for metric in metrics:
            if metric not in names:
                raise UsageError(f"no curve is of `{metric}`; there are {', '.join(sorted(names))}")
        return [pair for pair in pairs if pair[1] in metrics]

    def _repr_html_(self) -> str:
        """Return the metrics as a table, for notebooks."""
        best = self.best
        head = f"<b>{escape(self.folder.name)}</b>: {self.data['status']}, {self.data['steps']:,} steps"
        if best and best["value"] is not None:
            head += f"; best {escape(best['metric'])} {best['value']:.4f} at step {best['step']:,}"
        return f"<p>{head}</p>{html_table(self.metrics)}"


def html_table(metrics: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """Return an HTML table of metrics by task and split: those that are single numbers."""
    rows = []
    for task, splits in metrics.items():
        names = dict.fromkeys(name for values in splits.values() for name in values)
        for name in names:
            values = [splits.get(split, {}).get(name) for split in ("eval", "test")]
            if all(value is None or isinstance(value, int | float) for value in values):
                cells = "".join(f'<td style="text-align: right">{_cell(value)}</td>' for value in values)
                rows.append(f"<tr><td>{escape(task)}</td><td>{escape(name)}</td>{cells}</tr>")
    head = "<tr><th>task</th><th>metric</th><th>eval</th><th>test</th></tr>"
    return f"<table><thead>{head}</thead><tbody>{''.join(rows)}</tbody></table>"


def _cell(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4f}"
