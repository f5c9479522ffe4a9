"""`train`: from a config to a run folder with a result."""

from __future__ import annotations

import json
import resource
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from attrs import frozen

from mtl.components.instantiate import instantiate
from mtl.config.load import LoadedConfig
from mtl.errors import Interrupted, MtlError, UsageError
from mtl.files import BackgroundWriter, read_json, write_json
from mtl.plugins import Plugins, discover
from mtl.provenance import plugins_of_run
from mtl.runs.arguments import DEVICES, as_path, require, require_choice, require_overrides
from mtl.runs.environment import environment
from mtl.runs.folder import WEIGHTS, RunFolder
from mtl.runs.given import GivenData
from mtl.runs.loading import load
from mtl.runs.observer import Callbacks, RunObserver, logger
from mtl.runs.planning import describe
from mtl.runs.preparation import Prepared, Source, load_source, make_trainer, prepare, torch_settings
from mtl.runs.processes import AgreeingObserver, Follower, joined
from mtl.runs.result import Result
from mtl.runs.resume import (
    check_config,
    identity,
    module_states,
    newest_checkpoint,
    restore,
    with_threads,
)
from mtl.runs.start import ORIGIN, starting_run
from mtl.suggest import argument
from mtl.training.evaluation import EvaluationInterrupted
from mtl.training.observer import Observer
from mtl.training.processes import Processes
from mtl.training.selection import tasks_in_phases
from mtl.training.state import COUNTED, rates
from mtl.training.trainer import Trainer
from mtl.weights import load_module, save_module


def train(
    source: Source,
    *,
    output: Path | str,
    data: GivenData | None = None,
    base_dir: Path | None = None,
    overrides: Sequence[str] = (),
    device: str | None = None,
    seed: int | None = None,
    from_run: Path | str | None = None,
    resume: bool = False,
    allow_changes: bool = False,
    fast: bool = False,
    callbacks: Sequence[object] = (),
    plugins: Plugins | None = None,
) -> Result:
    """Train a config into the folder `output`.

    The config is a path, JSON text, a mapping, or what `load_config` returned. `device` and `seed`
    override the config's. `data` are rows in place of files, by task and split, as in `{"SST2": {"train":
    table, "eval": table}}`: polars, pandas or Arrow tables or lists of mappings. `from_run` is the folder
    of a run whose vocabularies, labels and weights this one starts from: those of modules of the same
    `shared_module_key` and of tasks of the same name. `resume` continues from the folder's newest
    checkpoint, or starts the run if the folder is new or empty. If config, data or vocabularies have
    changed since, it raises unless `allow_changes` is set. A `fast` run takes a few steps of everything
    (training, evaluation, checkpoint, test, loading) over the longest rows and writes to no `save_path`:
    it finds in seconds what would fail in hours; its result says `"fast": true`. `callbacks` are objects
    with run-time hooks (`mtl.hookimpl`).

    Raises `ConfigError`, `DataError` or `PluginError` before anything is written, `MtlError` if the
    run fails, and `Interrupted` if a signal ended it.
    """
    _check_arguments(output, overrides, seed, device, callbacks, plugins)
    source_run = None if from_run is None else as_path("from_run", from_run)
    if fast and resume:
        raise UsageError(f"{argument('fast')} and {argument('resume')} exclude each other")
    named = {"device": device, "seed": seed}
    overrides = [
        *overrides,
        *(f"{key}={json.dumps(value)}" for key, value in named.items() if value is not None),
    ]
    plugins = plugins or discover()
    given = _Given(source, Path(as_path("output", output)).absolute(), base_dir, overrides, source_run, data)
    with joined() as processes:
        if not processes.leads:
            return _follow(given, plugins, processes, fast=fast)
        return _lead(
            given,
            plugins,
            processes,
            resume=resume,
            allow_changes=allow_changes,
            fast=fast,
            callbacks=callbacks,
        )


@frozen
class _Given:
    """What to train, and where: the arguments that all processes have in common."""

    source: Source
    output: Path
    base_dir: Path | None
    overrides: Sequence[str]
    from_run: Path | None
    data: GivenData | None

    def load(self, plugins: Plugins, resumed: Path | None) -> LoadedConfig:
        """Return the checked config."""
        return load_source(self.source, plugins, self.overrides, self.base_dir, resumed, self.data)


