"""The rules for each kind of component, and the settings and files that components are checked with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from attrs import evolve, field, frozen

from mtl.components import ColumnSpec
from mtl.components.instantiate import instantiate
from mtl.config.dumping import json_form
from mtl.config.load import LoadedConfig, load_config
from mtl.config.walk import slots_within
from mtl.errors import ConfigError, UsageError
from mtl.fields import Component
from mtl.plugins import SHOW_INSTALLED, Plugins, Provided
from mtl.suggest import did_you_mean
from mtl.testing import (
    configs,
    data,
    decoders,
    featurizers,
    loggers,
    modules,
    plugin,
    task_data,
    task_models,
    task_runs,
    tasks,
    training,
)
from mtl.testing.bench import Bench
from mtl.testing.checks import Check, Rule
from mtl.testing.plugin import PluginBench

Configs = Path | Mapping[str, Any] | Sequence[Path | Mapping[str, Any]]
"""One config of a run, or several."""

FEW_ROWS = 4
"""Rows that a sample must have to be one for a task."""
SAMPLE_LINES = 40
"""Lines of a dataset's sample that a task is checked with."""


@frozen
class Tried:
    """The rules of a kind of component and the bench that they run on."""

    bench: type[Bench]
    rules: tuple[Rule[Any], ...]
    settings: Mapping[str, Any] = field(factory=dict)


_NO_FILE = {"train_path": "no-file"}
KINDS_TRIED: Mapping[str, Tried] = {
    "task": Tried(
        tasks.TaskBench,
        (*task_data.RULES, *task_models.RULES, *modules.MODULE, *task_runs.RULES),
        {"data": _NO_FILE},
    ),
    "representation": Tried(modules.SequenceBench, modules.REPRESENTATION),
    "featurizer": Tried(featurizers.FeaturizerBench, featurizers.RULES),
    "pooling": Tried(modules.SequenceBench, modules.POOLING),
    "decoder": Tried(decoders.DecoderBench, decoders.RULES),
    "data_source": Tried(data.SourceBench, data.SOURCE, _NO_FILE),
    "dataset": Tried(Bench, data.DATASET),
    "optimizer": Tried(training.OptimizerBench, training.OPTIMIZER),
    "lr_scheduler": Tried(training.LRSchedulerBench, training.LR_SCHEDULER),
    "schedule": Tried(Bench, training.SCHEDULE),
    "balancer": Tried(Bench, training.BALANCER),
    "logger": Tried(Bench, loggers.RULES),
}


@frozen
class Example:
    """The settings of a component to check, the folder of the files that they name, and, for a data source,
    the columns of its file."""

    settings: Mapping[str, Any]
    folder: Path
    columns: Sequence[ColumnSpec] = (ColumnSpec("text"),)


@frozen
class Trial:
    """A subject and the checks to run on it."""

    label: str
    run: Callable[[], Iterator[Check]]


def component_trial(
    plugins: Plugins, provided: Provided, example: Example | None, *, behavior: bool = True
) -> Trial:
    """Return the trial of a component; without `behavior`, only that of its config class."""
    tried = KINDS_TRIED[provided.kind]
    given = example or Example(tried.settings, Path())
    more = {"columns": given.columns} if issubclass(tried.bench, data.SourceBench) else {}
    bench = tried.bench(plugins, provided, given.settings, given.folder.resolve(), **more)

    def run() -> Iterator[Check]:
        yield from _checked_config(bench, is_given=example is not None)
        if behavior and _is_configured(bench):
            yield from _checked_behavior(bench, tried, example)

    return Trial(bench.label, run)


def _checked_config(bench: Bench, *, is_given: bool) -> Iterator[Check]:
    """Yield the rules of its config class, if it takes the settings."""
    name = "takes_its_settings"
    try:
        bench.component  # noqa: B018
    except ConfigError as error:
        lacks = not is_given and all(problem.message.endswith("is missing") for problem in error.problems)
        wrong = "; ".join(f"{each.path}: {each.message}" for each in error.problems)
        advice = "; give it settings to be tried with" if lacks else "; nothing else can be tried"
        yield Check(bench.label, name, "skipped" if lacks else "failed", wrong + advice)
    except Exception as error:
        yield Check(bench.label, name, "failed", f"{error}; nothing else can be tried")
    else:
        yield Check(bench.label, name, "passed")
        yield from (rule.check(bench, bench.label) for rule in configs.RULES)


def _is_configured(bench: Bench) -> bool:
    try:
        return bench.component is not None
    except Exception:
        return False


