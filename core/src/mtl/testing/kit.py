"""The functions of the kit, for the tests of a plugin. Each raises `CheckError` with what failed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mtl.components import ColumnSpec
from mtl.plugins import Plugins, discover
from mtl.testing.checks import Check, require
from mtl.testing.plugin import PluginBench
from mtl.testing.trials import (
    KINDS_TRIED,
    Configs,
    Example,
    component_trial,
    distribution_trials,
    plugin_trial,
    write_files,
)


def check_distribution(
    distribution: str, *, config: Configs | None = None, plugins: Plugins | None = None
) -> list[Check]:
    """Check an installed distribution and all its components, as `mtl plugins check` does.

    A component that `config`, the config of a run or several, names is tried with the settings and files
    that it has there. Raises `CheckError`, or `UsageError` where distribution or config cannot be used.
    """
    __tracebackhide__ = True
    with distribution_trials(plugins or discover(), distribution, config) as trials:
        return require(check for trial in trials for check in trial.run())


def check_plugin(distribution: str, *, plugins: Plugins | None = None) -> list[Check]:
    """Check a distribution as a whole and the config class of each of its components; no component is
    run. Raises `CheckError`."""
    __tracebackhide__ = True
    installed = plugins or discover()
    trials = [plugin_trial(installed, distribution)]
    trials += [
        component_trial(installed, each, None, behavior=False)
        for each in PluginBench(installed, distribution).provided()
    ]
    return require(check for trial in trials for check in trial.run())


def check_component(
    kind: str,
    name: str,
    *,
    config: Mapping[str, Any] | None = None,
    files: Mapping[str, str] | None = None,
    columns: Sequence[ColumnSpec] = (ColumnSpec("text"),),
    plugins: Plugins | None = None,
) -> list[Check]:
    """Check a component of a kind, by its name, with settings as in a config.

    `files` are texts by path; settings name them as a config names files below its `base_dir`.
    `columns` are those of a data source's file. Raises `CheckError`.
    """
    __tracebackhide__ = True
    installed = plugins or discover()
    provided = installed.find(kind, name)
    is_given = config is not None or bool(files)
    settings = {**KINDS_TRIED[kind].settings, **(config or {})}
    with TemporaryDirectory() as folder:
        write_files(Path(folder), files or {})
        example = Example(settings, Path(folder), columns) if is_given else None
        return require(component_trial(installed, provided, example).run())


check_task = partial(check_component, "task")
"""Check a task, as `check_component` does."""
check_representation = partial(check_component, "representation")
"""Check a representation, as `check_component` does."""
check_featurizer = partial(check_component, "featurizer")
"""Check a featurizer, as `check_component` does."""
check_pooling = partial(check_component, "pooling")
"""Check a pooling, as `check_component` does."""
check_decoder = partial(check_component, "decoder")
"""Check a decoder, as `check_component` does."""
check_data_source = partial(check_component, "data_source")
"""Check a data source, as `check_component` does."""
check_dataset = partial(check_component, "dataset")
"""Check a dataset, as `check_component` does."""
check_optimizer = partial(check_component, "optimizer")
"""Check an optimizer, as `check_component` does."""
check_lr_scheduler = partial(check_component, "lr_scheduler")
"""Check a learning-rate scheduler, as `check_component` does."""
check_schedule = partial(check_component, "schedule")
"""Check a schedule, as `check_component` does."""
check_balancer = partial(check_component, "balancer")
"""Check a balancer, as `check_component` does."""
check_logger = partial(check_component, "logger")
"""Check a logger, as `check_component` does."""
