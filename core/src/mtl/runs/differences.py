"""Two or more runs side by side: the settings and the metrics in which they differ. Free of torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mtl.runs.listing import RunSummary


def differences(runs: Sequence[RunSummary]) -> dict[str, Any]:
    """Return what differs between runs: `settings` by config path and `versions`, each with a value per run,
    None where a run has none, and all `metrics` (`SST2.eval.accuracy`)."""
    configs = [flat({**run.config, "loggers": None}) for run in runs]
    versions = [dict((run.result.get("provenance") or {}).get("versions") or {}) for run in runs]
    return {
        "runs": [str(run.folder) for run in runs],
        "settings": {path: values for path, values in _together(configs).items() if not _alike(values)},
        "versions": {name: values for name, values in _together(versions).items() if not _alike(values)},
        "metrics": _together([_metrics(run) for run in runs]),
    }


def flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """Return the values of nested objects by their dotted paths."""
    if not isinstance(value, Mapping) or not value:
        return {prefix: value}
    inside: dict[str, Any] = {}
    for key, each in value.items():
        inside |= flat(each, f"{prefix}.{key}" if prefix else key)
    return inside


def _together(parts: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    names = dict.fromkeys(name for part in parts for name in part)
    return {name: [part.get(name) for part in parts] for name in names}


def _alike(values: Sequence[Any]) -> bool:
    return all(each == values[0] for each in values)


def _metrics(run: RunSummary) -> dict[str, Any]:
    """Return the metrics of a completed run that are single values; of any other, that of its best model."""
    tasks = run.result.get("tasks")
    if not isinstance(tasks, Mapping):
        best = run.best or {}
        task, _, name = (best.get("metric") or "").partition(".")
        return {f"{task}.eval.{name}": best["value"]} if name else {}
    return {
        f"{task}.{split}.{name}": value
        for task, facts in tasks.items()
        for split in ("eval", "test")
        for name, value in (facts.get(split) or {}).items()
        if not isinstance(value, Mapping | list)
    }
