"""Plots as small static SVG: they stand within the page, in its font and, by its variables, in its colors.

No name from data is ever in a plot: names stand around it, in HTML, where they wrap and are escaped.
"""

from __future__ import annotations

import io
import logging
import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib
from attrs import define, frozen
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator

from mtl_report.records import Series

logging.getLogger("matplotlib").setLevel(logging.ERROR)  # that it looks for fonts is nobody's business

INK, MUTED, GRID, SHADE, BELOW = "#010101", "#010102", "#010103", "#010104", "#010105"
COLORS = 8
"""Colors of series; more than that nobody tells apart."""
SERIES = tuple(f"#01020{index}" for index in range(COLORS))
VARIABLES = {
    INK: "ink",
    MUTED: "muted",
    GRID: "line",
    SHADE: "shade",
    BELOW: "below",
    **{color: f"s{index}" for index, color in enumerate(SERIES)},
}
DASHES = ((), (5, 2), (1.5, 1.5), (6, 2, 1.5, 2))
SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "mtl",
    "text.parse_math": False,
    "axes.unicode_minus": True,
    "font.size": 11,
    "path.simplify": False,
}
ROUND = (1, 2, 2.5, 5, 10)
"""Steps between the ticks of an axis, but for powers of ten."""
LEAST_COSINE = 0.1
"""What an axis of cosines holds at least."""
LARGEST_RATIO = 50
"""Where positive values differ by more, their axis is logarithmic."""


@frozen
class Line:
    """A curve: `style` is its place among the colors, and the dashes where there are more curves."""

    series: Series
    style: int = 0
    dots: bool = False

    @property
    def color(self) -> str:
        """What stands for its color."""
        return SERIES[self.style % COLORS]


@define
class Plots:
    """The plots of one page, so that no two have an id in common."""

    count: int = 0

    def curves(
        self,
        lines: Sequence[Line],
        *,
        y: str,
        mark: int | None = None,
        phases: Sequence[tuple[str, int, int]] = (),
        last_step: int = 0,
        conflicts: bool = False,
    ) -> Markup:
        """Curves over the steps, with the step `mark` marked and every other phase shaded.

        With `conflicts` the values are cosines, and what lies below 0 is set apart.
        """
        with _axes(width=460, height=224) as axes:
            for line in lines:
                _draw(axes, line)
            values = [value for line in lines for value in line.series.defined]
            if conflicts:
                largest = min(max(1.2 * max(map(abs, values), default=0.0), LEAST_COSINE), 1.05)
                axes.set_ylim(-largest, largest)
                axes.axhspan(-largest, 0, color=BELOW, linewidth=0, zorder=0.5)
                axes.axhline(0, color=MUTED, linewidth=1)
            elif values and min(values) > 0 and max(values) / min(values) > LARGEST_RATIO:
                axes.set_yscale("log")
                axes.yaxis.set_minor_locator(NullLocator())
                axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
            _over_steps(axes, last_step, phases)
            if mark is not None:
                axes.axvline(mark, color=MUTED, linewidth=1.2, dashes=(3, 2))
            axes.set_ylabel(y)
            return self._svg(axes)

    def shares(self, parts: Sequence[tuple[Series, int]], *, last_step: int) -> Markup:
        """Shares of a whole over the steps, one on top of the other; each with its style."""
        with _axes(width=940, height=200) as axes:
            axes.stackplot(
                parts[0][0].steps,
                *([value or 0.0 for value in series.values] for series, _ in parts),
                colors=[SERIES[style % COLORS] for _, style in parts],
                step="pre",
                linewidth=0,
            )
            _over_steps(axes, last_step, ())
            axes.set_ylim(0, 1)
            axes.set_yticks([0, 0.5, 1], ["0 %", "50 %", "100 %"])
            axes.grid(False)
            return self._svg(axes)

    def interval(
        self,
        mean: float | None,
        interval: tuple[float, float] | None,
        dots: Sequence[float],
        *,
        limits: tuple[float, float],
        style: int,
    ) -> Markup:
        """Return one difference on the axis that all share: its interval, its mean, and a dot a seed."""
        with _axes(width=420, height=44, bare=True) as axes:
            axes.axvline(0, color=MUTED, linewidth=1.2)
            if interval is not None:
                axes.plot(interval, (0, 0), color=SERIES[style], linewidth=3, solid_capstyle="round")
            axes.plot(dots, [-0.55] * len(dots), "o", color=MUTED, markersize=4, alpha=0.55, linewidth=0)
            if mean is not None:
                axes.plot([mean], [0], "o", color=SERIES[style], markersize=8)
            axes.set_xlim(*limits)
            axes.set_ylim(-1, 0.7)
            return self._svg(axes)

    def scale(self, limits: tuple[float, float]) -> Markup:
        """Return the axis of `interval`."""
        with _axes(width=420, height=30, bare=True, bottom=0.8) as axes:
            axes.xaxis.set_visible(True)
            axes.spines["bottom"].set_visible(True)
            axes.set_xlim(*limits)
            axes.xaxis.set_major_locator(MaxNLocator(5, steps=ROUND))
            return self._svg(axes)

    def _svg(self, axes: Axes) -> Markup:
        self.count += 1
        buffer = io.StringIO()
        figure = axes.get_figure(root=True)
        assert figure is not None
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
        return Markup(_cleaned(buffer.getvalue(), f"f{self.count}-"))


