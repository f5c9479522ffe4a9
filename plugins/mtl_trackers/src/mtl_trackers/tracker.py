"""What all trackers share: which values of a run they get, at which steps, and how it ended."""

from __future__ import annotations

import math
import re
import secrets
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mtl import MtlError, hookimpl
from mtl.runs import RunFolder, read_records, write_text

Value = str | int | float | bool | None
_PLACE = ("kind", "step", "epoch", "task", "other", "module")
_SECRET = re.compile(r"(^|[._-])(token|password|passwd|secret|api_key|credentials?)$", re.IGNORECASE)
_LOGIN = re.compile(r"(?<=://)[^/@\s]+@")


class MissingLibrary(MtlError):
    """The library of a tracker is not installed."""

    def __init__(self, library: str, extra: str) -> None:
        super().__init__(f"{library} is not installed; `pip install 'mtl-trackers[{extra}]'`")


class Tracker(ABC):
    """A logger that sends the records of metrics.jsonl to a tracker, each exactly once.

    When a run starts or resumes, the records that metrics.jsonl already holds are logged first, so a
    tracker either starts over (`start`) or leaves out what it has.
    """

    def __init__(self, config: Any, *, folder: Path) -> None:
        self.config = config
        self.folder = Path(folder)

    @property
    def name(self) -> str:
        """Name of the run: that of its folder."""
        return self.folder.name

    def own_id(self, tracker: str) -> str:
        """Return the id that this run has in a tracker: drawn once, then read from the run folder."""
        file = self.folder / f"{tracker}-id.txt"
        if not file.exists():
            write_text(file, f"{secrets.token_hex(4)}\n")
        return file.read_text(encoding="utf-8").strip()

    @abstractmethod
    def start(self, settings: Mapping[str, Value], resumed: bool) -> None:
        """Open the tracker's run.

        `settings` are those of the resolved config by dotted path, without secrets. `resumed` says whether
        the run continues from a checkpoint.
        """

    @abstractmethod
    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Log the values of one record, by names such as `SST2/eval/accuracy`."""

    @abstractmethod
    def log_table(self, step: int, name: str, labels: list[str], matrix: list[list[int]]) -> None:
        """Log a confusion matrix: rows are true labels, columns predicted ones."""

    @abstractmethod
    def finish(self, status: str, reason: str, summary: Mapping[str, float]) -> None:
        """Close the tracker's run.

        `status` is "completed", "failed" or "interrupted", `reason` says why, `summary` holds the metrics
        of the selected model; both are empty if they do not apply.
        """

    @hookimpl
    def mtl_run_started(self, config: Mapping[str, Any], resumed_step: int) -> None:
        self.start(dict(_flat(config)), resumed_step > 0)
        for record in read_records(RunFolder(self.folder).metrics)[0]:
            self.mtl_recorded(record)

    @hookimpl
    def mtl_recorded(self, record: Mapping[str, Any]) -> None:
        values = record_values(record)
        if values:
            self.log(record["step"], values)
        for name, value in record.items():
            if is_confusion_matrix(value):
                self.log_table(record["step"], f"{_prefix(record)}/{name}", value["labels"], value["matrix"])

    @hookimpl
    def mtl_run_ended(self, result: Mapping[str, Any]) -> None:
        summary = {
            f"{task}/{split}/{name}": number
            for task, results in result["tasks"].items()
            for split in ("eval", "test")
            for name, number in _numbers(results.get(split) or {})
        }
        self.finish("completed", result.get("stopped") or "", summary)

    @hookimpl
    def mtl_run_failed(self, error: Exception) -> None:
        self.finish("failed", f"{type(error).__name__}: {_LOGIN.sub('', str(error))}", {})

    @hookimpl
    def mtl_run_interrupted(self, signal: int, step: int) -> None:
        self.finish("interrupted", f"signal {signal} after step {step}", {})


def record_values(record: Mapping[str, Any]) -> dict[str, float]:
    """Return the finite numbers of a record of metrics.jsonl by name, nested ones with slashes."""
    own = {name: value for name, value in record.items() if name not in _PLACE}
    return {f"{_prefix(record)}/{name}": number for name, number in _numbers(own)}


def is_confusion_matrix(value: object) -> bool:
    """Return whether a value of a record is a confusion matrix."""
    return isinstance(value, Mapping) and value.keys() == {"labels", "matrix"}


def _prefix(record: Mapping[str, Any]) -> str:
    if record["kind"] == "gradients":
        return f"gradients/{record['task']} and {record['other']}/{record['module']}"
    return f"{record['task']}/{record['kind']}"


def _numbers(values: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for name, value in values.items():
        if is_confusion_matrix(value):
            continue
        if isinstance(value, Mapping):
            yield from ((f"{name}/{inner}", number) for inner, number in _numbers(value))
        elif isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            yield name, float(value)


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, Value]]:
    """Yield the settings of a config by dotted path; secrets and logins in URLs are left out."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flat(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _flat(inner, f"{path}[{index}]")
    elif isinstance(value, str):
        yield path, "***" if _SECRET.search(path) else _LOGIN.sub("", value)
    else:
        yield path, value
