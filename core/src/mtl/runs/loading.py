"""`load`: the best model of a run, ready to be evaluated and to predict."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import polars as pl
import torch
from attrs import field, frozen

from mtl.components import Task
from mtl.config.load import load_config, only
from mtl.data.load import Tasks, make_tasks, skipped_rows
from mtl.errors import UsageError
from mtl.model import MultitaskModel, load_model
from mtl.plugins import Plugins, discover
from mtl.provenance import plugins_of_run, provenance
from mtl.runs.arguments import DEVICES, as_path, require, require_choice, shown
from mtl.runs.folder import FILES, WEIGHTS, RunFolder
from mtl.runs.given import given_rows
from mtl.runs.lines import LINE_FORMATS, LineFormat, line_rows
from mtl.runs.observer import logger
from mtl.runs.predicting import (
    ON_BAD_ROW,
    OnBadRow,
    file_rows,
    is_arrow_table,
    is_pandas_table,
    predict_input,
    python_rows,
)
from mtl.runs.preparation import choose_device, torch_settings
from mtl.runs.rows import predict_rows, read_rows, read_split
from mtl.runs.vectors import row_vectors, text_vectors
from mtl.suggest import argument, listed
from mtl.training.evaluation import PRECISIONS, evaluate


@frozen(eq=False)
class LoadedRun:
    """The best model of a run, ready to be evaluated and to predict.

    `recorded_rows` are the SHA-256 of the rows that the run read, by `TASK.SPLIT`.
    """

    config: Any
    tasks: Tasks
    model: MultitaskModel
    device: torch.device
    recorded_rows: Mapping[str, str] = field(factory=dict)

    @property
    def task_names(self) -> list[str]:
        """The names of the tasks."""
        return list(self.tasks.tasks)

    def _repr_html_(self) -> str:
        """Return the tasks as a table, for notebooks."""
        rows = "".join(
            f"<tr><td>{escape(name)}</td><td>{escape(component.name)}</td>"
            f"<td>{sum(p.numel() for p in self.model.tasks[name].parameters()):,}</td></tr>"
            for name, component in self.config.tasks.items()
            if name in self.tasks.tasks
        )
        head = "<tr><th>task</th><th>component</th><th>parameters</th></tr>"
        return f"<p>mtl run on {self.device}</p><table><thead>{head}</thead><tbody>{rows}</tbody></table>"

    def task(self, name: str) -> Task[Any]:
        """Return a task by name. Raises `UsageError` if the run has no such task."""
        if not isinstance(name, str) or name not in self.tasks.tasks:
            raise UsageError(f"no task is called {shown(name)}; this run has {', '.join(self.task_names)}")
        return self.tasks.tasks[name]

    def test(self, task: str | None = None, data: Any = None) -> dict[str, dict[str, Any]]:
        """Return the loss and metrics of each task on its test data, or of one task on `data`.

        That is a file, a polars, pandas or Arrow table, or a list of mappings.

        Raises `UsageError` if there is no test data, `DataError` if it cannot be read.
        """
        if data is not None and task is None:
            raise UsageError(f"`task` must be one of {', '.join(self.task_names)} if `data` is given")
        rows = None if data is None else given_rows(data, "`data`")
        given = Path(rows) if isinstance(rows, str) else rows
        metrics: dict[str, dict[str, Any]] = {}
        for name in self.task_names if task is None else [task]:
            if given is not None:
                metrics[name] = self._score(self.task(name), (given,))
            elif self.task(name).config.data.config.has("test"):
                metrics[name] = self._score(self.task(name), None)
        if not metrics:
            what = "no task has" if task is None else f"{task} has no"
            raise UsageError(f"{what} test data; name a file with {argument('data', 'FILE')}")
        return metrics

    def _score(self, task: Task[Any], paths: Sequence[Path] | None) -> dict[str, Any]:
        """Return the metrics on files, or on the test data."""
        known = set(task.notices())
        rows = read_split(self, task.name, "test") if paths is None else read_rows(self, task.name, paths)
        if rows.skipped:
            logger.warning("%s: %s", rows.path, skipped_rows(rows))
        for notice in task.notices():
            if notice not in known:
                logger.warning("%s: %s", task.name, notice)
        precision = PRECISIONS[self.config.trainer.precision]
        return evaluate(task, self.model.tasks[task.name], rows, device=self.device, precision=precision)

    def predict(self, task: str, rows: Any, *, on_bad_row: OnBadRow = "error") -> Any:
        """Return a prediction per row, in order.

        A row is a text, a mapping of the task's input columns, or a tuple of their values; `rows` is one
        row, a list of them, or a polars, pandas or Arrow table. The result is a list of JSON objects, a
        table for a table, and an iterator for an iterator. `on_bad_row` says what becomes of a row that
        cannot be predicted: "error" raises, "skip" leaves it out and counts it, "report" answers it with
        an object that has `error`.

        Raises `UsageError` for rows of any other form, `DataError` for a bad row.
        """
        chosen = self.task(task)
        require_choice("on_bad_row", on_bad_row, ON_BAD_ROW)
        answers = predict_input(self, chosen, python_rows(chosen, rows), "row {}".format, on_bad_row)
        if isinstance(rows, Iterator):
            return answers
        if is_arrow_table(rows):
            made = pl.DataFrame(list(answers), infer_schema_length=None)
            return made.to_arrow() if type(rows).__module__.partition(".")[0] == "pyarrow" else made
        if isinstance(rows, pl.DataFrame):
            return pl.DataFrame(list(answers), infer_schema_length=None)
        if is_pandas_table(rows) and hasattr(rows, "columns"):
            return type(rows)(list(answers), index=rows.index if on_bad_row != "skip" else None)
        return list(answers)

    def vectors(self, task: str, texts: Any, *, tokens: bool = False) -> Any:
        """Return the vectors of texts, or of lists of words, by the encoder of a task.

        These are document vectors, a float32 array `[texts, dim]`; with `tokens` an array for each text,
        `[words, dim]`, of the words (or pieces) that the task's features read. Each text is encoded by
        itself, also for a task that reads several.

        Raises `UsageError` if the task has no such encoder, `DataError` for a text without a word.
        """
        require("tokens", tokens, bool, "true or false")
        return text_vectors(self, self.task(task).name, texts, tokens=tokens)

    def predict_file(
        self, task: str, path: Path | str, *, on_bad_row: OnBadRow = "report", vectors: bool = False
    ) -> Iterator[dict[str, Any]]:
        """Yield a prediction per row of a file, in order, as the task's data source reads it.

        Labels are not needed. Each answer carries the row's other columns; one with the name of a part of
        the prediction is called `input_NAME`. `on_bad_row` is that of `predict`. With `vectors`, the answers
        are document vectors: `vector`, or `vectors` by text for a task that encodes several.

        Raises `DataError` if the file cannot be used.
        """
        chosen, file = self.task(task), as_path("path", path)
        require_choice("on_bad_row", on_bad_row, ON_BAD_ROW)
        rows, answer_rows = file_rows(chosen, file), row_vectors if vectors else predict_rows
        return predict_input(self, chosen, rows, f"{file}:{{}}".format, on_bad_row, answer_rows)

    def predict_lines(
        self,
        task: str,
        lines: Iterable[bytes],
        name: str = "lines",
        *,
        format: LineFormat = "auto",
        on_bad_row: OnBadRow = "report",
        vectors: bool = False,
    ) -> Iterator[dict[str, Any]]:
        """Yield a prediction per line, of a text or of a JSON object, whose other keys it carries.

        With the format "auto", lines are JSON objects if the first one is. A tab separates the texts of a
        task that reads several, and what follows them is not read. `name` is that of the lines in messages,
        `vectors` is that of `predict_file`.

        Raises `DataError` for lines that are not UTF-8, `UsageError` for lines that are not bytes.
        """
        chosen = self.task(task)
        require("name", name, str, "a string")
        given: object = lines
        if not isinstance(given, Iterable) or isinstance(given, str | bytes | bytearray):
            raise UsageError(f"`lines` must be lines of bytes, as of a binary file, but is {shown(lines)}")
        require_choice("format", format, LINE_FORMATS)
        require_choice("on_bad_row", on_bad_row, ON_BAD_ROW)
        rows = line_rows(chosen, lines, name, format)
        answer_rows = row_vectors if vectors else predict_rows
        return predict_input(self, chosen, rows, f"{name}:{{}}".format, on_bad_row, answer_rows)


def load(
    run: Path | str, *, task: str | None = None, device: str = "auto", plugins: Plugins | None = None
) -> LoadedRun:
    """Return the best model of the run in the folder `run`.

    With `task` only this task is loaded, and only its components need to be installed.

    Raises `UsageError` if the folder holds no model or no such task, `PluginError` if a plugin that the
    model needs is not installed.
    """
    require_choice("device", device, DEVICES)
    folder = RunFolder(as_path("run", run).absolute())
    parts = folder.read_model()
    config, part = parts["config"], None
    if task is not None:
        known = config.get("tasks")
        if not isinstance(task, str) or not isinstance(known, dict) or task not in known:
            raise UsageError(f"no task is called {shown(task)}; this run has {', '.join(known or ())}")
        part = [task]
    plugins = plugins_of_run(folder.path, plugins or discover(), needed=only(config, part) if part else None)
    loaded = load_config(config, plugins=plugins, check_paths=False, only_tasks=part)
    _warn_of_other_versions(folder, parts["versions"], provenance(loaded.config, plugins))
    tasks = make_tasks(loaded.config)
    tasks.load_files(folder.model / FILES)
    try:
        tasks.load_state(parts)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise UsageError(
            f"{folder.model}: what was learned from the data cannot be used: {type(error).__name__}: {error}"
        ) from error
    with torch_settings(loaded.config):
        model = load_model(
            tasks, loaded.config.seed, folder.model / WEIGHTS, parts["modules"], part=part is not None
        )
    chosen = choose_device(device)
    return LoadedRun(loaded.config, tasks, model.to(chosen).eval(), chosen, folder.recorded_rows())


def _warn_of_other_versions(
    folder: RunFolder, recorded: Mapping[str, Any], installed: Mapping[str, Any]
) -> None:
    """Say if the run was made by other versions of mtl, torch or the plugins that it needs."""
    changed = [
        f"{name} {made['version']} ({of['version']} is installed)"
        for name, of in installed.items()
        if isinstance(made := recorded.get(name), dict)
        and made.get("version", of["version"]) != of["version"]
    ]
    if changed:
        logger.warning("%s: made with %s; results may differ", folder.path, listed(changed, last="and"))