def _checked_behavior(bench: Bench, tried: Tried, example: Example | None) -> Iterator[Check]:
    if bench.kind == "task" and example is None:
        message = "it has no rows to be tried on: give a config that trains it, or a dataset with a sample"
        yield Check(bench.label, "trains", "failed", message)
        return
    failures: dict[str, str] = {}
    with _quiet_torch():
        for rule in tried.rules:
            check = rule.check(bench, bench.label)
            first = failures.setdefault(check.message, check.name) if not check.passed else check.name
            if first != check.name:
                check = evolve(check, outcome="skipped", message=f"it fails as `{first}` does")
            yield check


@contextmanager
def _quiet_torch() -> Iterator[None]:
    """Use one thread, and restore the caller's random state at the end."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        torch.set_num_threads(threads)


def plugin_trial(plugins: Plugins, distribution: str) -> Trial:
    """Return the trial of a distribution as a whole. Raises `UsageError` if it has no plugin."""
    bench = PluginBench(plugins, distribution)
    if not bench.statuses:
        known = sorted({status.distribution for status in plugins.statuses})
        hint = did_you_mean(distribution, known) or SHOW_INSTALLED
        raise UsageError(f"no installed distribution called `{distribution}` provides a plugin; {hint}")
    return Trial(distribution, lambda: (rule.check(bench, distribution) for rule in plugin.RULES))


@contextmanager
def distribution_trials(
    plugins: Plugins, distribution: str, config: Configs | None = None
) -> Iterator[list[Trial]]:
    """Prepare the trials of a distribution and of all its components.

    A component that a config names is checked with its settings and files there, any other task on the sample
    of one of the distribution's datasets, and any other component with its defaults. Raises `UsageError` if
    the distribution or the config cannot be used.
    """
    whole = plugin_trial(plugins, distribution)
    components = list(PluginBench(plugins, distribution).provided())
    with TemporaryDirectory() as folder:
        configs = [] if config is None else [config] if isinstance(config, Path | Mapping) else config
        examples: dict[int, Example] = {}
        for each in configs:
            examples = {**_of_config(load_config(each, plugins=plugins)), **examples}
        samples = _samples(components, Path(folder))
        trials = []
        for provided in components:
            example = examples.get(id(provided.spec))
            if example is None and provided.kind == "task":
                example = _fitting(plugins, provided, samples)
            trials.append(component_trial(plugins, provided, example))
        yield [whole, *trials]


def _of_config(loaded: LoadedConfig) -> dict[int, Example]:
    """Return an example for each component that a config names, by the identity of its spec."""
    examples: dict[int, Example] = {}
    folder = Path(loaded.config.base_dir)

    def walk(component: Component, columns: Sequence[ColumnSpec]) -> None:
        if component.kind == "task":
            columns = component.config.columns
        settings = _writing_nothing(json_form(component.config, folder))
        examples.setdefault(id(component.spec), Example(settings, folder, columns))
        for inner in slots_within(component.config):
            walk(inner, columns)

    for holder in (loaded.config, loaded.config.trainer):
        for component in slots_within(holder):
            walk(component, (ColumnSpec("text"),))
    return examples


def _writing_nothing(settings: Any) -> Any:
    """Return settings without `save_path`s, so that a trial overwrites no weights."""
    if not isinstance(settings, dict):
        return settings
    return {key: None if key == "save_path" else _writing_nothing(value) for key, value in settings.items()}


def _samples(components: Sequence[Provided], folder: Path) -> list[Example]:
    """Return an example for each training file in the sample of the first dataset that has one."""
    for each in components:
        if each.kind != "dataset":
            continue
        try:
            files = instantiate(each.with_defaults()).sample(0)
        except Exception:  # its own trial says so
            continue
        training_files = [path for path in files if "train" in Path(path).name]
        if training_files:
            cut = {
                path: text if path.endswith(".json") else "".join(text.splitlines(True)[:SAMPLE_LINES])
                for path, text in files.items()
            }
            write_files(folder, cut)
            return [Example({"data": {"train_path": path}}, folder) for path in training_files]
    return []


def _fitting(plugins: Plugins, provided: Provided, samples: Sequence[Example]) -> Example | None:
    """Return the first sample that gives a task a few rows, or else the first one."""
    for example in samples if len(samples) > 1 else ():
        bench = tasks.TaskBench(plugins, provided, example.settings, example.folder.resolve())
        try:
            if len(bench.rows) >= FEW_ROWS:
                return example
        except Exception:  # its trial says what is wrong, if none fits
            continue
    return next(iter(samples), None)


def write_files(folder: Path, files: Mapping[str, str]) -> None:
    """Write texts by their paths below a folder."""
    for path, text in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")


def all_rules() -> dict[str, tuple[Rule[Any], ...]]:
    """Return every rule by kind, for the reference page."""
    by_kind = {kind: tried.rules for kind, tried in KINDS_TRIED.items() if tried.rules}
    return {"plugin": plugin.RULES, "config": configs.RULES, **by_kind}
