"""Resuming a run: what has changed since it started, and its newest intact checkpoint."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from attrs import evolve

from mtl.components import DataSourceConfig, Split
from mtl.config.dumping import dump
from mtl.config.load import LoadedConfig, load_config
from mtl.data.splits import split_seed
from mtl.errors import UsageError
from mtl.files import DamagedFolder
from mtl.plugins import Plugins
from mtl.provenance import provenance
from mtl.runs.folder import RunFolder
from mtl.runs.observer import logger
from mtl.runs.preparation import Prepared
from mtl.suggest import argument
from mtl.training.checkpoint import Checkpoint, open_checkpoint
from mtl.training.trainer import Trainer

LENGTH = ("trainer.epochs", "trainer.max_steps")
FREE = (
    *LENGTH,
    "trainer.keep_checkpoints",
    "trainer.report_every_steps",
    "trainer.checkpoint_every_steps",
    "trainer.checkpoint_every_minutes",
    "loggers",
    "base_dir",
)
"""Settings that may change when a run is resumed. The learning rate must allow a longer run, and files that
have moved must hold the same rows."""


def check_config(
    folder: RunFolder, loaded: LoadedConfig, plugins: Plugins, *, allow_changes: bool
) -> list[str]:
    """Return the paths of settings that have changed since the run in `folder` started.

    Raises `UsageError` with the differences if resuming would give a wrong result.
    """
    before = dump(load_config(folder.read_config(), plugins=plugins, check_paths=False).config)
    now = dump(loaded.config)
    changes = dict([*_differences(before, now), *_reordered(before, now)])
    fatal = [line for path, line in changes.items() if not path.startswith(FREE)]
    for what, component in (
        ("the rates of {} depend on it", loaded.config.trainer.lr_scheduler),
        ("the order of {} depends on it", loaded.config.schedule),
    ):
        if component.config.uses_total_steps:
            follows = what.format(component.name)
            fatal += [f"{line} ({follows})" for path, line in changes.items() if path in LENGTH]
    _refuse(folder, "the config is", fatal, allow_changes)
    return list(changes)


def with_threads(loaded: LoadedConfig, folder: RunFolder) -> LoadedConfig:
    """Return a config with the number of CPU threads that the run in `folder` has recorded, unless it states
    one: another number rounds differently."""
    trainer = folder.read_config().get("trainer")
    recorded = trainer.get("num_threads") if isinstance(trainer, dict) else None
    if loaded.config.trainer.num_threads is not None or type(recorded) is not int or recorded < 1:
        return loaded
    stated = evolve(loaded.config.trainer, num_threads=recorded)  # type: ignore[misc]
    return evolve(loaded, config=evolve(loaded.config, trainer=stated))  # type: ignore[misc]


def identity(prepared: Prepared) -> dict[str, Any]:
    """Return what the results of a run depend on: config, rows, state learned from them, versions."""
    config = dump(prepared.config)
    config["trainer"]["num_threads"] = torch.get_num_threads()
    return {
        "config": config,
        "learned": {
            f"{kind}.{name}": hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()
            for kind, states in prepared.tasks.state().items()
            for name, state in states.items()
        },
        "rows": {
            f"{task}.{split}": {
                "path": rows.path,
                **_held_out(prepared.config.tasks[task].config.data.config, split, prepared.config.seed),
                "rows": len(rows),
                "sha256": rows.digest(),
            }
            for task, data in prepared.data.items()
            for split, rows in data.splits.items()
            if rows is not None
        },
        "versions": provenance(prepared.config, prepared.plugins),
        **({"from": prepared.started.to_json()} if prepared.started else {}),
    }


def _held_out(config: DataSourceConfig, split: Split, seed: int) -> dict[str, Any]:
    """Return how a split was taken from the training files, as JSON; empty if it was not."""
    fraction = config.fraction(split)
    return {} if fraction is None else {"fraction": fraction, "split_seed": split_seed(config, seed)}


def newest_checkpoint(folder: RunFolder) -> Checkpoint | None:
    """Return the newest intact checkpoint; None if there is none."""
    for path in folder.saved_checkpoints():
        try:
            return open_checkpoint(path)
        except DamagedFolder as error:
            logger.warning("%s; using the checkpoint before", error)
    return None


def module_states(checkpoint: Checkpoint | None) -> dict[str, Any] | None:
    """Return the states of the modules in a checkpoint. Raises `UsageError` if it does not have them."""
    if checkpoint is None:
        return None
    states = checkpoint.state.get("modules")
    if not isinstance(states, dict) or not all(isinstance(state, dict) for state in states.values()):
        raise UsageError(f"{checkpoint.path}: `modules` of this checkpoint must be an object of objects")
    return states


def restore(
    trainer: Trainer,
    folder: RunFolder,
    checkpoint: Checkpoint | None,
    now: Mapping[str, Any],
    *,
    allow_changes: bool,
) -> None:
    """Continue from a checkpoint, or from the start if there is none.

    Raises `UsageError` if rows or vocabularies have changed, or if the best model is damaged.
    """
    if checkpoint is None:
        folder.truncate_metrics(0)
        return
    path, state = checkpoint.path, checkpoint.state
    try:
        metrics_size = max(int(state["metrics_size"]), 0)
        _check_identity(folder, state["run"], now, allow_changes)
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise UsageError(
            f"{path}: this checkpoint does not say what its run started with: {reason}"
        ) from error
    match = trainer.restore(checkpoint.tensors(), state, path)
    if match.maps:
        logger.warning("%s: rows of the model were matched by name: %s", path, match)
    timeline = trainer.phase.timeline
    done, planned = trainer.state.step - trainer.state.phase.step, timeline.total_steps
    if done > planned and not timeline.schedule.adapts:
        raise UsageError(
            f"{folder.path}: {done:,} steps are done already, but the config asks for {planned:,}"
        )
    if trainer.state.best is not None:
        _check_model(folder)
    folder.keep_checkpoints(trainer.config.keep_checkpoints, path)
    if not folder.truncate_metrics(metrics_size):
        logger.warning("%s: lines are missing", folder.metrics)


def _check_model(folder: RunFolder) -> None:
    """Raise `UsageError` if the best model so far, which may remain the best, is damaged."""
    try:
        folder.read_model()
    except UsageError as error:
        raise UsageError(f"{error}; the best model is lost: start again in another output folder") from error


def _check_identity(folder: RunFolder, before: Any, now: Mapping[str, Any], allow_changes: bool) -> None:
    if before.keys() != now.keys():
        raise ValueError(f"it names {', '.join(before)}")
    for _, line in _differences(before["versions"], now["versions"]):
        logger.warning("a version has changed since the run started:%s; the results may differ", line[1:])
    lines = [
        f"  the state learned from the data ({name}: vocabulary, labels) differs"
        for name, _ in _differences(before["learned"], now["learned"])
    ]
    for split in sorted(before["rows"].keys() | now["rows"].keys()):
        old, new = before["rows"].get(split), now["rows"].get(split)
        if old is None or new is None:
            lines.append(f"  {split}: {'no rows before' if old is None else 'no rows now'}")
        elif old["rows"] != new["rows"]:
            lines.append(f"  {split}: {old['rows']:,} rows before, {new['rows']:,} now ({new['path']})")
        elif old["sha256"] != new["sha256"]:
            lines.append(f"  {split}: the same number of rows, but different ones ({new['path']})")
    _refuse(folder, "the data are", lines, allow_changes)


def _refuse(folder: RunFolder, what: str, lines: list[str], allow_changes: bool) -> None:
    if not lines:
        return
    text = f"{folder.path}: {what} not what this run started with:\n" + "\n".join(lines)
    if not allow_changes:
        raise UsageError(
            f"{text}\npass {argument('allow_changes')} to continue;"
            " the results will match neither configuration"
        )
    logger.warning("%s\nthe results will match neither configuration", text)


def _differences(before: Any, now: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(before, dict) and isinstance(now, dict):
        for key in [*before, *(key for key in now if key not in before)]:
            yield from _differences(before.get(key), now.get(key), f"{path}.{key}" if path else key)
    elif before != now:
        yield path, f"  {path}: {json.dumps(before)} before, {json.dumps(now)} now"


def _reordered(before: Any, now: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield where objects that have an order, such as tasks and featurizers, are in another one.

    The columns that an encoder reads are in the order of the featurizers.
    """
    if not isinstance(before, dict) or not isinstance(now, dict):
        return
    old, new = ([key for key, each in value.items() if isinstance(each, dict)] for value in (before, now))
    if old != new and set(old) == set(new):
        yield path, f"  {path}: in the order {', '.join(old)} before, {', '.join(new)} now"
    for key in old:
        yield from _reordered(before[key], now.get(key), f"{path}.{key}" if path else key)
