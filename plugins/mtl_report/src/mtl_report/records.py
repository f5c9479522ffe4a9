"""The files of a run, read with care: a report is also made of runs that were cut off, or come from
elsewhere."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import field, frozen

from mtl.runs import RunFolder, read_json, read_records

LARGEST_NUMBER = 1e100
"""What is larger is no figure, and no axis holds it."""
MOST_POINTS = 240
"""Points of a curve; more are averaged in groups."""


@frozen
class Series:
    """A figure over the steps; a value is None where it was not defined."""

    steps: tuple[int, ...]
    values: tuple[float | None, ...]

    def __len__(self) -> int:
        return len(self.steps)

    @property
    def defined(self) -> list[float]:
        """The values that are numbers."""
        return [value for value in self.values if value is not None]

    def thinned(self, most: int = MOST_POINTS) -> Series:
        """At most `most` points, each the mean of as many neighbors, at the last one's step."""
        size = -(-len(self) // most)
        if size <= 1:
            return self
        starts = range(0, len(self), size)
        return Series(
            tuple(self.steps[start : start + size][-1] for start in starts),
            tuple(mean(self.values[start : start + size]) for start in starts),
        )


def mean(values: Sequence[float | None]) -> float | None:
    """Return the mean of those that are numbers; None where none is."""
    defined = [value for value in values if value is not None]
    return math.fsum(defined) / len(defined) if defined else None


def numeric(value: Any) -> float | None:
    """Return a figure from JSON as a number; None for other values."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) < LARGEST_NUMBER else None


def mapping(value: Any) -> Mapping[str, Any]:
    """Return an object from JSON; empty for anything else."""
    return value if isinstance(value, Mapping) else {}


def sequence(value: Any) -> Sequence[Any]:
    """Return a list from JSON; empty for anything else."""
    return value if isinstance(value, list) else []


@frozen(eq=False)
class RunFiles:
    """What stands in a run folder. `result` is empty where the run is not complete; `notes` are what a
    reader of the report should know of the files."""

    folder: Path
    config: Mapping[str, Any]
    result: Mapping[str, Any]
    records: Sequence[Mapping[str, Any]]
    versions: Mapping[str, Any]
    notes: Sequence[str] = ()
    _by_task: dict[tuple[str, str], list[Mapping[str, Any]]] = field(init=False, factory=dict)

    def __attrs_post_init__(self) -> None:
        for record in self.records:
            self._by_task.setdefault((record["kind"], record["task"]), []).append(record)

    @property
    def tasks(self) -> list[str]:
        """The tasks, in the order of the config."""
        named = dict.fromkeys(mapping(self.config.get("tasks")))
        return list(named | dict.fromkeys(record["task"] for record in self.records))

    @property
    def last_step(self) -> int:
        """The last step that anything is known of."""
        return max((record["step"] for record in self.records), default=0)

    def of(self, kind: str, task: str) -> Sequence[Mapping[str, Any]]:
        """Return the lines of one kind of one task."""
        return self._by_task.get((kind, task), ())

    def of_kind(self, kind: str) -> list[Mapping[str, Any]]:
        """Return the lines of one kind."""
        return [record for record in self.records if record["kind"] == kind]

    def series(self, kind: str, task: str, metric: str) -> Series:
        """Return one figure of a task over the steps."""
        records = [record for record in self.of(kind, task) if metric in record]
        return Series(
            tuple(record["step"] for record in records),
            tuple(numeric(record[metric]) for record in records),
        )

    def phases(self) -> list[tuple[str, int, int]]:
        """Return the phases by name, from after one step to another; none where the run has only one."""
        ends: dict[int, int] = {}
        for record in self.records:
            index = record.get("phase")
            if isinstance(index, int) and record["kind"] != "test":
                ends[index] = max(ends.get(index, 0), record["step"])
        if len(ends) < 2:
            return []
        configured = sequence(self.config.get("phases"))
        found, start = [], 0
        for index in sorted(ends):
            phase = mapping(configured[index]) if 0 <= index < len(configured) else {}
            found.append((str(phase.get("name") or f"phase {index + 1}"), start, ends[index]))
            start = ends[index]
        return found


def read_run(folder: Path) -> RunFiles:
    """Return the files of a run folder. Raises `UsageError` where one of them is damaged."""
    files = RunFolder(folder)
    config = files.read_config()
    result = read_json(files.result) if files.result.exists() else {}
    records, is_cut_off = read_records(files.metrics)
    notes = [f"the last line of {files.metrics.name} is cut off, and left out"] if is_cut_off else []
    versions = files.model / "versions.json"
    return RunFiles(folder, config, result, records, read_json(versions) if versions.exists() else {}, notes)
