"""Runs below a folder: what each was, how far it came, and the space that it takes. Free of torch."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from attrs import frozen

from mtl.errors import UsageError
from mtl.files import read_json
from mtl.runs.portable import with_found_base
from mtl.runs.records import read_records

COMPLETED, RUNNING, INTERRUPTED, DAMAGED = STATUSES = ("completed", "running", "interrupted", "damaged")
DEPTH = 6
"""Folders below the one to list that are searched: those of a comparison are two deep."""
OWN_FILES = ("metrics.jsonl", "result.json", "checkpoints", "model")
"""Files of a run folder beside its config.json; a folder that has none of them is not a run."""


@frozen
class RunSummary:
    """One run. `seconds` and `best` are those of its result or, without one, of its newest checkpoint.

    `best` is `{"metric", "value", "step"}`; `metric` is None for the mean of several tasks' metrics.
    `problem` says which file cannot be read.
    """

    name: str
    folder: Path
    tasks: tuple[str, ...]
    status: str
    steps: int | None
    best: Mapping[str, Any] | None
    seconds: float | None
    size: int
    checkpoint_size: int
    model_size: int
    when: datetime
    config: Mapping[str, Any]
    result: Mapping[str, Any]
    problem: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the summary as JSON."""
        best = self.best or {}
        return {
            "name": self.name,
            "folder": str(self.folder),
            "tasks": list(self.tasks),
            "status": self.status,
            "steps": self.steps,
            "metric": best.get("metric"),
            "value": best.get("value"),
            "best_step": best.get("step"),
            "seed": self.config.get("seed"),
            "seconds": self.seconds,
            "size_bytes": self.size,
            "checkpoint_bytes": self.checkpoint_size,
            "when": self.when.isoformat(timespec="seconds"),
            **({"problem": self.problem} if self.problem else {}),
        }


def find_runs(folder: Path) -> list[RunSummary]:
    """Return the runs in and below a folder, by name. Raises `UsageError` if there is no such folder."""
    if not folder.is_dir():
        raise UsageError(f"{folder}: {'not a folder' if folder.exists() else 'there is no such folder'}")
    runs = [_summary(path, folder) for path in _run_folders(folder, DEPTH)]
    return sorted(runs, key=lambda run: run.name)


def read_run(folder: Path) -> RunSummary:
    """Return the summary of one run. Raises `UsageError` if the folder holds none, or it is damaged."""
    if not is_run(folder):
        raise UsageError(f"{folder}: not a run folder")
    run = _summary(folder, folder.parent)
    if run.problem:
        raise UsageError(run.problem)
    return run


def is_run(folder: Path) -> bool:
    """Return whether a folder holds a run."""
    return (folder / "config.json").is_file() and any((folder / name).exists() for name in OWN_FILES)


def setting(config: Mapping[str, Any], path: str) -> Any:
    """Return a value of a config by its path without indices, as `trainer.optimizer.Adam.lr`; None if it is
    absent. An object of one key, such as a component without settings, is that key."""
    value: Any = config
    for part in path.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return None
        value = value[part]
    if isinstance(value, Mapping) and len(value) == 1:
        (value,) = value
    return value


def higher_is_better(run: RunSummary) -> bool:
    """Return whether a higher value of what selects a run's model is better.

    Raises `MtlError` if the config cannot be read, as without a plugin of the run.
    """
    from mtl.config.load import load_config
    from mtl.plugins import discover
    from mtl.training.selection import selection, tasks_in_phases

    config = load_config(run.config, plugins=discover(), check_paths=False).config
    return selection(config, tasks_in_phases(config)).higher_is_better


def _run_folders(folder: Path, depth: int) -> Iterator[Path]:
    if is_run(folder):
        yield folder
    elif depth:
        try:
            inside = [Path(entry.path) for entry in os.scandir(folder) if entry.is_dir(follow_symlinks=False)]
        except PermissionError:
            return
        for path in inside:
            if not path.name.startswith("."):
                yield from _run_folders(path, depth - 1)


def _summary(folder: Path, root: Path) -> RunSummary:
    parts = {name: _size(folder / name) for name in ("checkpoints", "model")}
    name = str(folder.relative_to(root)) if folder != root else folder.absolute().name
    problem, config, result, reached = "", {}, {}, {}
    try:
        config = with_found_base(read_json(folder / "config.json"), folder)
        if (folder / "result.json").exists():
            result = read_json(folder / "result.json")
            reached = _of_result(result)
        else:
            reached = _of_records(folder, config)
    except (UsageError, LookupError, AttributeError, TypeError, ValueError) as error:
        problem = (
            str(error) if isinstance(error, UsageError) else f"{folder}: {error} is missing in result.json"
        )
    status = DAMAGED if problem else COMPLETED if result else RUNNING if _is_locked(folder) else INTERRUPTED
    tasks = config.get("tasks")
    return RunSummary(
        name=name,
        folder=folder,
        tasks=tuple(tasks) if isinstance(tasks, dict) else (),
        status=status,
        steps=reached.get("steps"),
        best=reached.get("best"),
        seconds=reached.get("seconds"),
        size=_size(folder),
        checkpoint_size=parts["checkpoints"],
        model_size=parts["model"],
        when=datetime.fromtimestamp(_changed(folder)).astimezone(),
        config=config,
        result=result,
        problem=problem,
    )


def _of_result(result: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "steps": result["steps"],
        "best": dict(result["best"]) if result["best"] else None,
        "seconds": result["seconds"]["total"],
    }


def _of_records(folder: Path, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return how far a run without a result has come."""
    records, _ = read_records(folder / "metrics.jsonl")
    made: dict[str, Any] = {"steps": records[-1]["step"] if records else 0}
    states = sorted(folder.glob("checkpoints/step-*/state.json"))
    if not states:
        return made
    training = read_json(states[-1])["training"]
    made["steps"] = max(made["steps"], training["step"])
    made["seconds"] = training["seconds"]["total"]
    if training["best"]:
        best = training["best"]
        metric = _metric(best["metrics"], best["value"], config.get("target_task"))
        made["best"] = {"metric": metric, "value": best["value"], "step": best["step"]}
    return made


def _metric(metrics: Mapping[str, Any], value: float | None, target: str | None) -> str | None:
    """Return the metric that has the value of an evaluation; None if several tasks' metrics make it."""
    tasks = (
        [target] if target is not None and target in metrics else list(metrics) if len(metrics) == 1 else []
    )
    named = (f"{task}.{name}" for task in tasks for name, each in metrics[task].items() if each == value)
    return next(named, None) if value is not None else None


def _is_locked(folder: Path) -> bool:
    """Return whether a process trains in a run folder."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return False


def _size(path: Path) -> int:
    """Return the bytes of all files below a folder."""
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            try:
                total += os.lstat(os.path.join(folder, name)).st_size
            except OSError:
                continue  # removed meanwhile
    return total


def _changed(folder: Path) -> float:
    """Return when a run ended, or wrote its metrics last."""
    for name in ("result.json", "metrics.jsonl", "config.json"):
        try:
            return (folder / name).stat().st_mtime
        except OSError:
            continue
    return folder.stat().st_mtime
