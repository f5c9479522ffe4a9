"""A task with a few rows, for the rules of tasks."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from attrs import frozen
from torch import Tensor, nn

from mtl.builder import Builder
from mtl.components import (
    Loss,
    Metrics,
    ModelOutput,
    Table,
    Task,
)
from mtl.components.instantiate import instantiate
from mtl.config.load import load_config
from mtl.config.walk import slots_within
from mtl.data.columns import Batch, Rows
from mtl.data.load import make_tasks
from mtl.fields import Component
from mtl.runs import Result, train
from mtl.runs.preparation import Prepared, prepare, torch_settings
from mtl.testing.checks import Failed
from mtl.testing.modules import ModuleBench

TASK = "First"
OTHER = "Second"
BATCH_SIZE = 4
"""Whatever the settings say, so that a few rows are several batches."""
ROWS = 16
"""Training rows that rules about single batches take."""


@frozen(slots=False)
class TaskBench(ModuleBench):
    """A task with the rows that its settings name."""

    def run_config(self, trainer: Mapping[str, Any], **tasks: Mapping[str, Any]) -> dict[str, Any]:
        """Return the config of a run of this task, under each of these names with these settings."""
        given = tasks or {TASK: self.settings}
        return {
            "base_dir": str(self.folder),
            "tasks": {name: {self.name: {**each, "batch_size": BATCH_SIZE}} for name, each in given.items()},
            "trainer": {"max_steps": 4, **trainer},
            "device": "cpu",
        }

    def prepare(self, **tasks: Mapping[str, Any]) -> Prepared:
        """Return the run, before its first step."""
        loaded = load_config(self.run_config({}, **tasks), plugins=self.plugins)
        with torch_settings(loaded.config):
            return prepare(loaded, self.plugins)

    def train(self, folder: Path, **options: Any) -> Result:
        """Return a run of two batches or, with `trainer`, of as many as it says."""
        trainer = options.pop("trainer", {"max_steps": 2})
        return train(self.run_config(trainer), output=folder, plugins=self.plugins, **options)

    @cached_property
    def prepared(self) -> Prepared:
        """The run of the task alone."""
        return self.prepare()

    @property
    def task(self) -> Task[Any]:
        """The task, fitted."""
        return self.prepared.tasks.tasks[TASK]

    @property
    def rows(self) -> Rows:
        """The training rows as numbers."""
        return self.prepared.data[TASK].train

    def table(self) -> Table:
        """Return the training rows as they are read."""
        task = self.unfitted()
        data = task.config.data
        table: Table = instantiate(data).read(data.config.paths("train")[0], task.config.columns)
        return table

    def unfitted(self) -> Task[Any]:
        """Return the task before it has seen any row."""
        loaded = load_config(self.run_config({}), plugins=self.plugins)
        return make_tasks(loaded.config).tasks[TASK]

    def make(self, build: Builder) -> nn.Module:
        return self.task.build_model(build)

    def slots(self) -> Iterator[Component]:
        return slots_within(self.task.config)

    def batch(self, numbers: Sequence[int] | None = None) -> Batch:
        """Training rows as one batch, by default the first ones."""
        chosen = range(min(ROWS, len(self.rows))) if numbers is None else numbers
        return self.rows.batch(torch.tensor(list(chosen)).numpy())

    def single_rows(self) -> Iterator[Batch]:
        """Return the rows of `batch`, each alone."""
        return (self.batch([number]) for number in range(min(ROWS, len(self.rows))))

    def run(self, module: nn.Module) -> Tensor:
        return self.loss(module)

    def loss(self, module: nn.Module) -> Tensor:
        loss = self.forward(module, self.batch()).loss
        return mean_loss(loss)

    def losses(self, module: nn.Module) -> Iterator[Tensor]:
        for step, start in enumerate(range(0, min(len(self.rows), 4 * ROWS), BATCH_SIZE)):
            torch.manual_seed(step)
            numbers = range(start, min(start + BATCH_SIZE, len(self.rows)))
            yield mean_loss(self.forward(module, self.batch(numbers)).loss)

    def forward(self, module: nn.Module, batch: Batch) -> ModelOutput:
        """Return what the model gives for a batch."""
        output = module(batch)
        if not isinstance(output, ModelOutput):
            raise Failed(f"the model must give a ModelOutput, but gives {type(output).__name__}")
        return output

    def scored(self, module: nn.Module, batch: Batch) -> ModelOutput:
        """Return what the model gives for a batch in evaluation."""
        with torch.inference_mode():
            return self.forward(module.eval(), batch)


def mean_loss(loss: Loss | None) -> Tensor:
    """Return the mean loss, which must be a finite number."""
    if loss is None:
        raise Failed("the model gives no loss for training rows")
    mean: Tensor = loss.total / loss.weight
    if mean.dim() or not mean.isfinite():
        raise Failed(f"the loss must be one finite number, but is {mean}")
    return mean


def answers(bench: TaskBench, module: nn.Module, batch: Batch) -> list[dict[str, Any]]:
    """Return the predictions for a batch, through JSON."""
    output = bench.scored(module, batch)
    with torch.inference_mode():
        answers = bench.task.predictions(output, batch)
    if len(answers) != len(batch):
        raise Failed(f"`predictions` gives {len(answers)} answers for {len(batch)} rows")
    copied: list[dict[str, Any]] = json.loads(json.dumps(answers))
    return copied


def measured(
    bench: TaskBench, module: nn.Module, batches: Iterator[Batch] | Sequence[Batch]
) -> dict[str, Any]:
    """Return the metrics of batches, through JSON."""
    found: dict[str, Any] = json.loads(json.dumps(gathered(bench, module, batches).compute()))
    return found


def gathered(bench: TaskBench, module: nn.Module, batches: Iterator[Batch] | Sequence[Batch]) -> Metrics[Any]:
    """Return the task's metrics after these batches."""
    metrics = bench.task.metrics()
    for batch in batches:
        with torch.inference_mode():
            metrics.update(bench.scored(module, batch), batch)
    return metrics


def input_names(task: Task[Any]) -> list[str]:
    """Return the names of a task's input columns."""
    return [column.name for column in task.config.input_columns]
