"""The way from a config to a run that is ready to start: config, plan, data, model, loop."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from attrs import evolve, frozen
from torch import nn

from mtl.components import Balancer, TaskConfig
from mtl.components.instantiate import instantiate
from mtl.config.load import LoadedConfig, load_config
from mtl.config.module_names import find_modules, is_pattern
from mtl.config.run_config import PhaseConfig, RunConfig
from mtl.data.batching import Batching, seed_generators
from mtl.data.cache import load_cached
from mtl.data.columns import Rows
from mtl.data.load import TaskData, Tasks, make_tasks
from mtl.data.same_rows import unify
from mtl.errors import UsageError, component_errors
from mtl.model import ModuleStates, MultitaskModel, build_model, sized
from mtl.plugins import Plugins
from mtl.runs.arguments import as_path, require_overrides, shown
from mtl.runs.given import GivenData, given_data
from mtl.training.phase import Phase
from mtl.training.processes import Processes
from mtl.training.selection import Selection, early_stopping, selection, task_weights
from mtl.training.shared_forward import batch_sources
from mtl.training.state import TrainingState
from mtl.training.timeline import Cursor, EpochRule, Timeline
from mtl.training.trainer import Trainer

if TYPE_CHECKING:
    from mtl.runs.start import Report, Start

DEFAULT_EPOCHS = 10
FAST_STEPS, FAST_BATCHES = 3, 2
"""Steps per task and phase of a fast run, and batches of each split that it reads."""
FAST_NOTICE = "a fast run: a few steps over the longest rows, so its metrics mean nothing"

Source = str | Path | Mapping[str, Any] | LoadedConfig
"""A config: a path, JSON text (a `str` that begins with "{"), a mapping, or one that is loaded."""


def load_source(
    source: Source,
    plugins: Plugins,
    overrides: Sequence[str] = (),
    base_dir: Path | str | None = None,
    resumed: Path | None = None,
    data: GivenData | None = None,
) -> LoadedConfig:
    """Read and check a config; `resumed` is the folder of a run to continue, `data` replaces its files.

    Raises `UsageError` for a source of another type, and what `load_config` raises.
    """
    require_overrides(overrides)
    base_dir = None if base_dir is None else as_path("base_dir", base_dir)
    if isinstance(source, LoadedConfig):
        if overrides or base_dir is not None or data:
            raise UsageError("a config that is loaded already takes no overrides, base folder or data")
        return source
    if isinstance(source, str) and not source.lstrip("\ufeff \t\r\n").startswith("{"):
        source = as_path("source", source)
    if not isinstance(source, str | Path | Mapping):
        raise UsageError(f"a config must be a path, JSON text or a mapping, but is {shown(source)}")
    return load_config(
        source,
        plugins=plugins,
        overrides=overrides,
        base_dir=base_dir,
        resumed=resumed,
        given=given_data(data),
    )


@frozen(eq=False)
class Prepared:
    """A run that is ready to start."""

    loaded: LoadedConfig
    plugins: Plugins
    tasks: Tasks
    data: Mapping[str, TaskData]
    notices: tuple[str, ...]
    model: MultitaskModel
    phases: tuple[Phase, ...]
    device: torch.device
    fast: bool = False
    started: Report | None = None

    @property
    def config(self) -> RunConfig:
        """The resolved config."""
        return self.loaded.config

    @property
    def selection(self) -> Selection:
        """The rule that selects the model of the run: that of its last phase."""
        return self.phases[-1].selection


def prepare(
    loaded: LoadedConfig,
    plugins: Plugins,
    files: Path | None = None,
    states: ModuleStates | None = None,
    *,
    fast: bool = False,
    start: Start | None = None,
) -> Prepared:
    """Read the data of a config and build the model.

    A `fast` run takes a few steps of each phase over the longest rows of each split: whatever would fail in
    the whole run, memory included, is likely to fail in it.

    `files` are those that the featurizers and tasks of a run have saved, if it is resumed, and `states` those
    of the modules in the checkpoint to restore, if there is one. `start` is the run to start from.

    Raises `ConfigError` for modules that do not fit together, `DataError` for data.
    """
    config = loaded.config
    device = choose_device(config.device)
    if config.trainer.precision == "fp16" and device.type == "cpu":
        raise UsageError("`trainer.precision` fp16 needs a GPU; a CPU takes bf16 or fp32")
    seed_generators(config.seed, "data")
    tasks = make_tasks(config)
    if files is not None:
        tasks.load_files(files)
    if start is not None:
        start.enter(tasks, config, with_files=files is None)
    read = load_cached(config, tasks, plugins)
    data = read.tasks
    if fast:
        data = {name: _longest_rows(config.tasks[name].config, each) for name, each in data.items()}
    data = _with_sampling(tasks, unify(data))
    with sized(device, tasks):
        model = build_model(tasks, config.seed, states, start.module_states(config) if start else {})
        started = start.fill(model, config) if start else None
        model = model.to(device)
    phases = tuple(_phases(config, data, model, {}, fast=fast))
    rows = {name: each.train for name, each in data.items()}
    configs = {name: component.config for name, component in config.tasks.items()}
    if sources := batch_sources([phase.timeline for phase in phases], configs, rows):
        phases = tuple(_phases(config, data, model, sources, fast=fast))
    notices = (
        *(started.notices() if started else ()),
        *read.notices,
        *model.notices,
        *([FAST_NOTICE] if fast else []),
    )
    return Prepared(loaded, plugins, tasks, data, notices, model, phases, device, fast, started)


def _with_sampling(tasks: Tasks, data: Mapping[str, TaskData]) -> dict[str, TaskData]:
    """Return the data with the weights by which tasks draw their training rows."""
    weighted = {}
    for name, each in data.items():
        task = tasks.tasks[name]
        with component_errors(task, f"to weight the training rows of {name}"):
            weighted[name] = evolve(each, sampling=task.sampling_weights(each.train))
    return weighted


def _longest_rows(config: TaskConfig, data: TaskData) -> TaskData:
    """Return the longest rows of each split, a few batches of them, in the order of the file."""

    def longest(rows: Rows) -> Rows:
        order = np.argsort(-rows.lengths, kind="stable")
        return rows.take(np.sort(order[: FAST_BATCHES * config.batch_size]))

    taken = {id(rows): longest(rows) for rows in data.splits.values() if rows is not None}
    return evolve(data, splits={split: rows and taken[id(rows)] for split, rows in data.splits.items()})


def _phases(
    config: RunConfig,
    data: Mapping[str, TaskData],
    model: MultitaskModel,
    sources: Mapping[str, str],
    *,
    fast: bool,
) -> Iterator[Phase]:
    """Yield the phases of a run; without any in its config, one of all tasks.

    `sources` are the tasks whose batches other tasks take.
    """
    trainer = config.trainer
    whole = PhaseConfig(epochs=trainer.epochs, steps=trainer.max_steps)
    if whole.epochs is None and whole.steps is None:
        whole = PhaseConfig(epochs=DEFAULT_EPOCHS)
    groups = [
        (group, _parameters(model, name, "trainer.parameter_groups"))
        for name, group in trainer.parameter_groups.items()
    ]
    begin = {name: Cursor() for name in config.tasks}
    phases = config.phases or [whole]
    for index, phase in enumerate(phases):
        tasks = list(config.tasks) if phase.tasks is None else [t for t in config.tasks if t in phase.tasks]
        if fast:
            phase = evolve(phase, epochs=None, steps=FAST_STEPS * len(tasks))  # type: ignore[misc]
        timeline = _timeline(config, data, sources, index, phase, tasks, begin)
        yield Phase(
            index=index,
            name=phase.name,
            tasks=tasks,
            timeline=timeline,
            selection=selection(config, tasks),
            early_stopping=early_stopping(config, tasks),
            schedule=phase.schedule or config.schedule,
            optimizer=phase.optimizer or trainer.optimizer,
            lr_scheduler=phase.lr_scheduler or trainer.lr_scheduler,
            frozen=_modules(model, phase.freeze),
            frozen_parameters={
                name: _parameters(model, name, f"phases[{index}].freeze")
                for name in phase.freeze
                if is_pattern(name)
            },
            groups=groups,
        )
        begin = timeline.end if index + 1 < len(phases) else begin


def _timeline(
    config: RunConfig,
    data: Mapping[str, TaskData],
    sources: Mapping[str, str],
    index: int,
    phase: PhaseConfig,
    tasks: Sequence[str],
    begin: Mapping[str, Cursor],
) -> Timeline:
    weights = task_weights(config)
    schedule = phase.schedule or config.schedule
    trained = {name: config.tasks[name].config for name in tasks if weights[name] > 0}
    return Timeline(
        schedule=instantiate(schedule),
        rule=EpochRule.of(schedule.config, config.target_task if config.target_task in trained else None),
        batching={
            name: Batching(
                lengths=data[name].train.lengths,
                task=sources.get(name, name),
                seed=config.seed,
                batch_size=task.batch_size,
                batch_tokens=task.batch_tokens,
                accumulate=task.accumulate_batches or config.trainer.accumulate_batches,
                weights=data[name].sampling,
            )
            for name, task in trained.items()
        },
        seed=config.seed,
        epochs=phase.epochs,
        max_steps=phase.steps,
        phase=index,
        higher_is_better={name: task.metric.higher_is_better for name, task in trained.items()},
        begin=begin,
    )


def _modules(model: MultitaskModel, names: Sequence[str]) -> list[nn.Module]:
    """Return the modules of a model that any of the names means."""
    keys = {path: built.config.shared_module_key for built in model.built for path in built.users}
    paths = {path for name in names for path in find_modules(name, keys)}
    return [built.module for built in model.built if paths.intersection(built.users)]


def _parameters(model: MultitaskModel, name: str, place: str) -> list[nn.Parameter]:
    """Return the parameters of modules, or those whose names match a pattern; `place` names it in messages.

    Raises `UsageError` if there are none.
    """
    if not is_pattern(name):
        return [parameter for module in _modules(model, [name]) for parameter in module.parameters()]
    named = dict(model.named_parameters())
    found = [parameter for key, parameter in named.items() if fnmatchcase(key, name)]
    if not found:
        names = [*islice(named, 8), *(["…"] if len(named) > 8 else [])]
        raise UsageError(f"{place}: no parameter matches `{name}`; their names are {', '.join(names)}")
    return found


def make_trainer(prepared: Prepared, processes: Processes | None = None) -> Trainer:
    """Return the trainer of a prepared run, before its first step.

    Raises `UsageError` for a task that has nothing to train, and for what does not fit the steps.
    """
    config, trainer = prepared.config, prepared.config.trainer
    balancer: Balancer[Any] = instantiate(config.balancer, tasks=task_weights(config))
    _check_steps(prepared, balancer)
    if processes is not None and processes.count > 1:
        _check_shares(prepared)
    if trainer.compile:
        for model in prepared.model.tasks.values():
            model.compile(dynamic=True, mode=trainer.compile_mode)
    return Trainer(
        config=trainer,
        tasks=prepared.tasks.tasks,
        data=prepared.data,
        model=prepared.model,
        phases=prepared.phases,
        balancer=balancer,
        scaler=torch.amp.GradScaler(prepared.device.type, enabled=trainer.precision == "fp16"),
        device=prepared.device,
        seed=config.seed,
        state=TrainingState.fresh(prepared.tasks.tasks, prepared.device),
        processes=processes or Processes(),
    )


def _check_steps(prepared: Prepared, balancer: Balancer[Any]) -> None:
    """Raises `UsageError` for a setting that needs steps of several tasks, or of one."""
    config = prepared.config
    joint = {
        span.task
        for phase in prepared.phases
        for step in next(phase.timeline.walk())
        if len(step.spans) > 1
        for span in step.spans
    }
    if balancer.combines and not joint:
        raise UsageError(
            f"`balancer` {config.balancer.name} combines the gradients of several tasks in a step, but each"
            " step takes one task; set `schedule` to Joint"
        )
    for name, task in config.tasks.items():
        if name in joint and task.config.lr_factor != 1.0:
            raise UsageError(
                f"{task.path}.lr_factor is the rate of the task's own steps, but a step takes several tasks;"
                " use `trainer.parameter_groups` or `task_weights`"
            )


def _check_shares(prepared: Prepared) -> None:
    """Raise `UsageError` for a task whose batches several processes cannot share."""
    for name, task in prepared.tasks.tasks.items():
        if not task.rows_are_independent:
            raise UsageError(
                f"{name}: the loss of {type(task).__name__} compares the rows of a batch with each other, so"
                " several processes cannot share it; train in one process"
            )


def choose_device(name: str) -> torch.device:
    """Return the device for `auto`, `cpu` or `cuda`. Raises `UsageError` where there is no such one."""
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise UsageError("`device` is cuda, but torch sees no GPU; use auto or cpu")
    return torch.device("cuda" if name != "cpu" and available else "cpu")


@contextmanager
def torch_settings(config: RunConfig) -> Iterator[None]:
    """The config's process-wide settings of torch, given back at the end, random state included."""
    threads = torch.get_num_threads()
    deterministic = torch.are_deterministic_algorithms_enabled()
    states = torch.random.get_rng_state(), random.getstate(), np.random.get_state()
    try:
        if config.trainer.num_threads is not None:
            torch.set_num_threads(config.trainer.num_threads)
        if config.trainer.deterministic and choose_device(config.device).type == "cuda":
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
            torch.use_deterministic_algorithms(True)
        yield
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(deterministic)
        torch.random.set_rng_state(states[0])
        random.setstate(states[1])
        np.random.set_state(states[2])