def _lead(
    given: _Given,
    plugins: Plugins,
    processes: Processes,
    *,
    resume: bool,
    allow_changes: bool,
    fast: bool,
    callbacks: Sequence[object],
) -> Result:
    """Train in the process that writes the run folder."""
    folder = RunFolder(given.output)
    with ExitStack() as held:
        begun = resume and folder.path.is_dir()
        if begun:
            held.enter_context(folder.locked())
            folder.sweep()
            plugins = plugins_of_run(folder.path, plugins)
        loaded = given.load(plugins, folder.path if begun else None)
        if resume and folder.is_unused:
            logger.warning("%s: there is no run to resume here; starting from the beginning", folder.path)
            resume = False
        files, checkpoint = None, None
        if resume:
            loaded = with_threads(loaded, folder)
            changes = check_config(folder, loaded, plugins, allow_changes=allow_changes)
            files = None if any(path.startswith("tasks.") for path in changes) else folder.saved_files()
            if folder.result.exists() and not changes:
                logger.warning("%s: this run is complete; its metrics are in result.json", folder.path)
                processes.tell({"complete": str(folder.path)})
                return Result(folder.path, read_json(folder.result))
        else:
            folder.refuse_used()
        start = starting_run(folder, given.from_run, plugins, resume=resume)
        held.enter_context(torch_settings(loaded.config))
        if resume:
            checkpoint = newest_checkpoint(folder)
            if not folder.saved_checkpoints() and folder.result.exists():
                raise UsageError(
                    f"{folder.path}: this run is complete and its checkpoints were removed, so that it cannot"
                    " become longer; choose another output folder"
                )
        prepared = prepare(loaded, plugins, files, module_states(checkpoint), fast=fast, start=start)
        # Before the first phase freezes parameters that others train.
        planned = describe(prepared)
        trainer = make_trainer(prepared, processes)
        now = identity(prepared)
        if not begun:
            held.enter_context(folder.locked())
            folder.refuse_used()
        if resume:
            restore(trainer, folder, checkpoint, now, allow_changes=allow_changes)
        folder.create(now["config"], {} if fast else now["rows"])
        if files is None:
            folder.save_files(prepared.tasks.save_files)
        if start is not None and prepared.started is not None and not folder.start.is_dir():
            start.keep(folder, prepared.started)
        # The data are prepared, and cached, when the others begin to read them.
        processes.tell({"folder": str(folder.path), "resume": resume, "saved_files": files is not None})
        made_with = environment(prepared, now["versions"])
        result = _run(prepared, planned, trainer, folder, now, callbacks, made_with)
        if fast:
            load(folder.path, device=loaded.config.device, plugins=plugins)
        return result


def _check_arguments(
    output: object, overrides: object, seed: object, device: object, callbacks: object, plugins: object
) -> None:
    """Raise `UsageError` for an argument of `train` of the wrong type."""
    as_path("output", output)
    require_overrides(overrides)
    if seed is not None:
        require("seed", seed, int, "an integer")
    if device is not None:
        require_choice("device", device, DEVICES)
    require("callbacks", callbacks, list | tuple, "a list of objects with run-time hooks")
    if plugins is not None:
        require("plugins", plugins, Plugins, "what `discover` returns")


def _run(
    prepared: Prepared,
    planned: Mapping[str, Any],
    trainer: Trainer,
    folder: RunFolder,
    now: Mapping[str, Any],
    callbacks: Sequence[object],
    made_with: Mapping[str, Any],
) -> Result:
    with BackgroundWriter() as writer:
        observer = RunObserver(
            folder=folder,
            callbacks=Callbacks(_callbacks(prepared, folder, callbacks)),
            config=prepared.config.trainer,
            model=prepared.model,
            model_files={"config": now["config"], **prepared.tasks.state(), "versions": now["versions"]},
            identity=now,
            writer=writer,
        )
        with _told_of_failure(observer.callbacks, trainer):
            observer.callbacks.call(
                "mtl_run_started",
                folder=str(folder.path),
                config=now["config"],
                plan=planned,
                resumed_step=trainer.state.step,
            )
            with observer.stopping_on([signal.SIGINT, signal.SIGTERM]):
                try:
                    agreed = _agreeing(observer, trainer)
                    trainer.train(agreed)
                    writer.settle(wait=True)
                    if agreed.stop_requested():
                        _raise_if_interrupted(trainer, observer)
                    return _finish(prepared, trainer, observer, agreed, made_with)
                except OSError as error:
                    reason = error.strerror or error
                    raise MtlError(
                        f"{error.filename or folder.path}: cannot be written: {reason}; the run ended at step"
                        f" {trainer.state.step}; {folder.last_state}"
                    ) from error


def _follow(given: _Given, plugins: Plugins, processes: Processes, *, fast: bool) -> Result:
    """Train on a share of each batch, beside the process that writes the run folder."""
    told = processes.tell(None)
    if "complete" in told:
        folder = RunFolder(Path(told["complete"]))
        return Result(folder.path, read_json(folder.result))
    folder, resume = RunFolder(Path(told["folder"])), told["resume"]
    with _muted():
        if resume:
            plugins = plugins_of_run(folder.path, plugins)
        loaded = given.load(plugins, folder.path if resume else None)
        if resume:
            loaded = with_threads(loaded, folder)
        with torch_settings(loaded.config):
            checkpoint = newest_checkpoint(folder) if resume else None
            files = folder.saved_files() if told["saved_files"] else None
            start = starting_run(folder, given.from_run, plugins, resume=resume)
            prepared = prepare(loaded, plugins, files, module_states(checkpoint), fast=fast, start=start)
            trainer = make_trainer(prepared, processes)
            if checkpoint is not None:
                trainer.restore(checkpoint.tensors(), checkpoint.state, checkpoint.path)
            receiver = Follower()
            with receiver.stopping_on([signal.SIGINT, signal.SIGTERM]):
                agreed = _agreeing(receiver, trainer)
                trainer.train(agreed)
                if agreed.stop_requested():
                    raise Interrupted(
                        f"stopped after step {trainer.state.step}", receiver.signal_number or signal.SIGINT
                    )
                evaluated, test = _final_metrics(prepared, trainer, agreed)
    return Result(folder.path, {"status": "followed", "tasks": {"eval": evaluated, "test": test}})


