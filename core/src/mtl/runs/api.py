"""mtl from Python: train, plan, load. The commands are these functions with a terminal around."""

from __future__ import annotations

import json
import resource
import signal
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Any

import polars as pl
import torch
from attrs import frozen

from mtl.components import Table, Task
from mtl.components.instantiate import instantiate
from mtl.config.load import LoadedConfig, load_config
from mtl.data.batching import evaluation_batches
from mtl.data.columns import Rows
from mtl.data.load import Tasks, encode_rows, load_rows, make_tasks, skipped_rows
from mtl.data.tables import table_schema
from mtl.errors import MtlError, UsageError, component_errors
from mtl.files import BackgroundWriter, read_json, write_json
from mtl.model import MultitaskModel, load_model
from mtl.plugins import Plugins, discover
from mtl.provenance import plugins_of_run
from mtl.runs.folder import WEIGHTS, RunFolder
from mtl.runs.measure import measure
from mtl.runs.observer import Callbacks, RunObserver, logger
from mtl.runs.prepare import Prepared, choose_device, make_training, prepare, torch_settings
from mtl.runs.resume import check_config, identity, restore
from mtl.runs.summary import describe
from mtl.training.evaluation import evaluate
from mtl.training.loop import Training
from mtl.training.selection import tasks_in_phases
from mtl.training.step import PRECISIONS
from mtl.weights import load_module, save_module

Source = str | Path | Mapping[str, Any]
PREDICTION_ROWS = 1024
"""Rows that `predict` reads before it answers them."""


@frozen
class Result:
    """A run that has ended: its folder, and what stands in its result.json."""

    folder: Path
    data: Mapping[str, Any]


class Interrupted(MtlError):
    """A signal ended the run; its state is saved. The exit status is 128 and the signal."""

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.exit_status = 128 + signal_number  # type: ignore[misc]


def plan(
    source: Source,
    *,
    base_dir: Path | None = None,
    overrides: Sequence[str] = (),
    measured: bool = False,
    plugins: Plugins | None = None,
) -> dict[str, Any]:
    """Everything but the training, as JSON: what `mtl plan --json` prints; `measured` adds what time and
    memory the run will take, as some of its steps say.

    Raises what `train` raises before its first step.
    """
    plugins = plugins or discover()
    loaded = _load(source, plugins, overrides, base_dir)
    with torch_settings(loaded.config):
        prepared = prepare(loaded, plugins)
        planned = describe(prepared)
        training = make_training(prepared)
        return {**planned, "measured": measure(training)} if measured else planned


def _load(source: Source, plugins: Plugins, overrides: Sequence[str], base_dir: Path | None) -> LoadedConfig:
    if isinstance(source, str) and not source.lstrip("\ufeff \t\r\n").startswith("{"):
        source = Path(source)
    return load_config(source, plugins=plugins, overrides=overrides, base_dir=base_dir)


def train(
    source: Source,
    *,
    output: Path | str,
    base_dir: Path | None = None,
    overrides: Sequence[str] = (),
    device: str | None = None,
    seed: int | None = None,
    resume: bool = False,
    allow_changes: bool = False,
    callbacks: Sequence[object] = (),
    plugins: Plugins | None = None,
) -> Result:
    """Train a config (a path, JSON text that begins with "{", or a mapping) into the folder `output`.

    `device` and `seed` override the config's. `resume` goes on from the folder's newest checkpoint,
    or from the start where the folder is new or empty; where config, data or vocabularies are not what
    they were it refuses to, unless `allow_changes` is set. Callbacks are objects with run-time hooks
    (`mtl.hookimpl`).

    Raises `ConfigError`, `DataError` or `PluginError` before anything is written, `MtlError` where
    the run fails, `Interrupted` where a signal ended it.
    """
    named = {"device": device, "seed": seed}
    overrides = [
        *overrides,
        *(f"{key}={json.dumps(value)}" for key, value in named.items() if value is not None),
    ]
    plugins = plugins or discover()
    folder = RunFolder(Path(output).absolute())
    with ExitStack() as held:
        begun = resume and folder.path.is_dir()
        if begun:
            held.enter_context(folder.locked())
            folder.sweep()
            plugins = plugins_of_run(folder.path, plugins)
        loaded = _load(source, plugins, overrides, base_dir)
        if resume and folder.is_unused:
            logger.warning("%s: there is no run to go on with; it starts from the beginning", folder.path)
            resume = False
        if resume:
            same = check_config(folder, loaded, plugins, allow_changes=allow_changes)
            if folder.result.exists() and same:
                logger.warning("%s: this run is complete; its figures are in result.json", folder.path)
                return Result(folder.path, read_json(folder.result))
        else:
            folder.refuse_used()
        held.enter_context(torch_settings(loaded.config))
        prepared = prepare(loaded, plugins)
        # Before the first phase freezes what moves in the others.
        planned = describe(prepared)
        training = make_training(prepared)
        now = identity(prepared)
        if not begun:
            held.enter_context(folder.locked())
            folder.refuse_used()
        if resume:
            restore(training, folder, now, allow_changes=allow_changes)
        folder.create(now["config"])
        return _run(prepared, planned, training, folder, now, callbacks)


