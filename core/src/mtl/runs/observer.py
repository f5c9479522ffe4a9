"""Who watches a run: the run folder, the plugins' run-time hooks, the config's loggers."""

from __future__ import annotations

import json
import logging
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from time import monotonic
from types import FrameType
from typing import Any

import pluggy
from attrs import define, field
from torch import Tensor

from mtl import hookspecs
from mtl.components import Split
from mtl.config.run_config import TrainerConfig
from mtl.errors import StopRun
from mtl.files import BackgroundWriter
from mtl.model import MultitaskModel
from mtl.runs.folder import RunFolder
from mtl.training.checkpoint import save_checkpoint
from mtl.training.state import Evaluation
from mtl.weights import cpu_copy, metadata, unique_tensors

logger = logging.getLogger("mtl")


class Callbacks:
    """Objects with run-time hooks. One that raises an exception is named and disabled; the others continue.

    `stop_reason` is why a callback asked to stop the run, if one did.
    """

    def __init__(self, callbacks: Mapping[str, object]) -> None:
        self.stop_reason: str | None = None
        self._manager = pluggy.PluginManager(hookspecs.PROJECT)
        self._manager.add_hookspecs(hookspecs)
        for name, callback in callbacks.items():
            self._manager.register(callback, name)

    def call(self, hook: str, **arguments: Any) -> None:
        """Call a hook of every callback that has it."""
        for implementation in getattr(self._manager.hook, hook).get_hookimpls():
            try:
                # Copies, so that a callback which changes them changes nothing for the others and the run.
                implementation.function(*(_copy(arguments[name]) for name in implementation.argnames))
            except StopRun as stop:
                self.stop_reason = self.stop_reason or str(stop) or implementation.plugin_name
            except (Exception, SystemExit) as error:
                logger.warning(
                    "%s raised an exception in %s and was disabled: %s: %s",
                    *(implementation.plugin_name, hook, type(error).__name__, error),
                )
                self._manager.unregister(implementation.plugin)


def _copy(argument: Any) -> Any:
    return argument if isinstance(argument, BaseException) else deepcopy(argument)


@define(eq=False)
class SignalReceiver:
    """Stops on signals; `signal_number` is that of the first one that came."""

    signal_number: int | None = field(default=None, kw_only=True)

    def stop_requested(self) -> bool:
        """Return whether a signal came."""
        return self.signal_number is not None

    @contextmanager
    def stopping_on(self, signals: Sequence[signal.Signals]) -> Iterator[None]:
        """The first of these signals ends the run after its step, or after a batch of an evaluation; a second
        one at once."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def stop(number: int, frame: FrameType | None) -> None:
            if self.signal_number is None:
                self.signal_number = number
                return
            handler = previous[signal.Signals(number)]
            if callable(handler):
                handler(number, frame)
            raise KeyboardInterrupt

        previous = {number: signal.signal(number, stop) for number in signals}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)


@define(eq=False)
class RunObserver(SignalReceiver):
    """Keeps the run folder up to date, without making the training wait, and tells the callbacks.

    `model_files` stand beside the weights of the best model, `identity` goes into each checkpoint.
    """

    folder: RunFolder
    callbacks: Callbacks
    config: TrainerConfig
    model: MultitaskModel
    model_files: Mapping[str, Any]
    identity: Mapping[str, Any]
    writer: BackgroundWriter
    last_checkpoint: float = field(factory=monotonic)

    def step_ended(self, step: int, epoch: int, task: str) -> None:
        """Tell the callbacks."""
        self.writer.settle()
        self.callbacks.call("mtl_step_ended", step=step, epoch=epoch, task=task)

    def record(self, record: Mapping[str, Any]) -> None:
        """Add a line to the metrics."""
        self.folder.record(record)
        self.callbacks.call("mtl_recorded", record=record)

    def evaluating(self, task: str, split: Split, batch: int, batches: int) -> None:
        """Tell the callbacks."""
        self.callbacks.call("mtl_batch_evaluated", task=task, split=split, batch=batch, batches=batches)

    def evaluated(self, evaluation: Evaluation, metric: str, *, kept: bool, best: bool) -> None:
        """Save the model that is kept."""
        if kept:
            weights = cpu_copy(dict(unique_tensors(self.model)))
            said = metadata(self.model)
            files = {**self.model_files, "modules": self.model.builder.states()}
            self.writer.submit(lambda: self.folder.save_model(weights, said, files))
        self.callbacks.call(
            "mtl_evaluated",
            step=evaluation.step,
            epoch=evaluation.epoch,
            tasks=evaluation.metrics,
            best=best,
            selection={"metric": metric, "value": evaluation.value},
        )

    def checkpoint_due(self, step: int, epoch_ended: bool) -> bool:
        """After each epoch, and as often as the config asks."""
        steps, minutes = self.config.checkpoint_every_steps, self.config.checkpoint_every_minutes
        return (
            epoch_ended
            or (steps is not None and step % steps == 0)
            or (minutes is not None and monotonic() - self.last_checkpoint >= 60 * minutes)
        )

    def save_checkpoint(self, step: int, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """Write a checkpoint and remove those that are no longer kept."""
        path, kept = self.folder.checkpoint(step), cpu_copy(tensors)
        text = json.dumps({**state, "metrics_size": self.folder.flush_metrics(), "run": self.identity})

        def write() -> None:
            self.folder.require()
            save_checkpoint(path, kept, text)
            self.folder.keep_checkpoints(self.config.keep_checkpoints, path)

        def tell() -> None:
            self.callbacks.call("mtl_checkpoint_saved", path=str(path), step=step)

        self.writer.submit(write, tell)
        self.last_checkpoint = monotonic()

    def end_requested(self) -> bool:
        """Return whether a callback asked to stop the run."""
        return self.callbacks.stop_reason is not None
