"""mtl from Python: train, plan, load. The commands are these functions with a terminal around."""

from __future__ import annotations

import json
import resource
import signal
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import polars as pl
import torch
from attrs import frozen

from mtl.components import DataSource, Table, Task
from mtl.config.dumping import dump
from mtl.config.load import LoadedConfig, load_config
from mtl.data.batching import evaluation_batches
from mtl.data.columns import Rows
from mtl.data.load import Tasks, encode_rows, make_tasks
from mtl.errors import MtlError, UsageError
from mtl.files import write_json
from mtl.model import MultitaskModel, build_model, load_tensors, save_tensors
from mtl.plugins import Plugins, discover
from mtl.prepare import Prepared, choose_device, make_training, prepare, torch_settings, versions
from mtl.run import WEIGHTS, RunFolder
from mtl.summary import describe
from mtl.training.checkpoint import DamagedCheckpoint, load_checkpoint
from mtl.training.evaluation import evaluate
from mtl.training.loop import PRECISIONS, Training
from mtl.training.observer import RunObserver, Watchers, logger

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


def plan(source: Source, *, base_dir: Path | None = None, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Everything but the training, as JSON: what `mtl plan --json` prints."""
    plugins = discover()
    return describe(prepare(_load(source, plugins, overrides, base_dir), plugins))


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
    watchers: Sequence[object] = (),
    plugins: Plugins | None = None,
) -> Result:
    """Train a config (a path, JSON text that begins with "{", or a mapping) into the folder `output`.

    `device` and `seed` override the config's. `resume` goes on from the folder's newest
    checkpoint. Watchers are objects with run-time hooks (`mtl.hookimpl`).

    Raises `ConfigError`, `DataError` or `PluginError` before anything is written, `MtlError` where
    the run fails, `Interrupted` where a signal ended it.
    """
    named = {"device": device, "seed": seed}
    overrides = [
        *overrides,
        *(f"{key}={json.dumps(value)}" for key, value in named.items() if value is not None),
    ]
    plugins = plugins or discover()
    loaded = _load(source, plugins, overrides, base_dir)
    folder = RunFolder(Path(output).absolute())
    if resume:
        done = _resumed_result(folder, loaded, plugins)
        if done is not None:
            return done
    else:
        folder.refuse_used()
    with torch_settings(loaded.config):
        return _run(prepare(loaded, plugins), folder, resume=resume, watchers=watchers)


def _run(prepared: Prepared, folder: RunFolder, *, resume: bool, watchers: Sequence[object]) -> Result:
    config = dump(prepared.config)
    training = make_training(prepared)
    if resume:
        _restore(training, folder)
    else:
        folder.create(config)
    observer = RunObserver(
        folder=folder,
        watchers=Watchers(_watchers(prepared, folder, watchers)),
        config=prepared.config.trainer,
        metric=prepared.selection.name,
        keep_best=lambda: folder.save_model(prepared.model, _model_files(prepared, config)),
    )
    observer.watchers.call("mtl_run_started", folder=str(folder.path), config=config, plan=describe(prepared))
    with observer.stopping_on([signal.SIGINT, signal.SIGTERM]):
        training.train(observer)
        if observer.signal_number is not None:
            raise Interrupted(
                f"stopped after step {training.state.step}, its state is saved;"
                f" go on with the same command and --resume --output {folder.path}",
                observer.signal_number,
            )
        return _finish(prepared, training, observer)


def _watchers(prepared: Prepared, folder: RunFolder, watchers: Sequence[object]) -> dict[str, object]:
    named: dict[str, object] = dict(prepared.plugins.manager.list_name_plugin())
    for component in prepared.config.loggers:
        named[component.path] = component.spec.load_factory()(component.config, folder=folder.path)
    return named | {f"watcher {index}": watcher for index, watcher in enumerate(watchers)}


def _model_files(prepared: Prepared, config: Mapping[str, Any]) -> dict[str, Any]:
    return {"config": config, **prepared.tasks.state(), "versions": versions(prepared.plugins)}


def _resumed_result(folder: RunFolder, loaded: LoadedConfig, plugins: Plugins) -> Result | None:
    """The result of a run that is complete already; otherwise what stands in the way of going on."""
    before = dump(load_config(folder.read_config(), plugins=plugins, check_paths=False).config)
    now = dump(loaded.config)
    free = {"trainer.epochs", "trainer.max_steps", "trainer.keep_checkpoints", "trainer.report_every_steps"}
    changed = [line for path, line in _differences(before, now) if path not in free]
    if changed:
        raise UsageError(
            f"{folder.path}: the config is not the one that this run began with:\n" + "\n".join(changed)
        )
    if folder.result.exists() and before == now:
        logger.warning("%s: this run is complete already; its figures are in result.json", folder.path)
        return Result(folder.path, folder.read_json(folder.result))
    return None


def _differences(before: Any, now: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(before, dict) and isinstance(now, dict):
        for key in [*before, *(key for key in now if key not in before)]:
            yield from _differences(before.get(key), now.get(key), f"{path}.{key}" if path else key)
    elif before != now:
        yield path, f"  {path}: {json.dumps(before)} before, {json.dumps(now)} now"


def _restore(training: Training, folder: RunFolder) -> None:
    """Go on from the newest checkpoint that is whole, or from the start where there is none."""
    for path in folder.saved_checkpoints():
        try:
            tensors, state = load_checkpoint(path)
        except DamagedCheckpoint as error:
            logger.warning("%s; the one before is used", error)
            continue
        training.restore(tensors, state, path)
        folder.truncate_metrics(state["metrics_size"])
        return
    folder.truncate_metrics(0)


def _finish(prepared: Prepared, training: Training, observer: RunObserver) -> Result:
    """Score the test data with the best model, and write the result."""
    folder, state = observer.folder, training.state
    if state.best is not None:
        load_tensors(prepared.model, folder.model / WEIGHTS)
    test = training.evaluate("test")
    for task, figures in test.items():
        observer.record({"kind": "test", "step": state.step, "task": task, **figures})
    for built in prepared.model.built:
        if built.config.save_path is not None:
            built.config.save_path.parent.mkdir(parents=True, exist_ok=True)
            save_tensors(built.module, built.config.save_path)
    result = _result(prepared, training, test)
    write_json(folder.result, result)
    observer.watchers.call("mtl_run_ended", result=result)
    return Result(folder.path, result)


def _result(prepared: Prepared, training: Training, test: Mapping[str, Any]) -> dict[str, Any]:
    state = training.state
    seconds, best = state.seconds, state.best
    tasks = {}
    for name, progress in state.tasks.items():
        total = len(prepared.data[name].train)
        tasks[name] = {
            "eval": best.figures.get(name) if best else None,
            "test": test.get(name),
            "steps": progress.steps,
            "rows_seen": progress.distinct_rows(total),
            "rows_total": total,
            "rows_trained": progress.rows,
            "examples_per_second": progress.rows / progress.seconds if progress.seconds else None,
            "tokens_per_second": progress.tokens / progress.seconds if progress.seconds else None,
        }
    return {
        "status": "completed",
        "stopped_early": state.stopped_early,
        "steps": state.step,
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
        component = task.config.data
        source: DataSource[Any] = component.spec.load_factory()(component.config)
        table = source.read(path, task.columns)
        rows = encode_rows(task, table, task.prepare(table))
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
        columns: dict[str, list[str]] = {name: [] for name in task.input_columns}
        for line, row in enumerate(chunk, start=first_line):
            for name, values in columns.items():
                if not isinstance(row.get(name), str):
                    raise UsageError(f"row {line}: {name!r} must be a text, but is {row.get(name)!r}")
                values.append(row[name])
        frame = pl.DataFrame(
            {**columns, "line": range(first_line, first_line + len(chunk))},
            schema={**dict.fromkeys(columns, pl.String), "line": pl.Int64},
        )
        table = Table(frame, path="input")
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
    parts = {
        name: folder.read_json(folder.model / f"{name}.json") for name in ("config", "tasks", "featurizers")
    }
    loaded = load_config(parts["config"], plugins=plugins or discover(), check_paths=False)
    tasks = make_tasks(loaded.config)
    tasks.load_state(parts)
    model = build_model(tasks, loaded.config.seed, load_paths=False)
    load_tensors(model, folder.model / WEIGHTS)
    chosen = choose_device(device)
    return LoadedRun(loaded.config, tasks, model.to(chosen).eval(), chosen)
