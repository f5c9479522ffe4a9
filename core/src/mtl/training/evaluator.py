"""Evaluations of a run: the best model, and early stopping."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from attrs import define, field
from torch import nn

from mtl.components import Split, Task
from mtl.config.run_config import TrainerConfig
from mtl.data.load import TaskData
from mtl.training.evaluation import PRECISIONS, EvaluationInterrupted, Progress, evaluate
from mtl.training.observer import Observer
from mtl.training.phase import Phase
from mtl.training.processes import Processes
from mtl.training.state import Evaluation, TrainingState
from mtl.training.timing import StageTimer

logger = logging.getLogger("mtl")


@define(eq=False)
class Evaluator:
    """Evaluates the tasks of a run, selects its best model, and stops early what no longer improves."""

    config: TrainerConfig
    tasks: Mapping[str, Task[Any]]
    models: Mapping[str, nn.Module]
    data: Mapping[str, TaskData]
    phases: Sequence[Phase]
    device: torch.device
    state: TrainingState
    processes: Processes = field(factory=Processes)
    _warned: set[str] = field(init=False, factory=set)

    @property
    def phase(self) -> Phase:
        """The phase under way."""
        return self.phases[self.state.phase.index]

    def evaluate(
        self,
        split: Split,
        observer: Observer,
        tasks: Collection[str] | None = None,
        *,
        calibrate: bool = False,
    ) -> dict[str, dict[str, Any]]:
        """Return the loss and metrics of every task, or of those named, that has rows in `split`.
        With `calibrate` the tasks first fit thresholds and the like to these rows.

        Raises `EvaluationInterrupted` if the observer asks to stop.
        """

        def progress(task: str) -> Progress:
            def advance(batch: int, batches: int) -> None:
                observer.evaluating(task, split, batch, batches)
                if observer.stop_requested():
                    raise EvaluationInterrupted(f"the evaluation of {task} was interrupted")

            return advance

        return {
            name: evaluate(
                task,
                self.models[name],
                rows,
                device=self.device,
                precision=PRECISIONS[self.config.precision],
                progress=progress(name),
                calibrate=calibrate,
                processes=self.processes,
            )
            for name, task in self.tasks.items()
            if (rows := self.data[name].splits[split]) is not None
            if tasks is None or name in tasks
        }

    def is_due(self, epoch_ended: bool) -> bool:
        """Return whether to evaluate after this step."""
        every = self.config.evaluate_every_steps
        return self.state.step % every == 0 if every else epoch_ended

    def select(self, observer: Observer, *, last: bool) -> Evaluation | None:
        """Evaluate the tasks that are due, all of them if this is the `last` time in the phase; keep the best
        model, and stop early.

        If the run is to be interrupted first, return None: the state says that the step is still to be
        evaluated.
        """
        self.state.evaluations += 1
        try:
            metrics = self._evaluate_due(observer, last)
        except EvaluationInterrupted:
            self.state.evaluations -= 1
            self.state.evaluation_interrupted = True
            return None
        self.state.evaluation_interrupted = False
        for task, values in metrics.items():
            observer.record(self.state.record("eval", task, values, phases=len(self.phases)))
        selection, state = self.phase.selection, self.state
        evaluation = Evaluation(state.step, state.epoch, selection.value(metrics), metrics)
        self._warn_of_undefined(evaluation)
        best = self._is_best(evaluation)
        # A run whose metric is never defined leaves its last model, which is not called best.
        keeps_each = self.config.keep_model == "last"
        kept = best or keeps_each or state.best_value is None
        if kept:
            state.best = evaluation
        observer.evaluated(evaluation, selection.name, kept=kept, best=best or keeps_each)
        self._count_improvement(evaluation)
        for task in metrics:
            self._note_score(task, metrics[task].get(self.tasks[task].config.metric.name), observer)
        return evaluation

    def _evaluate_due(self, observer: Observer, last: bool) -> dict[str, dict[str, Any]]:
        metrics: dict[str, dict[str, Any]] = {}
        for task in self.phase.tasks:
            if last or self.state.evaluations % self.tasks[task].config.evaluate_every == 0:
                with StageTimer(self.state, "eval", task):
                    metrics |= self.evaluate("eval", observer, [task], calibrate=True)
        return metrics

    def _is_best(self, evaluation: Evaluation) -> bool:
        """Return whether this is the best evaluation yet; without evaluation data each one is."""
        selection = self.phase.selection
        if not selection.metrics:
            return True
        if evaluation.value is None or not selection.is_better(evaluation.value, self.state.best_value):
            return False
        self.state.best_value = evaluation.value
        return True

    def _count_improvement(self, evaluation: Evaluation) -> None:
        """Stop early after enough evaluations without improvement: one that is undefined is without."""
        rule, patience, state = self.phase.early_stopping, self.config.early_stop_after, self.state
        value = rule.value(evaluation.metrics)
        if value is not None and rule.is_better(value, state.stopping_value):
            state.stopping_value, state.evaluations_without_improvement = value, 0
        elif value is not None or rule.undefined(evaluation.metrics):
            state.evaluations_without_improvement += 1
        if patience is not None and state.evaluations_without_improvement >= patience:
            state.stopped_early = True

    def _warn_of_undefined(self, evaluation: Evaluation) -> None:
        """Warn once of each metric that selects the model, but is undefined."""
        for task in self.phase.selection.undefined(evaluation.metrics):
            if task not in self._warned:
                self._warned.add(task)
                logger.warning(
                    "%s.%s is undefined on the evaluation data at step %d: this evaluation is never the best",
                    *(task, self.tasks[task].config.metric.name, evaluation.step),
                )

    def _note_score(self, task: str, value: float | None, observer: Observer) -> None:
        """Count a task's metric; a task that has not improved for long enough leaves the schedule."""
        progress, config = self.state.tasks[task], self.tasks[task].config
        trained = self.phase.timeline.batching
        if progress.stopped_at is not None or task not in trained:
            return
        best, higher = progress.best, config.metric.higher_is_better
        better = value is not None and (best is None or (value > best if higher else value < best))
        progress.scored(self.state.step - self.state.phase.step, value, better=better)
        patience = config.early_stop_after
        if patience is not None and progress.stale_evaluations >= patience:
            progress.stopped_at = self.state.step
            stale = {"evaluations_without_improvement": progress.stale_evaluations}
            observer.record(self.state.record("stopped", task, stale, phases=len(self.phases)))
            if set(trained) <= set(self.state.stopped):
                self.state.stopped_early = True
