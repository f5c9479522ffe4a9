"""The page: templates, and how a value of unknown origin is shown."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from mtl.render import ABSENT, count, decimals, duration, escaped, number, rate, share, size, with_deviation
from mtl_report.records import numeric

LONGEST_VALUE = 400
"""Characters of a value in a table; the config is shown in full."""


def render(template: str, **values: Any) -> str:
    """Return a template of this package with `values`, every one of which is escaped."""
    return _environment().get_template(template).render(**values)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("mtl_report"),
        autoescape=True,
        finalize=shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        bytes=memory,
        count=count,
        duration=seconds,
        cell=cell,
        gain=relative,
        json=as_json,
        mean=mean,
        p=p_value,
        rate=speed,
        share=percent,
        signed=signed,
    )
    return environment


def shown(value: Any) -> Any:
    r"""Return a text with control characters, and those that turn text around, as in `\u202e`."""
    return value if isinstance(value, Markup) or not isinstance(value, str) else escaped(value)


def cell(value: Any) -> str:
    """Return a figure from JSON in a table's cell: a number with the digits that matter, a short text."""
    amount = numeric(value)
    if amount is not None:
        return number(value)
    return value[:LONGEST_VALUE] if isinstance(value, str) else ABSENT


def mean(summary: Mapping[str, Any]) -> str:
    """Return a mean with its deviation, in the same decimals."""
    return with_deviation(numeric(summary.get("mean")), numeric(summary.get("deviation")))


def signed(value: Any, like: Any = None) -> str:
    """Return a difference with its sign, in the decimals of `like` if that is given."""
    amount, column = numeric(value), numeric(like)
    if amount is None:
        return ABSENT
    text = number(abs(amount)) if column is None else f"{abs(amount):,.{decimals(column)}f}"
    return f"+{text}" if amount > 0 else f"\N{MINUS SIGN}{text}" if amount < 0 else text


def relative(value: Any) -> str:
    """Return a relative gain in percent, with its sign."""
    amount = numeric(value)
    if amount is None:
        return ABSENT
    return f"{100 * amount:+.2f}\N{NO-BREAK SPACE}%".replace("-", "\N{MINUS SIGN}")


def p_value(value: Any) -> str:
    """Return a probability as tests give it."""
    amount = numeric(value)
    return ABSENT if amount is None else "< 0.001" if amount < 0.001 else f"{amount:.3f}"


def percent(value: Any) -> str:
    """Return a share in percent."""
    amount = numeric(value)
    return ABSENT if amount is None else share(float(amount)).replace(" ", "\N{NO-BREAK SPACE}")


def speed(value: Any) -> str:
    """Something a second."""
    return rate(numeric(value))


def seconds(value: Any) -> str:
    """Seconds for people."""
    amount = numeric(value)
    return ABSENT if amount is None or amount < 0 else f"{amount:.1f} s" if amount < 60 else duration(amount)


def memory(value: Any) -> str:
    """Return bytes for people."""
    amount = numeric(value)
    return ABSENT if amount is None else size(int(amount))


def as_json(value: Mapping[str, Any]) -> str:
    """JSON for people to read."""
    return json.dumps(value, indent=2, ensure_ascii=False)