def _run(
    prepared: Prepared,
    planned: Mapping[str, Any],
    training: Training,
    folder: RunFolder,
    now: Mapping[str, Any],
    callbacks: Sequence[object],
) -> Result:
    with BackgroundWriter() as writer:
        observer = RunObserver(
            folder=folder,
            callbacks=Callbacks(_watchers(prepared, folder, callbacks)),
            config=prepared.config.trainer,
            model=prepared.model,
            model_files={"config": now["config"], **prepared.tasks.state(), "versions": now["versions"]},
            identity=now,
            writer=writer,
        )
        observer.callbacks.call(
            "mtl_run_started", folder=str(folder.path), config=now["config"], plan=planned
        )
        with observer.stopping_on([signal.SIGINT, signal.SIGTERM]):
            try:
                training.train(observer)
                writer.settle(wait=True)
                _stop_where_asked(training, observer)
                return _finish(prepared, training, observer)
            except OSError as error:
                reason = error.strerror or error
                raise MtlError(
                    f"{error.filename or folder.path}: cannot be written: {reason}; the run ends at step"
                    f" {training.state.step}; {folder.last_state}"
                ) from error


def _stop_where_asked(training: Training, observer: RunObserver) -> None:
    """Raises `Interrupted` where a signal came; the newest checkpoint holds all steps."""
    if observer.signal_number is not None:
        raise Interrupted(
            f"stopped after step {training.state.step}, its state is saved;"
            f" go on with the same command and --resume --output {observer.folder.path}",
            observer.signal_number,
        )


def _watchers(prepared: Prepared, folder: RunFolder, callbacks: Sequence[object]) -> dict[str, object]:
    named: dict[str, object] = dict(prepared.plugins.manager.list_name_plugin())
    for component in prepared.config.loggers:
        try:
            named[component.path] = instantiate(component, folder=folder.path)
        except Exception as error:
            what = f"{type(error).__name__}: {error}"
            logger.warning("%s: %s cannot be made: %s", component.path, component.name, what)
    return named | {f"callback {index}": callback for index, callback in enumerate(callbacks)}


def _finish(prepared: Prepared, training: Training, observer: RunObserver) -> Result:
    """Score the test data with the best model, and the evaluation data of those tasks that were not scored
    when it was chosen; write the result."""
    folder, state = observer.folder, training.state
    tasks, scored = tasks_in_phases(prepared.config), state.best.figures if state.best else {}
    if state.best is not None:
        load_module(prepared.model, folder.model / WEIGHTS)
    evaluated = {**scored, **training.evaluate("eval", [task for task in tasks if task not in scored])}
    test = training.evaluate("test", tasks)
    _stop_where_asked(training, observer)
    for task, figures in test.items():
        observer.record({"kind": "test", "step": state.step, "task": task, **figures})
    for built in prepared.model.built:
        if built.config.save_path is not None:
            save_module(built.module, built.config.save_path)
    result = _result(prepared, training, evaluated, test)
    write_json(folder.result, result)
    observer.callbacks.call("mtl_run_ended", result=result)
    return Result(folder.path, result)


def _result(
    prepared: Prepared, training: Training, evaluated: Mapping[str, Any], test: Mapping[str, Any]
) -> dict[str, Any]:
    state = training.state
    seconds, best = state.seconds, state.best
    tasks = {}
    for name, progress in state.tasks.items():
        total = len(prepared.data[name].train)
        tasks[name] = {
            "eval": evaluated.get(name),
            "test": test.get(name),
            "steps": progress.steps,
            "rows_seen": progress.distinct_rows(total),
            "rows_total": total,
            "rows_trained": progress.rows,
            "rows_skipped": prepared.data[name].skipped,
            "skipped_steps": progress.skipped,
            "stopped_at": progress.stopped_at,
            "examples_per_second": progress.rows / progress.seconds if progress.seconds else None,
            "tokens_per_second": progress.tokens / progress.seconds if progress.seconds else None,
        }
    return {
        "status": "completed",
        "stopped_early": state.stopped_early,
        "steps": state.step,
        "device": str(prepared.device),
        "best": best
        and {"step": best.step, "epoch": best.epoch, "metric": prepared.selection.name, "value": best.value},
        "tasks": tasks,
        "seconds": {**seconds, "train": sum(progress.seconds for progress in state.tasks.values())},
        "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


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
            path = data or self.task(name).config.data.config.path("test")
            if path is not None:
                figures[name] = self._score(self.task(name), path)
        if not figures:
            raise UsageError(
                f"{task or 'no task'} has {'no ' if task else ''}test data; give a file with --data"
            )
        return figures

    def _score(self, task: Task[Any], path: Path) -> dict[str, Any]:
        rows = load_rows(task, path)
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
            return self._answer(task, encode_rows(task, table, task.prepare_input(table)))

    def _answer(self, task: Task[Any], rows: Rows) -> list[dict[str, Any]]:
        answers: list[dict[str, Any]] = [{}] * len(rows)
        model = self.model.tasks[task.name]
        batch_size = task.config.eval_batch_size or task.config.batch_size
        with torch.inference_mode():
            for numbers in evaluation_batches(rows.lengths, batch_size):
                batch = rows.batch(numbers).to(self.device)
                for number, answer in zip(numbers, task.predictions(model(batch), batch), strict=True):
                    answers[number] = answer
        return answers


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
    try:
        tasks.load_state(parts)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise UsageError(
            f"{folder.model}: what was learnt from the data cannot be used: {type(error).__name__}: {error}"
        ) from error
    with torch_settings(loaded.config):
        model = load_model(tasks, loaded.config.seed, folder.model / WEIGHTS)
    chosen = choose_device(device)
    return LoadedRun(loaded.config, tasks, model.to(chosen).eval(), chosen)
