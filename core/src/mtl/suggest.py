"""The wording of hints: nearest names, lists of names, arguments."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

NO_LABEL = {*("- -- --- ? ?? . n/a #n/a <na> na nan null none nil".split()), "(none)"}
"""Labels, in lower case, that often stand for none."""


def nearest(name: str, known: Iterable[str]) -> list[str]:
    """Return up to three of `known` that resemble `name`, ignoring case."""
    by_lower: dict[str, str] = {}
    for each in known:
        by_lower.setdefault(each.lower(), each)
    return [by_lower[match] for match in difflib.get_close_matches(name.lower(), by_lower, n=3, cutoff=0.6)]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return "did you mean …?", or an empty string if no name is similar."""
    near = nearest(name, known)
    return f"did you mean {listed(f'`{each}`' for each in near)}?" if near else ""


def nearest_or_all(name: str, known: Iterable[str], what: str) -> str:
    """Return "did you mean …?", or all known names, introduced by `what`, if none is similar."""
    known = list(known)
    if not known:
        return f"there are no {what}"
    return did_you_mean(name, known) or f"{what}: {', '.join(known)}"


def as_number(label: str) -> float | None:
    """Return the value of a label that is a number, None for any other."""
    try:
        return float(label) if any(map(str.isdigit, label)) and "_" not in label else None
    except ValueError:
        return None


def marks_no_label(label: str) -> bool:
    """Return whether a label looks like the mark of a row without one, as `-` in SNLI."""
    return label.casefold() in NO_LABEL


def with_article(noun: str) -> str:
    """Return `an optimizer`, `a task`."""
    is_vowel = noun[:1].lower() in "aeiou" or noun.startswith("lr ")
    return f"{'an' if is_vowel else 'a'} {noun}"


def listed(names: Iterable[str], last: str = "or") -> str:
    """Return `a`, `a or b` or `a, b or c`."""
    *rest, final = names
    return f"{', '.join(rest)} {last} {final}" if rest else final


_on_command_line = ContextVar("on_command_line", default=False)


@contextmanager
def command_line() -> Iterator[None]:
    """Let `argument` name options of commands."""
    token = _on_command_line.set(True)
    try:
        yield
    finally:
        _on_command_line.reset(token)


def on_command_line() -> bool:
    """Return whether a command of `mtl` is running, rather than a program that imports it."""
    return _on_command_line.get()


def override_argument(text: str) -> str:
    """Return an override as the caller writes it: `--set a=1`, or in Python `overrides=['a=1']`."""
    return f"--set {text}" if _on_command_line.get() else f"overrides=[{text!r}]"


def argument(name: str, value: str = "") -> str:
    """Return an argument as the caller writes it: `--output runs/a`, or in Python `output='runs/a'`.

    Without a value it is a flag: `--resume`, or `resume=True`.
    """
    if _on_command_line.get():
        return f"--{name.replace('_', '-')} {value}".rstrip()
    return f"{name}={value or True!r}"
