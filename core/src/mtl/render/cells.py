"""Numbers, tables and sections, the same everywhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

ABSENT = "-"
"""A cell without a value."""


def number(value: Any) -> str:
    """Format a number with about four significant digits; integers in full."""
    if value is None:
        return ABSENT
    if isinstance(value, bool | str):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    size = abs(value)
    if not size < float("inf"):
        return str(value)
    if size >= 10_000:
        return f"{value:,.0f}" if size < 1e12 else f"{value:.3e}"
    if 0 < size < 0.001:
        return f"{value:.2e}"
    return f"{value:,.{1 if size >= 1000 else 2 if size >= 100 else 3 if size >= 10 else 4}f}"


def decimals(value: Any) -> int:
    """Return the digits after the point of a number as `number` writes it, at most 4: those of its column."""
    if value is None or isinstance(value, int) or (float(value).is_integer() and abs(value) >= 100):
        return 0
    return min(len(number(value).partition("e")[0].partition(".")[2]), 4)


def with_deviation(mean: float | None, deviation: float | None) -> str:
    """Format a mean and its deviation, both with the decimals of the mean: `0.8750 ± 0.0125`."""
    if mean is None:
        return ABSENT
    if deviation is None:
        return number(mean)
    places = max(decimals(mean), 0 if float(deviation).is_integer() else decimals(mean))
    return f"{mean:,.{places}f} ± {deviation:,.{places}f}"


def difference(value: float | None, like: float | None) -> str:
    """Format a difference with its sign and the decimals of `like`, a value of the same metric."""
    if value is None:
        return ABSENT
    text = f"{abs(value):,.{decimals(like)}f}"
    return f"{'+' if value > 0 else '-' if value < 0 else ''}{text}"


def rate(value: float | None) -> str:
    """Format a speed, without decimals unless it is small."""
    return ABSENT if value is None else f"{value:,.0f}" if value >= 10 else f"{value:.1f}"


def share(value: Any) -> str:
    """Format a share in [0, 1] in percent, and any other value as `number` does."""
    return f"{100 * value:.1f} %" if isinstance(value, float) and 0 <= value <= 1 else number(value)


def size(count: int) -> str:
    """Format a number of bytes with a unit."""
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:,.1f} TB"


def duration(seconds: float) -> str:
    """Format seconds as `0:45`, `12:05` or `1:02:05`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def count(amount: int, noun: str) -> str:
    """Format a number with its noun: `1 task`, `2 tasks`."""
    return f"{amount:,} {noun}" if amount == 1 else f"{amount:,} {noun}s"


def table(*columns: str, right: Iterable[str] = ()) -> Table:
    """Return an empty table without borders; the columns named in `right` are aligned right."""
    made = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="dim")
    for column in columns:
        made.add_column(column, justify="right" if column in set(right) else "left")
    return made


def section(title: str, *body: RenderableType) -> Group:
    """Return a bold title, its body, and an empty line."""
    return Group(Text(title, style="bold"), *body, Text())


def is_plain(value: Any) -> bool:
    """Return whether a metric fits into one cell; confusion matrices and metrics by class do not."""
    return not isinstance(value, Mapping | list | tuple)


def message(word: str, style: str, text: str) -> Text:
    """Return a message after a colored word such as `warning`."""
    return Text.assemble((f"{word}: ", style), text)