@contextmanager
def _axes(*, width: int, height: int, bare: bool = False, bottom: float = 0.0) -> Iterator[Axes]:
    """Axes of so many pixels, drawn with our settings whatever the user's own say."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(SETTINGS)
        figure = Figure(figsize=(width / 72, height / 72))
        FigureCanvasSVG(figure)
        axes = figure.add_subplot()
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.spines["bottom"].set_color(MUTED)
        axes.tick_params(colors=MUTED, length=0, pad=6)
        axes.xaxis.label.set_color(MUTED)
        axes.yaxis.label.set_color(MUTED)
        axes.set_axisbelow(True)
        if bare:
            figure.subplots_adjust(left=0.03, right=0.97, top=1, bottom=bottom)
            axes.spines["bottom"].set_visible(False)
            axes.xaxis.set_visible(False)
            axes.yaxis.set_visible(False)
        else:
            figure.subplots_adjust(left=60 / width, right=1 - 16 / width, top=0.96, bottom=38 / height)
            axes.grid(axis="y", color=GRID, linewidth=1)
            axes.yaxis.set_major_locator(MaxNLocator(5, steps=ROUND))
        yield axes


def _draw(axes: Axes, line: Line) -> None:
    series = line.series.thinned()
    dashes = DASHES[line.style // COLORS % len(DASHES)]
    axes.plot(
        series.steps,
        [math.nan if value is None else value for value in series.values],
        color=line.color,
        linewidth=1.8,
        marker="o" if line.dots or len(series) == 1 else None,
        markersize=4.5 if len(series) <= 40 else 2.5,
        linestyle=(0, dashes) if dashes else "-",
    )


def _over_steps(axes: Axes, last_step: int, phases: Sequence[tuple[str, int, int]]) -> None:
    axes.set_xlim(0, 1.02 * max(last_step, 1))
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, steps=ROUND))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.set_xlabel("step")
    for _, start, end in phases[1::2]:
        axes.axvspan(start, end, color=SHADE, linewidth=0, zorder=0)


# --- SVG -------------------------------------------------------------------------------------------

_UNWANTED = re.compile(
    r"<metadata>.*?</metadata>|<!--.*?-->|<defs>\s*<style.*?</style>\s*</defs>|"
    r" xmlns:xlink=\"[^\"]*\"| (?:width|height)=\"[\d.]+pt\"| version=\"1.1\"|<g/>|"
    r"(?<=;) font-family: [^;\"]*;",
    re.S,
)
_COORDINATES = re.compile(r' (?:d|x|y|x1|x2|y1|y2|points|transform|width|height|style)="[^"]*"')
_DECIMALS = re.compile(r"(\.\d\d)\d+")


def _cleaned(svg: str, prefix: str) -> str:
    """Matplotlib's SVG without what a page has no use for: fonts, sizes, metadata and ids of its own."""
    svg = _UNWANTED.sub("", svg[svg.index("<svg") :]).replace("xlink:href", "href")
    used = set(re.findall(r'(?:url\(|href=")#([\w-]+)', svg))
    svg = re.sub(
        r' id="([\w.-]+)"', lambda found: f' id="{prefix}{found[1]}"' if found[1] in used else "", svg
    )
    svg = re.sub(r'(url\(|href=")#', rf"\1#{prefix}", svg)
    svg = re.sub(r"font: ([\d.]+px)[^;\"]*", r"font-size: \1", svg)
    svg = _COORDINATES.sub(lambda found: _DECIMALS.sub(r"\1", found[0]), svg)
    svg = re.sub("|".join(VARIABLES), lambda found: f"var(--{VARIABLES[found[0]]})", svg)
    return re.sub(r"\s*\n\s*", " ", svg).strip()
