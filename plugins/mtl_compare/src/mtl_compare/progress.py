"""How far a comparison is: a live display on a terminal, a line a run elsewhere."""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from mtl.render import LiveDisplay, count, duration, errors, message
from mtl_compare.report import Run

BEFORE_AN_ESTIMATE = 3.0
"""Seconds before the speed says anything."""


class Progress:
    """Shows the runs of a comparison. Use it as a context manager, so that the display ends with it."""

    def __init__(self, runs: Sequence[Run], *, quiet: bool = False) -> None:
        self.runs, self.quiet = runs, quiet
        self.console = errors()
        self.total = sum(run.variant.total_steps for run in runs)
        self.finished = sum(run.variant.total_steps for run in runs if run.status == "completed")
        self._begun, self._reused = time.monotonic(), self.finished
        self._steps: dict[str, int] = {}
        self._first: dict[str, int] = {}
        animated = self.console.is_terminal and not self.console.is_dumb_terminal and not quiet
        self._live = LiveDisplay(self.console, self._display) if animated else None

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def moved(self, steps: dict[str, int]) -> None:
        """Note the runs under way, by name, and their steps so far."""
        for name, step in steps.items():
            self._first.setdefault(name, step)
        self._steps = steps

    def ended(self, run: Run) -> None:
        """Say how a run ended."""
        self.finished += run.variant.total_steps
        self._reused += self._first.pop(run.name, 0)
        self._steps.pop(run.name, None)
        if run.status == "failed":
            self.console.print(message("failed", "bold red", f"{run.name}: {run.message}"), soft_wrap=True)
        elif not self.quiet and run.result is not None:
            took = duration(run.result["seconds"]["total"])
            self.console.print(Text(f"{self._place()}   {run.name}   {took}", style="dim"), soft_wrap=True)

    def _place(self) -> str:
        done = sum(run.status in ("completed", "failed") for run in self.runs)
        return f"{done} of {count(len(self.runs), 'run')} done"

    @property
    def _done(self) -> int:
        return self.finished + sum(self._steps.values())

    def _left(self) -> str:
        """Return the time left, at the mean speed of a step since the command began."""
        elapsed = time.monotonic() - self._begun
        own = self._done - self._reused - sum(self._first.values())
        if elapsed < BEFORE_AN_ESTIMATE or own <= 0:
            return ""
        return f"about {duration((self.total - self._done) * elapsed / own)} left"

    def _display(self) -> RenderableType:
        head = Table.grid(padding=(0, 2, 0, 0))
        bar = ProgressBar(
            total=self.total, completed=self._done, width=24, complete_style="cyan", finished_style="cyan"
        )
        head.add_row(Text(self._place(), style="bold"), bar, Text(self._left(), style="dim"))
        under_way = [run for run in self.runs if run.name in self._steps]
        lines = [
            Text.assemble(
                f"  {run.name}",
                (f"   {self._steps[run.name]:,} of {count(run.variant.total_steps, 'step')}", "dim"),
                no_wrap=True,
                overflow="ellipsis",
            )
            for run in under_way
        ]
        return Group(head, *lines)
