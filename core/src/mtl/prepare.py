"""The way from a config to a run that is ready to start: config, plan, data, model, loop."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from attrs import frozen

from mtl.config.fields import Component
from mtl.config.load import LoadedConfig
from mtl.config.run_config import RunConfig
from mtl.data.batching import Batching, seed_generators
from mtl.data.cache import load_cached
from mtl.data.load import TaskData, Tasks, make_tasks
from mtl.errors import UsageError, blaming
from mtl.model import MultitaskModel, build_model
from mtl.plan import Selection, selection, task_weights
from mtl.plugins import Plugins
from mtl.training.averages import WeightAverages
from mtl.training.loop import Training, fresh_state
from mtl.training.timeline import EpochRule, Timeline

DEFAULT_EPOCHS = 10


@frozen(eq=False)
class Prepared:
    """A run that is ready to start."""

    loaded: LoadedConfig
    plugins: Plugins
    tasks: Tasks
    data: Mapping[str, TaskData]
    notices: tuple[str, ...]
    model: MultitaskModel
    timeline: Timeline
    selection: Selection
    device: torch.device

    @property
    def config(self) -> RunConfig:
        """The resolved config."""
        return self.loaded.config


def prepare(loaded: LoadedConfig, plugins: Plugins) -> Prepared:
    """Read the data of a config and build the model.

    Raises `ConfigError` for modules that do not fit together, `DataError` for data.
    """
    config = loaded.config
    device = choose_device(config.device)
    if config.trainer.precision == "fp16" and device.type == "cpu":
        raise UsageError("`trainer.precision` fp16 needs a GPU; a CPU takes bf16 or fp32")
    seed_generators(config.seed, "data")
    tasks = make_tasks(config)
    data = load_cached(config, tasks, plugins)
    model = build_model(tasks, config.seed)
    return Prepared(
        loaded,
        plugins,
        tasks,
        data.tasks,
        data.notices,
        model.to(device),
        _timeline(config, data.tasks),
        selection(config),
        device,
    )


def _timeline(config: RunConfig, data: Mapping[str, TaskData]) -> Timeline:
    trainer = config.trainer
    weights = task_weights(config)
    epochs = trainer.epochs
    if epochs is None and trainer.max_steps is None:
        epochs = DEFAULT_EPOCHS
    return Timeline(
        schedule=_made(config.schedule),
        rule=EpochRule.of(
            config.schedule.config, config.target_task if weights.get(config.target_task or "") else None
        ),
        batching={
            name: Batching(
                lengths=data[name].train.lengths,
                task=name,
                seed=config.seed,
                batch_size=component.config.batch_size,
                batch_tokens=component.config.batch_tokens,
            )
            for name, component in config.tasks.items()
            if weights[name] > 0
        },
        seed=config.seed,
        accumulate=trainer.accumulate_batches,
        epochs=epochs,
        max_steps=trainer.max_steps,
    )


def make_training(prepared: Prepared) -> Training:
    """The loop of a prepared run, before its first step.

    Raises `UsageError` for a task that has nothing to train.
    """
    config, trainer = prepared.config, prepared.config.trainer
    for name in prepared.timeline.batching:
        if not any(parameter.requires_grad for parameter in prepared.model.tasks[name].parameters()):
            raise UsageError(
                f"{name}: all its modules have `freeze`, so there is nothing to train; give it weight 0"
            )
    if trainer.compile:
        for model in prepared.model.tasks.values():
            model.compile(dynamic=True)
    optimizer = _made(trainer.optimizer, [p for p in prepared.model.parameters() if p.requires_grad])
    return Training(
        config=trainer,
        tasks=prepared.tasks.tasks,
        data=prepared.data,
        model=prepared.model,
        optimizer=optimizer,
        lr_scheduler=_made(
            trainer.lr_scheduler,
            optimizer,
            total_steps=prepared.timeline.total_steps,
            higher_is_better=prepared.selection.higher_is_better,
        ),
        lr_by_metric=trainer.lr_scheduler.config.by_metric,
        balancer=_made(config.balancer, tasks=task_weights(config)),
        scaler=torch.amp.GradScaler(prepared.device.type, enabled=trainer.precision == "fp16"),
        timeline=prepared.timeline,
        selection=prepared.selection,
        device=prepared.device,
        seed=config.seed,
        averages=(
            WeightAverages.of(prepared.model, trainer.average_decay)
            if trainer.average_decay is not None
            else None
        ),
        state=fresh_state(prepared.tasks.tasks, prepared.device),
    )


def _made(component: Component, *arguments: Any, **named: Any) -> Any:
    """What a component's factory makes. Raises `ComponentError` where it fails."""
    factory = component.spec.load_factory()
    with blaming(factory, f"to make what stands at {component.path}"):
        return factory(component.config, *arguments, **named)


def choose_device(name: str) -> torch.device:
    """The device for `auto`, `cpu` or `cuda`. Raises `UsageError` where there is no such one."""
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
