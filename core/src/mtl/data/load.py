"""From a config to tasks with numericalized rows; each file is read once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np
import polars as pl
from attrs import Factory, define, frozen

from mtl.components import ComponentSpec, DataSource, FeaturesConfig, Featurizer, Split, Table, Task, Unit
from mtl.components.instantiate import instantiate
from mtl.config.document import describe
from mtl.config.run_config import RunConfig
from mtl.data.columns import Column, Rows, longest
from mtl.data.features import Features
from mtl.data.pieces import Corpus, PreparedFile, Scratch, prepare_files
from mtl.data.splits import prepare_divided
from mtl.data.stored import read_rows, write_rows
from mtl.errors import DataError, component_errors
from mtl.fields import Component
from mtl.files import file_name
from mtl.suggest import listed

SPLITS: tuple[Split, ...] = get_args(Split)


@define
class SharedFeaturizer:
    """A featurizer of the run, the component that it was made from and the tasks that use it."""

    featurizer: Featurizer[Any]
    component: Component
    tasks: list[str] = Factory(list)


@frozen(eq=False)
class Tasks:
    """The tasks of a run by name, and their featurizers by key: a featurizer that several tasks
    share stands there once. `components` are what the tasks were made from, `started` what some started
    from before `fit`: what those of another run had learned."""

    tasks: Mapping[str, Task[Any]]
    featurizers: Mapping[str, SharedFeaturizer]
    components: Mapping[str, Component]
    started: dict[str, Any] = Factory(dict)

    def state(self) -> dict[str, dict[str, Any]]:
        """Return what was learned from the data, as JSON."""
        return {
            "tasks": {name: task.state() for name, task in self.tasks.items()},
            "featurizers": {key: shared.featurizer.state() for key, shared in self.featurizers.items()},
        }

    def load_state(self, state: Mapping[str, Mapping[str, Any]]) -> None:
        """Restore `state()`. Raises `DataError` for anything else."""
        specs = {
            "featurizers": {key: shared.component.spec for key, shared in self.featurizers.items()},
            "tasks": {name: component.spec for name, component in self.components.items()},
        }
        for kind, name, owner in self._owners():
            _load_state(kind, name, owner, specs[kind][name], state)

    def save_files(self, folder: Path) -> None:
        """Write the files that featurizers and tasks need besides their state."""
        for kind, name, owner in self._owners():
            of_owner = folder / kind / file_name(name)
            of_owner.mkdir(parents=True)
            with component_errors(owner, "to save its files"):
                owner.save_files(of_owner)
            if not any(of_owner.iterdir()):
                of_owner.rmdir()

    def load_files(self, folder: Path) -> None:
        """Let each read the files that it wrote, if any."""
        for kind, name, owner in self._owners():
            of_owner = folder / kind / file_name(name)
            if of_owner.is_dir():
                with component_errors(owner, "to load its files"):
                    owner.load_files(of_owner)

    def _owners(self) -> Iterator[tuple[str, str, Featurizer[Any] | Task[Any]]]:
        yield from (("featurizers", key, shared.featurizer) for key, shared in self.featurizers.items())
        yield from (("tasks", name, task) for name, task in self.tasks.items())


def _load_state(
    kind: str,
    name: str,
    owner: Featurizer[Any] | Task[Any],
    spec: ComponentSpec,
    state: Mapping[str, Mapping[str, Any]],
) -> None:
    learned = state[kind].get(name)
    if not isinstance(learned, dict):
        raise DataError(f"{kind}.{name}: must be an object of what was learned, but is {describe(learned)}")
    try:
        with component_errors(owner, "to restore what it had learned"):
            owner.load_state(spec.migrate_state(learned))
    except DataError as error:
        raise DataError(f"{kind}.{name}: {error}") from None


@frozen(eq=False)
class TaskData:
    """A task's rows by split (None if the config names no file), and what featurizers report on them.

    `sampling` are the weights by which training rows are drawn, None if each occurs once per pass.
    """

    splits: Mapping[Split, Rows | None]
    statistics: Mapping[Split, Mapping[str, float]]
    notices: tuple[str, ...] = ()
    sampling: np.ndarray | None = None

    @property
    def train(self) -> Rows:
        """The training rows."""
        return cast(Rows, self.splits["train"])

    @property
    def skipped(self) -> dict[Split, int]:
        """Bad rows that were left out, for each split that has a file."""
        return {split: rows.skipped for split, rows in self.splits.items() if rows is not None}


def make_tasks(config: RunConfig) -> Tasks:
    """Return the tasks of a config, not yet fitted to data."""
    featurizers: dict[str, SharedFeaturizer] = {}
    keys: dict[int, str] = {}
    tasks: dict[str, Task[Any]] = {}
    for name, component in config.tasks.items():
        features = _make_features(name, component, featurizers, keys)
        tasks[name] = instantiate(component, name=name, features=features)
    return Tasks(tasks, featurizers, config.tasks)


def _make_features(
    task: str, owner: Component, featurizers: dict[str, SharedFeaturizer], keys: dict[int, str]
) -> Features:
    """Sharers hold one config object; `keys` names a featurizer by the identity of its config."""
    config: FeaturesConfig = owner.config.features
    parts: dict[str, Featurizer[Any]] = {}
    for name, component in config.featurizers.items():
        key = keys.get(id(component.config))
        if key is None:
            own = component.config.shared_module_key
            key = own or f"{config.shared_module_key or task}.{component.name}"
            if key in featurizers:  # a task may be called like a key
                key = component.path
            keys[id(component.config)] = key
            featurizers[key] = SharedFeaturizer(instantiate(component), component)
            featurizers[key].featurizer.json_path = component.path
        featurizers[key].tasks.append(task)
        parts[name] = featurizers[key].featurizer
    return Features(config, parts, f"{owner.path}.features")


def load_data(config: RunConfig, tasks: Tasks, scratch: Scratch) -> dict[str, TaskData]:
    """Read all splits of all tasks, fit featurizers and tasks on the training rows, numericalize.

    What is too large for memory goes through `scratch`, and its columns are mapped from there.
    Raises `DataError` for a file that cannot be used.
    """
    files = {name: _read_splits(task, scratch, config.seed) for name, task in tasks.tasks.items()}
    for shared in tasks.featurizers.values():
        with component_errors(shared.featurizer, f"to fit itself to {listed(shared.tasks, last='and')}"):
            shared.featurizer.fit(
                {name: Corpus(files[name]["train"], tasks.tasks[name].config.texts) for name in shared.tasks}
            )
    for name, task in tasks.tasks.items():
        with component_errors(task, f"to fit itself to {name}"):
            task.fit(files[name]["train"])
    return {name: _encode_splits(tasks.tasks[name], splits) for name, splits in files.items()}


def load_rows(task: Task[Any], paths: Sequence[Path]) -> Rows:
    """Return the rows of a file for a fitted task. Raises `DataError` if the file cannot be used."""
    with Scratch() as scratch:
        return _encode_file(task, prepare_files(_source(task), task, paths, scratch))


def load_split(task: Task[Any], split: Split, seed: int) -> Rows:
    """Return the rows of a split for a fitted task of a run with this seed.

    Raises `DataError` if a file cannot be used.
    """
    if not task.config.data.config.is_divided or (task.config.data.config.paths(split) and split != "train"):
        return load_rows(task, task.config.data.config.paths(split))
    with Scratch() as scratch:
        return _encode_file(task, prepare_divided(_source(task), task, scratch, seed)[split])


def _source(task: Task[Any]) -> DataSource[Any]:
    component = task.config.data
    source: DataSource[Any] = instantiate(component)
    return source


def _read_splits(task: Task[Any], scratch: Scratch, seed: int) -> dict[Split, PreparedFile]:
    source, config = _source(task), task.config.data.config
    splits = prepare_divided(source, task, scratch, seed) if config.is_divided else {}
    paths = {split: config.paths(split) for split in SPLITS if split not in splits}
    read = {
        each: prepare_files(source, task, each, scratch) for each in dict.fromkeys(paths.values()) if each
    }
    splits |= {split: read[each] for split, each in paths.items() if each}
    train = splits["train"]
    if train.last.is_empty():
        skipped = f" ({skipped_rows(train)})" if train.skipped else ""
        raise DataError(
            f"{train.path}: {task.name} must have at least one row to train on, but has none{skipped}"
        )
    return splits


def _encode_splits(task: Task[Any], splits: Mapping[Split, PreparedFile]) -> TaskData:
    rows: dict[Split, Rows | None] = dict.fromkeys(SPLITS)
    statistics: dict[Split, Mapping[str, float]] = {}
    encoded: dict[int, Rows] = {}
    for split, file in splits.items():
        if id(file) not in encoded:
            encoded[id(file)] = _encode_file(task, file)
        rows[split] = encoded[id(file)]
        statistics[split] = _report(task, file)
    notices = dict.fromkeys(notice for file in splits.values() for notice in file.notices)
    return TaskData(rows, statistics, tuple(notices))


def _report(task: Task[Any], file: PreparedFile) -> dict[str, float]:
    corpus = Corpus(file, task.config.texts)
    statistics: dict[str, float] = {}
    for name, featurizer in task.features.featurizers.items():
        with component_errors(featurizer, f"to report on {file.path}"):
            statistics |= {
                f"{name}.{statistic}": value for statistic, value in featurizer.report(corpus).items()
            }
    return statistics


def _encode_file(task: Task[Any], file: PreparedFile) -> Rows:
    pieces = (encode_rows(task, file, frame) for frame in file)
    if file.is_whole:
        return next(pieces)
    folder = file.scratch.new()
    try:
        write_rows(pieces, folder)
    except ValueError as error:
        with component_errors(task, f"to encode {file.path}"):
            raise error
    return read_rows(folder)


def skipped_rows(read: Table | PreparedFile | Rows) -> str:
    """Say how many bad rows were skipped, and what is wrong with the first ones."""
    rows = "1 bad row is" if read.skipped == 1 else f"{read.skipped:,} bad rows are"
    return "; ".join([f"{rows} skipped", *read.skipped_first])


def encode_rows(task: Task[Any], table: Table | PreparedFile, frame: pl.DataFrame) -> Rows:
    """Return prepared rows as columns."""
    with component_errors(task, f"to encode {table.path}"):
        texts = {
            name: table.words(frame, name) if isinstance(table, PreparedFile) else frame[name]
            for name in task.config.texts
        }
        encoded = task.features.encode(texts)
        columns = {**encoded, **task.encode(frame)}
        lines = frame["line"].cast(pl.Int64).to_numpy()
    return Rows(
        columns=columns,
        lines=lines,
        path=table.path,
        skipped=table.skipped,
        skipped_first=table.skipped_first,
        words=_words(texts, len(lines)),
        pieces=_pieces(task, encoded, len(lines)),
    )


def _words(texts: Mapping[str, pl.Series], rows: int) -> np.ndarray:
    """Return the words of all texts of each row, int64 `[rows]`."""
    counts = [words.list.len().cast(pl.Int64).to_numpy() for words in texts.values()]
    return sum(counts, start=np.zeros(rows, dtype=np.int64))


def _pieces(task: Task[Any], encoded: Mapping[str, Column], rows: int) -> np.ndarray:
    """Return the pieces of all sequences of each row, int64 `[rows]`."""
    counts = [
        longest(
            {name: column for name, column in encoded.items() if name.startswith(f"{sequence}.")},
            Unit.PIECE,
            rows,
        )
        for sequence in task.features.sequences(task.config.texts)
    ]
    return sum(counts, start=np.zeros(rows, dtype=np.int64))