@contextmanager
def _muted() -> Iterator[None]:
    """Leave notices to the leading process."""
    was_disabled, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = was_disabled


@contextmanager
def _told_of_failure(callbacks: Callbacks, trainer: Trainer) -> Iterator[None]:
    """Tell the callbacks if the run fails or is interrupted inside."""
    try:
        yield
    except KeyboardInterrupt as error:
        number = getattr(error, "exit_status", 128 + signal.SIGINT) - 128
        callbacks.call("mtl_run_interrupted", signal=number, step=trainer.state.step)
        raise
    except Exception as error:
        callbacks.call("mtl_run_failed", error=error, step=trainer.state.step)
        raise


def _raise_if_interrupted(trainer: Trainer, observer: RunObserver) -> None:
    """Raise `Interrupted` if a signal came; the newest checkpoint holds all steps."""
    if observer.signal_number is not None:
        raise Interrupted(
            f"stopped after step {trainer.state.step}; its state is saved."
            f" To continue, {observer.folder.how_to_resume}",
            observer.signal_number,
        )


def _callbacks(prepared: Prepared, folder: RunFolder, callbacks: Sequence[object]) -> dict[str, object]:
    named: dict[str, object] = dict(prepared.plugins.manager.list_name_plugin())
    for component in prepared.config.loggers:
        try:
            named[component.path] = instantiate(component, folder=folder.path)
        except Exception as error:
            what = f"{type(error).__name__}: {error}"
            logger.warning("%s: %s cannot be created: %s", component.path, component.name, what)
    return named | {f"callback {index}": callback for index, callback in enumerate(callbacks)}


def _agreeing(observer: RunObserver | Follower, trainer: Trainer) -> Observer:
    """Return an observer that stops all processes of the run after the same step."""
    return AgreeingObserver(observer, trainer.processes) if trainer.processes.count > 1 else observer


def _final_metrics(
    prepared: Prepared, trainer: Trainer, observer: Observer
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the best model's metrics on the evaluation data, of which those are known that selected it, and
    on the test data."""
    tasks, best = tasks_in_phases(prepared.config), trainer.state.best
    trainer.processes.spread(prepared.model)
    scored = best.metrics if best else {}
    left = [task for task in tasks if task not in scored]
    evaluated = {**scored, **trainer.evaluator.evaluate("eval", observer, left)}
    return evaluated, trainer.evaluator.evaluate("test", observer, tasks)


def _finish(
    prepared: Prepared,
    trainer: Trainer,
    observer: RunObserver,
    agreed: Observer,
    made_with: Mapping[str, Any],
) -> Result:
    """Write the result."""
    folder, state = observer.folder, trainer.state
    if state.best is not None:
        load_module(prepared.model, folder.model / WEIGHTS, prepared.model.builder.renamed_weights())
    try:
        evaluated, test = _final_metrics(prepared, trainer, agreed)
    except EvaluationInterrupted:
        _raise_if_interrupted(trainer, observer)
        raise
    _raise_if_interrupted(trainer, observer)
    for task, metrics in test.items():
        observer.record({"kind": "test", "step": state.step, "task": task, **metrics})
    for built in prepared.model.built:
        if built.config.save_path is not None and not prepared.fast:
            save_module(built.module, built.config.save_path)
    result = _result(prepared, trainer, folder, evaluated, test, observer)
    result["provenance"] = dict(made_with)
    write_json(folder.result, result)
    if not prepared.config.trainer.keep_checkpoints:
        folder.remove_checkpoints()
    observer.callbacks.call("mtl_run_ended", result=result)
    return Result(folder.path, result)


def _result(
    prepared: Prepared,
    trainer: Trainer,
    folder: RunFolder,
    evaluated: Mapping[str, Any],
    test: Mapping[str, Any],
    observer: RunObserver,
) -> dict[str, Any]:
    state = trainer.state
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
            **rates({name: getattr(progress, name) for name in COUNTED}, progress.seconds),
        }
    return {
        "status": "completed",
        **({"fast": True} if prepared.fast else {}),
        **({"from": read_json(start / ORIGIN)} if (start := folder.start).is_dir() else {}),
        "stopped_early": state.stopped_early,
        "stopped": observer.callbacks.stop_reason,
        "steps": state.step,
        "device": str(prepared.device),
        **({"processes": trainer.processes.count} if trainer.processes.count > 1 else {}),
        "best": best
        and {"step": best.step, "epoch": best.epoch, "metric": prepared.selection.name, "value": best.value},
        "tasks": tasks,
        "data": dict(observer.identity["rows"]),
        "seconds": {**seconds, "train": sum(progress.seconds for progress in state.tasks.values())},
        "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }
