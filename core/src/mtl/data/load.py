"""From a config to tasks with numericalised rows: each file is read once, text ends here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast, get_args

import polars as pl
from attrs import Factory, define, frozen

from mtl.components import DataSource, FeaturesConfig, Featurizer, Split, Table, Task
from mtl.config.document import describe
from mtl.config.fields import Component
from mtl.config.run_config import RunConfig
from mtl.config.suggest import listed
from mtl.data.columns import Rows
from mtl.data.features import Features
from mtl.errors import DataError, blaming

SPLITS: tuple[Split, ...] = get_args(Split)


@define
class SharedFeaturizer:
    """A featurizer of the run and the tasks that use it."""

    featurizer: Featurizer[Any]
    tasks: list[str] = Factory(list)


@frozen(eq=False)
class Tasks:
    """The tasks of a run by name, and their featurizers by key: a featurizer that several tasks
    share stands there once."""

    tasks: Mapping[str, Task[Any]]
    featurizers: Mapping[str, SharedFeaturizer]

    def state(self) -> dict[str, dict[str, Any]]:
        """What was learnt from the data, as JSON."""
        return {
            "tasks": {name: task.state() for name, task in self.tasks.items()},
            "featurizers": {key: shared.featurizer.state() for key, shared in self.featurizers.items()},
        }

    def load_state(self, state: Mapping[str, Mapping[str, Any]]) -> None:
        """Take back what `state` gave. Raises `DataError` for anything else."""
        for key, shared in self.featurizers.items():
            _load_state("featurizers", key, shared.featurizer, state)
        for name, task in self.tasks.items():
            _load_state("tasks", name, task, state)


def _load_state(
    kind: str, name: str, owner: Featurizer[Any] | Task[Any], state: Mapping[str, Mapping[str, Any]]
) -> None:
    learnt = state[kind].get(name)
    if not isinstance(learnt, dict):
        raise DataError(f"{kind}.{name}: must be an object of what was learnt, but is {describe(learnt)}")
    try:
        with blaming(owner, "to take back what it had learnt"):
            owner.load_state(learnt)
    except DataError as error:
        raise DataError(f"{kind}.{name}: {error}") from None


@frozen(eq=False)
class TaskData:
    """A task's rows a split (None where the config names no file), and figures about their tokens."""

    splits: Mapping[Split, Rows | None]
    figures: Mapping[Split, Mapping[str, float]]

    @property
    def train(self) -> Rows:
        """The rows to train on."""
        return cast(Rows, self.splits["train"])

    @property
    def skipped(self) -> dict[Split, int]:
        """Bad rows that were left out, a split that has a file."""
        return {split: rows.skipped for split, rows in self.splits.items() if rows is not None}


def make_tasks(config: RunConfig) -> Tasks:
    """The tasks of a config, not yet fitted to data."""
    featurizers: dict[str, SharedFeaturizer] = {}
    tasks: dict[str, Task[Any]] = {}
    for name, component in config.tasks.items():
        features = _make_features(name, component, featurizers)
        tasks[name] = component.spec.load_factory()(component.config, name=name, features=features)
    return Tasks(tasks, featurizers)


def _make_features(task: str, owner: Component, featurizers: dict[str, SharedFeaturizer]) -> Features:
    config: FeaturesConfig = owner.config.features
    parts: dict[str, Featurizer[Any]] = {}
    for name, component in config.featurizers.items():
        key = _featurizer_key(task, config, component)
        if key not in featurizers:
            featurizers[key] = SharedFeaturizer(component.spec.load_factory()(component.config))
        featurizers[key].tasks.append(task)
        parts[name] = featurizers[key].featurizer
    return Features(config, parts, f"{owner.path}.features")


def _featurizer_key(task: str, features: FeaturesConfig, component: Component) -> str:
    own = component.config.shared_module_key
    return own or f"{features.shared_module_key or task}.{component.name}"


def load_data(config: RunConfig, tasks: Tasks) -> dict[str, TaskData]:
    """Read all splits of all tasks, fit featurizers and tasks on the training rows, numericalise.

    Raises `DataError` for a file that cannot be used.
    """
    frames = {name: _read_splits(config.tasks[name].config.data, task) for name, task in tasks.tasks.items()}
    for shared in tasks.featurizers.values():
        with blaming(shared.featurizer, f"to fit itself to {listed(shared.tasks, last='and')}"):
            shared.featurizer.fit({name: [frames[name]["train"][1]["tokens"]] for name in shared.tasks})
    for name, task in tasks.tasks.items():
        with blaming(task, f"to fit itself to {name}"):
            task.fit(frames[name]["train"][1])
    return {name: _encode_splits(tasks.tasks[name], splits) for name, splits in frames.items()}


def _read_splits(component: Component, task: Task[Any]) -> dict[Split, tuple[Table, pl.DataFrame]]:
    source: DataSource[Any] = component.spec.load_factory()(component.config)
    read: dict[Path, tuple[Table, pl.DataFrame]] = {}
    splits: dict[Split, tuple[Table, pl.DataFrame]] = {}
    for split in SPLITS:
        path = component.config.path(split)
        if path is None:
            continue
        if path not in read:
            read[path] = read_rows(source, task, path)
        splits[split] = read[path]
    table, frame = splits["train"]
    if frame.is_empty():
        skipped = f" ({skipped_rows(table)})" if table.skipped else ""
        raise DataError(
            f"{table.path}: {task.name} must have at least one row to train on, but has none{skipped}"
        )
    return splits


def read_rows(source: DataSource[Any], task: Task[Any], path: Path) -> tuple[Table, pl.DataFrame]:
    """The rows of a file as they stand there, and as the task wants them."""
    with blaming(source, f"to read {path}"):
        table = source.read(path, task.columns)
    with blaming(task, f"to prepare {path}"):
        return table, task.prepare(table)


def _encode_splits(task: Task[Any], splits: Mapping[Split, tuple[Table, pl.DataFrame]]) -> TaskData:
    encoded: dict[str, Rows] = {}
    rows: dict[Split, Rows | None] = {}
    figures: dict[Split, Mapping[str, float]] = {}
    for split in SPLITS:
        if split not in splits:
            rows[split] = None
            continue
        table, frame = splits[split]
        if table.path not in encoded:
            encoded[table.path] = encode_rows(task, table, frame)
        rows[split] = encoded[table.path]
        figures[split] = {
            f"{name}.{figure}": value
            for name, featurizer in task.features.featurizers.items()
            for figure, value in featurizer.report(frame["tokens"]).items()
        }
    return TaskData(rows, figures)


def skipped_rows(read: Table | Rows) -> str:
    """How many bad rows were left out, and what is wrong with the first."""
    rows = "1 bad row is" if read.skipped == 1 else f"{read.skipped:,} bad rows are"
    return "; ".join([f"{rows} skipped", *read.skipped_first])


def encode_rows(task: Task[Any], table: Table, frame: pl.DataFrame) -> Rows:
    """Prepared rows as columns."""
    with blaming(task, f"to encode {table.path}"):
        columns = {**task.features.encode(frame["tokens"]), **task.encode(frame)}
    return Rows(columns, frame["line"].to_numpy(), table.path, table.skipped, table.skipped_first)
