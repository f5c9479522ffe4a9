"""Trackio."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping
from typing import Any

try:
    import trackio
    from trackio.sqlite_storage import SQLiteStorage
except ImportError:
    trackio = None  # type: ignore[assignment]

from mtl_trackers.tracker import MissingLibrary, Tracker, Value


class Trackio(Tracker):
    """A run of one name through all resumes; what the database has already is not logged again."""

    def start(self, settings: Mapping[str, Value], resumed: bool) -> None:
        if trackio is None:
            raise MissingLibrary("Trackio", "trackio")
        name = f"{self.name}-{self.own_id('trackio')}"
        with contextlib.redirect_stdout(io.StringIO()):  # it prints what it does, over the progress
            self.run: Any = trackio.init(
                project=self.config.project,
                name=name,
                resume="allow",
                config=dict(settings),
                embed=False,
                auto_log_gpu=False,
                auto_log_cpu=False,
            )
        self.logged = {
            (key, row["step"]) for row in SQLiteStorage.get_logs(self.config.project, name) for key in row
        }

    def log(self, step: int, values: Mapping[str, float]) -> None:
        new = {name: value for name, value in values.items() if (name, step) not in self.logged}
        if new:
            self.run.log(new, step=step)

    def log_table(self, step: int, name: str, labels: list[str], matrix: list[list[int]]) -> None:
        if (name, step) not in self.logged:
            self.run.log({name: {"labels": labels, "matrix": matrix}}, step=step)

    def finish(self, status: str, reason: str, summary: Mapping[str, float]) -> None:
        ended = {f"final/{name}": value for name, value in summary.items()}
        self.run.log({**ended, "run/status": status, "run/reason": reason})
        with contextlib.redirect_stdout(io.StringIO()):
            self.run.finish()
