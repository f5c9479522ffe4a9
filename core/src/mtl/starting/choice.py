"""Chooses data sources by reading the files, and what the tasks share by their defaults."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import Factory, frozen

from mtl.components import DataSource, Split
from mtl.components.data import HELD_OUT
from mtl.components.instantiate import instantiate
from mtl.config.load import LoadedConfig, load_config
from mtl.config.source import Format, parse
from mtl.config.walk import walk
from mtl.errors import ConfigError, MtlError, UsageError
from mtl.fields import Component, fields_of
from mtl.plugins import Plugins
from mtl.starting.text import commented

EVAL_FRACTION = 0.1
"""Share of the training rows that are held out to choose the best model if no file is named for it."""

FEATURES_KEY = "SHARED_FEATURES"
REPRESENTATION_KEY = "SHARED_REPRESENTATION"


@frozen
class TaskFiles:
    """A task as one names it: its name, its component and the files of its splits.

    `columns` says where the task's columns are, as in a data source's `columns`.
    """

    name: str
    component: str
    files: Mapping[Split, Path]
    columns: Mapping[str, str | int] = Factory(dict)


@frozen
class StartingConfig:
    """A valid config as text, and what was chosen."""

    text: str
    notes: tuple[str, ...]


def starting_config(
    tasks: Sequence[TaskFiles], *, plugins: Plugins, format: Format, folder: Path, share: bool = True
) -> StartingConfig:
    """Return a config of `tasks` with all settings, for a file in `folder`.

    Raises `UsageError` if no data source can read a task's files, or if there are no such files,
    `PluginError` for a task that is not installed.
    """
    notes: list[str] = []
    stated: dict[str, Any] = {}
    for task in tasks:
        data, loaded = _readable(task, plugins, folder)
        stated[task.name] = {task.component: {"data": data}}
        source = _task(loaded, task.name).config.data.name
        held_out = "" if "eval" in task.files else f"; {EVAL_FRACTION:.0%} of the rows choose the best model"
        notes.append(f"{task.name}: {task.component}, read as {source}{held_out}")
    config: dict[str, Any] = {"tasks": stated}
    if len(tasks) > 1:
        config, shared = _sharing(config, plugins, folder) if share else (config, "nothing")
        notes.append(f"shared: {shared}")
    text = commented(_loaded(config, plugins, folder).config, format)
    load_config(parse(text, format=format), plugins=plugins, config_dir=folder)
    return StartingConfig(text, tuple(notes))


def _loaded(config: Mapping[str, Any], plugins: Plugins, folder: Path) -> LoadedConfig:
    return load_config(config, plugins=plugins, config_dir=folder)


def _task(loaded: LoadedConfig, name: str) -> Component:
    return loaded.config.tasks[name]


# --- data sources ---------------------------------------------------------------------------------------


def _readable(task: TaskFiles, plugins: Plugins, folder: Path) -> tuple[dict[str, Any], LoadedConfig]:
    """Return the `data` of a task with the first source that can read its files."""
    for path in task.files.values():
        if not path.is_file():
            raise UsageError(f"{path}: there is no such file")
    reasons = []
    for source in _candidates(task, plugins):
        data = {source: _data(task, folder)}
        try:
            loaded = _loaded({"tasks": {task.name: {task.component: {"data": data}}}}, plugins, folder)
            _read_beginnings(_task(loaded, task.name), loaded, task)
        except ConfigError as error:
            reasons.append(f"{source}: {error.problems[0].message}")
        except MtlError as error:
            reasons.append(f"{source}: {str(error).splitlines()[0]}")
        else:
            return data, loaded
    tried = "\n".join(f"  {reason}" for reason in reasons)
    raise UsageError(
        f"no data source can read the files of {task.name}; `--columns {task.name}.COLUMN=NAME` says where"
        f" a column is:\n{tried}"
    )


def _data(task: TaskFiles, folder: Path) -> dict[str, Any]:
    data: dict[str, Any] = {
        f"{split}_path": Path(os.path.relpath(path.absolute(), folder.resolve())).as_posix()
        for split, path in task.files.items()
    }
    if "eval" not in task.files:
        data["eval_fraction"] = EVAL_FRACTION
    return {**data, "columns": dict(task.columns)} if task.columns else data


def _candidates(task: TaskFiles, plugins: Plugins) -> list[str]:
    """Return data sources: those that claim the files' ending, the task's default, the others."""
    default, _ = fields_of(plugins.find("task", task.component).load_config())["data"].slot_default
    endings = {suffix.lower() for path in task.files.values() for suffix in path.suffixes}
    found = []
    for name, provided in plugins.available("data_source").items():
        if len(provided) == 1:
            claimed = set(provided[0].load_config().endings)
            found.append((not claimed & endings, name != default, bool(claimed), name))
    return [name for *_, name in sorted(found)]


def _read_beginnings(component: Component, loaded: LoadedConfig, task: TaskFiles) -> None:
    """Read the first piece of each file. Raises `MtlError` if one cannot be read."""
    source: DataSource[Any] = instantiate(component.config.data)
    for split in ("train", *HELD_OUT):
        for path in component.config.data.config.paths(split):
            table = next(iter(source.pieces(path, component.config.columns)))
            if not len(table.frame):
                raise UsageError(f"{path}: has no rows")


# --- sharing --------------------------------------------------------------------------------------------


def _sharing(config: dict[str, Any], plugins: Plugins, folder: Path) -> tuple[dict[str, Any], str]:
    """Return the config with what its tasks can share, the most that is valid, and what that is."""
    loaded = _loaded(config, plugins, folder)
    features = {
        name: sorted(component.config.features.featurizers) for name, component in loaded.config.tasks.items()
    }
    alike = len({tuple(names) for names in features.values()}) == 1
    tried: list[tuple[dict[str, str], str]] = []
    if alike:
        what = " and ".join(next(iter(features.values())))
        tried += [(places, f"{what} and {name}") for name, places in _common_representations(loaded)]
        tried.append(({}, what))
    for places, what in tried:
        overrides = [f"{path}.shared_module_key={REPRESENTATION_KEY}" for path in places.values()]
        overrides += [
            f"{component.path}.features.shared_module_key={FEATURES_KEY}"
            for component in loaded.config.tasks.values()
        ]
        try:
            shared = load_config(config, plugins=plugins, config_dir=folder, overrides=overrides)
        except ConfigError:
            continue
        return shared.document.value, what
    return config, "nothing, as the tasks have no features in common"


def _common_representations(loaded: LoadedConfig) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield the representations that each task has by default, with their paths by task; outer ones first."""
    paths: dict[str, dict[str, str]] = {}
    for task, component in loaded.config.tasks.items():
        for node in walk(component.config):
            part = node.value
            if isinstance(part, Component) and part.kind == "representation":
                paths.setdefault(part.name, {}).setdefault(task, part.path)
    for name, places in paths.items():
        if len(places) == len(loaded.config.tasks):
            yield name, places
