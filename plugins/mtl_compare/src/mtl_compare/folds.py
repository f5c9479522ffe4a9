"""Cross-validation: each run of a comparison holds out another part of the training rows."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from mtl import UsageError
from mtl.runs import LoadedConfig, Plugins, dump, load_config, render_path

NOTE = "{folds} folds: each run of a kind holds out other training rows of {tasks}, and test data is not read"


def with_folds(loaded: LoadedConfig, plugins: Plugins, folds: int, tasks: Collection[str]) -> LoadedConfig:
    """Return a config that holds out the first of `folds` parts of the training rows of some tasks, of all if
    none is named, instead of its evaluation and test data.

    Raises `UsageError` for fewer than two folds, or a task that the config does not have.
    """
    if folds < 2:
        raise UsageError(f"`--folds` must be at least 2, but is {folds}")
    config: dict[str, Any] = dump(loaded.config)
    for name in tasks or loaded.config.tasks:
        if name not in loaded.config.tasks:
            continue  # `--task` is checked with the tasks that are trained
        settings = _data(config, loaded, name)
        seed = settings.get("split_seed")
        settings |= {"eval_path": None, "test_path": None, "test_fraction": None, "eval_fold": 0}
        settings |= {"eval_fraction": 1 / folds, "split_seed": loaded.config.seed if seed is None else seed}
    return load_config(config, plugins=plugins, base_dir=loaded.config.base_dir)


def fold_settings(config: Mapping[str, Any], tasks: Collection[str], fold: int) -> list[str]:
    """Return the overrides of a dumped config with which a run holds out this fold."""
    stated = []
    for name in tasks:
        [(component, settings)] = config["tasks"][name].items()
        [source] = settings["data"]
        path = render_path(("tasks", name, component, "data", source, "eval_fold"))
        stated.append(f"{path}={fold}")
    return stated


def _data(config: Mapping[str, Any], loaded: LoadedConfig, name: str) -> dict[str, Any]:
    component = loaded.config.tasks[name]
    settings: dict[str, Any] = config["tasks"][name][component.name]["data"][component.config.data.name]
    return settings
