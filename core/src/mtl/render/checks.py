"""The results of a plugin's checks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from mtl.render.cells import count, table

STYLES = {"passed": "green", "failed": "red", "skipped": "dim"}


def checks_view(checks: Sequence[Mapping[str, Any]]) -> Group:
    """Return a table with a row per subject, and the failed and skipped checks in full."""
    made = table("", *STYLES, right=STYLES)
    for subject in dict.fromkeys(check["subject"] for check in checks):
        outcomes = [check["outcome"] for check in checks if check["subject"] == subject]
        cells = (_number(outcome, outcomes.count(outcome)) for outcome in STYLES)
        made.add_row(Text(subject, style="bold"), *cells)
    failed = sum(check["outcome"] == "failed" for check in checks)
    verdict = f"{count(failed, 'check')} failed" if failed else "all checks passed"
    return Group(made, Text(), *_notes(checks), Text(verdict, style=STYLES["failed" if failed else "passed"]))


def _number(outcome: str, number: int) -> Text:
    return Text(str(number) if number else "", style=STYLES[outcome])


def _notes(checks: Sequence[Mapping[str, Any]]) -> Iterator[RenderableType]:
    """Yield what was skipped, then what failed, so that a terminal ends with the failures."""
    for outcome in ("skipped", "failed"):
        chosen = [check for check in checks if check["outcome"] == outcome]
        for check in chosen:
            yield Text.assemble(
                (f"{outcome}: ", STYLES[outcome]), (check["subject"], "bold"), f": {check['name']}"
            )
            yield Padding(Text(check["message"]), (0, 0, 0, 2), expand=False)
        if chosen:
            yield Text()
