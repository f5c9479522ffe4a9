"""How a hint is worded: nearest names and lists of names."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(name: str, known: Iterable[str]) -> list[str]:
    """Up to three of `known` that `name` may be meant for, case aside."""
    by_lower: dict[str, str] = {}
    for each in known:
        by_lower.setdefault(each.lower(), each)
    return [by_lower[match] for match in difflib.get_close_matches(name.lower(), by_lower, n=3, cutoff=0.6)]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The question, or nothing where no name is near."""
    near = nearest(name, known)
    return f"did you mean {listed(f'`{each}`' for each in near)}?" if near else ""


def nearest_or_all(name: str, known: Iterable[str], what: str) -> str:
    """The question, or where no name is near, all names there are, as `what`."""
    known = list(known)
    if not known:
        return f"there are no {what}"
    return did_you_mean(name, known) or f"{what}: {', '.join(known)}"


def with_article(noun: str) -> str:
    """`an optimizer`, `a task`."""
    return f"{'an' if noun[:1].lower() in 'aeiou' else 'a'} {noun}"


def listed(names: Iterable[str], last: str = "or") -> str:
    """`a`, `a or b`, `a, b or c`."""
    *rest, final = names
    return f"{', '.join(rest)} {last} {final}" if rest else final
