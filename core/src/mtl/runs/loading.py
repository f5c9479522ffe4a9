"""`load`: the best model of a run, ready to be evaluated and to predict."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import polars as pl
import torch
from attrs import frozen

from mtl.components import Table, Task
from mtl.config.load import load_config
from mtl.data.load import Tasks, encode_rows, make_tasks, skipped_rows
from mtl.data.tables import table_schema
from mtl.errors import UsageError, component_errors
from mtl.model import MultitaskModel, load_model
from mtl.plugins import Plugins, discover
from mtl.provenance import plugins_of_run
from mtl.runs.folder import FILES, WEIGHTS, RunFolder
from mtl.runs.observer import logger
from mtl.runs.preparation import choose_device, torch_settings
from mtl.runs.rows import predict_rows, read_rows
from mtl.suggest import argument
from mtl.training.evaluation import PRECISIONS, evaluate

PREDICTION_ROWS = 1024
"""Rows that `predict` reads before it answers them."""


@frozen(eq=False)
class LoadedRun:
    """The best model of a run, ready to score and to predict."""

    config: Any
    tasks: Tasks
    model: MultitaskModel
    device: torch.device

    @property
    def task_names(self) -> list[str]:
        """The tasks of the run."""
        return list(self.tasks.tasks)

    def task(self, name: str) -> Task[Any]:
        """A task by name. Raises `UsageError` where there is none."""
        if name not in self.tasks.tasks:
            raise UsageError(f"no task is called {name!r}; this run has {', '.join(self.task_names)}")
        return self.tasks.tasks[name]

    def test(self, task: str | None = None, data: Path | None = None) -> dict[str, dict[str, Any]]:
        """Loss and metrics of each task's test data, or of the file `data` for one task.

        Raises `UsageError` for a task that has no test data, where it is named.
        """
        if data is not None and task is None:
            raise UsageError(f"say which task {data} is for: one of {', '.join(self.task_names)}")
        figures: dict[str, dict[str, Any]] = {}
        for name in [task] if task else self.task_names:
            paths = (data,) if data else self.task(name).config.data.config.paths("test")
            if paths:
                figures[name] = self._score(self.task(name), paths)
        if not figures:
            what = f"{task} has no" if task else "no task has"
            raise UsageError(f"{what} test data; name a file with {argument('data', 'FILE')}")
        return figures

    def _score(self, task: Task[Any], paths: Sequence[Path]) -> dict[str, Any]:
        rows = read_rows(self, task.name, paths)
        if rows.skipped:
            logger.warning("%s: %s", rows.path, skipped_rows(rows))
        precision = PRECISIONS[self.config.trainer.precision]
        return evaluate(task, self.model.tasks[task.name], rows, device=self.device, precision=precision)

    def predict(self, task: str, rows: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
        """One JSON object for each row, in order; a row names the task's input columns.

        Raises `UsageError` for a row that lacks one.
        """
        chosen = self.task(task)
        iterator = iter(rows)
        first_line = 1
        while chunk := list(islice(iterator, PREDICTION_ROWS)):
            yield from self._predict(chosen, chunk, first_line)
            first_line += len(chunk)

    def _predict(
        self, task: Task[Any], chunk: Sequence[Mapping[str, Any]], first_line: int
    ) -> list[dict[str, Any]]:
        inputs = task.config.input_columns
        for line, row in enumerate(chunk, start=first_line):
            for column in inputs:
                value = row.get(column.name)
                if not (column.type.holds(value) or (value is None and column.may_be_empty)):
                    raise UsageError(
                        f"row {line}: {column.name!r} must be {column.type.value}, but is {value!r}"
                    )
        frame = pl.DataFrame(
            {
                "line": range(first_line, first_line + len(chunk)),
                **{column.name: [row.get(column.name) for row in chunk] for column in inputs},
            },
            schema=table_schema(inputs),
        )
        table = Table(frame, path="input")
        with component_errors(task, "to predict"):
            return predict_rows(self, task.name, encode_rows(task, table, task.prepare_input(table)))


def load(run: Path | str, *, device: str = "auto", plugins: Plugins | None = None) -> LoadedRun:
    """The best model of the run in the folder `run`.

    Raises `UsageError` where the folder holds no model, `PluginError` where a plugin that the model
    needs is not installed.
    """
    folder = RunFolder(Path(run).absolute())
    plugins = plugins_of_run(folder.path, plugins or discover())
    parts = folder.read_model()
    loaded = load_config(parts["config"], plugins=plugins, check_paths=False)
    tasks = make_tasks(loaded.config)
    tasks.load_files(folder.model / FILES)
    try:
        tasks.load_state(parts)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise UsageError(
            f"{folder.model}: what was learnt from the data cannot be used: {type(error).__name__}: {error}"
        ) from error
    with torch_settings(loaded.config):
        model = load_model(tasks, loaded.config.seed, folder.model / WEIGHTS, parts["modules"])
    chosen = choose_device(device)
    return LoadedRun(loaded.config, tasks, model.to(chosen).eval(), chosen)
