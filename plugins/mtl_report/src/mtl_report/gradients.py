"""Whether the tasks' gradients agree: cosines by module and pair of tasks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import frozen
from markupsafe import Markup

from mtl_report.plots import COLORS, Line, Plots
from mtl_report.records import RunFiles, Series, mean, numeric

PANELS = 12
"""Modules that are drawn; those with the most conflicts come first."""
PAIRS_IN_A_TABLE = 60


@frozen
class Pair:
    """Two tasks' gradients in one module.

    `cosine` is the mean over the measurements, `conflicts` the share of them below 0, `ratio` the
    median of the first task's norm over the other's. `style` is its color in the panel, None where
    it has none.
    """

    task: str
    other: str
    series: Series
    cosine: float
    conflicts: float
    ratio: float | None
    style: int | None = None


@frozen
class Panel:
    """A module that several tasks share, its plot, and its pairs, the one that disagrees most first."""

    module: str
    plot: Markup | None
    pairs: Sequence[Pair]


def gradient_panels(files: RunFiles, plots: Plots) -> list[Panel]:
    """Return the modules whose gradients were compared, the one that disagrees most first."""
    records: dict[str, dict[tuple[str, str], list[Mapping[str, Any]]]] = {}
    for record in files.of_kind("gradients"):
        module, other = record.get("module"), record.get("other")
        if isinstance(module, str) and isinstance(other, str):
            records.setdefault(module, {}).setdefault((record["task"], other), []).append(record)
    found = []
    for module, pairs in records.items():
        known = [pair for names, lines in pairs.items() if (pair := _pair(*names, lines)) is not None]
        known.sort(key=lambda pair: (pair.cosine, pair.task, pair.other))
        if known:
            found.append((module, known))
    found.sort(key=lambda panel: min(pair.cosine for pair in panel[1]))
    return [
        _panel(module, known, files, plots if place < PANELS else None)
        for place, (module, known) in enumerate(found)
    ]


def _pair(task: str, other: str, records: Sequence[Mapping[str, Any]]) -> Pair | None:
    series = Series(
        tuple(record["step"] for record in records),
        tuple(numeric(record.get("cosine")) for record in records),
    )
    cosine = mean(series.values)
    if cosine is None:
        return None
    conflicts = sum(value < 0 for value in series.defined) / len(series.defined)
    return Pair(task, other, series, cosine, conflicts, _ratio(records))


def _ratio(records: Sequence[Mapping[str, Any]]) -> float | None:
    ratios = []
    for record in records:
        norm, other = numeric(record.get("norm")), numeric(record.get("other_norm"))
        if norm is not None and other is not None and other > 0 and math.isfinite(norm / other):
            ratios.append(norm / other)
    return sorted(ratios)[len(ratios) // 2] if ratios else None


def _panel(module: str, pairs: Sequence[Pair], files: RunFiles, plots: Plots | None) -> Panel:
    styled = [
        Pair(p.task, p.other, p.series, p.cosine, p.conflicts, p.ratio, style if style < COLORS else None)
        for style, p in enumerate(pairs[:PAIRS_IN_A_TABLE])
    ]
    lines = [Line(pair.series.thinned(80), pair.style) for pair in styled if pair.style is not None]
    if plots is None:
        return Panel(module, None, styled)
    plot = plots.curves(lines, y="cosine", phases=files.phases(), last_step=files.last_step, conflicts=True)
    return Panel(module, plot, styled)
