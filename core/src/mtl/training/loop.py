"""The training loop."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from time import perf_counter
from typing import Any, Protocol

import torch
from attrs import define, evolve, field
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from mtl.components import Balancer, Task
from mtl.config.run_config import TrainerConfig
from mtl.data.load import TaskData
from mtl.errors import MtlError, UsageError, component_errors
from mtl.model import MultitaskModel
from mtl.training.averages import WeightAverages
from mtl.training.checkpoint import flatten_optimizer, part, restore_optimizer
from mtl.training.conflicts import GradientComparison
from mtl.training.evaluation import evaluate
from mtl.training.phase import Phase
from mtl.training.state import Best, TaskProgress, TrainingState
from mtl.training.step import PRECISIONS, Stepper, Timed
from mtl.training.timeline import Cursor, Scores
from mtl.weights import Match, Weights, load_named, row_names, unique_tensors

PARTS = ("model", "optimizer", "balancer", "average", "comparison", "report")
"""The parts of a checkpoint's tensors: the first word of their names."""


class Observer(Protocol):
    """What the loop tells while it runs, and asks: the run folder and its callbacks stand behind it."""

    def step_ended(self, step: int, epoch: int, task: str) -> None:
        """A step has ended."""

    def record(self, record: Mapping[str, Any]) -> None:
        """A line for the metrics."""

    def evaluated(self, best: bool, evaluation: Best, metric: str) -> None:
        """All tasks were evaluated; a best model is to be kept. `metric` names the evaluation's value."""

    def checkpoint_due(self, step: int, epoch_ended: bool) -> bool:
        """Whether to write a checkpoint now."""

    def save_checkpoint(self, step: int, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """Write a checkpoint."""

    def stop_requested(self) -> bool:
        """Whether the run was asked to stop after this step."""


@define(eq=False)
class Training:
    """Everything that the loop works on. The loop itself is `train`.

    `parameters` are all that may move; each phase has an optimizer, rates and averages of its own.
    """

    config: TrainerConfig
    tasks: Mapping[str, Task[Any]]
    data: Mapping[str, TaskData]
    model: MultitaskModel
    phases: Sequence[Phase]
    balancer: Balancer[Any]
    scaler: torch.amp.GradScaler
    device: torch.device
    seed: int
    state: TrainingState
    phase: Phase = field(init=False)
    parameters: list[nn.Parameter] = field(init=False)
    optimizer: torch.optim.Optimizer = field(init=False)
    lr_scheduler: LRScheduler | ReduceLROnPlateau = field(init=False)
    averages: WeightAverages | None = field(init=False)
    stepper: Stepper = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.parameters = [p for p in self.model.parameters() if p.requires_grad]
        # What a later phase cannot do is said before the first one.
        for phase in reversed(self.phases):
            self.begin(phase)

    def train(self, observer: Observer) -> None:
        """Run all steps that are left, until the end, an early stop or a request to stop."""
        self.model.train()
        begun = perf_counter() - self.state.seconds["total"]
        try:
            while self._train_phase(observer, begun) and self.phase.index + 1 < len(self.phases):
                if self.averages is not None:
                    self.averages.settle()
                self.state.begin_phase(self.phase.index + 1)
                self.stepper.rest()
                self.begin(self.phases[self.phase.index + 1])
        finally:
            self.stepper.rest()

    def _train_phase(self, observer: Observer, begun: float) -> bool:
        """Run the steps of a phase that are left. False where the run was asked to stop."""
        if self.state.stopped_early:
            return True
        timeline, start = self.phase.timeline, self.state.phase
        done = start.step
        for index, steps in enumerate(timeline.walk(self._scores())):
            self.state.epoch = epoch = start.epoch + index + 1
            left = steps[max(self.state.step - done, 0) :]
            self.stepper.look_ahead(left)
            for step in left:
                step = step.without(self.state.stopped)
                self.stepper.take(step)
                number = self.state.step
                epoch_ended = number == done + len(steps)
                last = epoch_ended and timeline.is_over(index + 1, number - start.step)
                if step.parts:
                    observer.step_ended(number, epoch, step.task)
                for figures in self.stepper.compared:
                    observer.record(self._line("gradients", epoch, figures["task"], figures))
                if number % self.config.report_every_steps == 0 or epoch_ended:
                    self._report(epoch, observer)
                if last or self._evaluation_due(epoch_ended):
                    self._evaluate(epoch, observer, last=last)
                self.state.seconds["total"] = perf_counter() - begun
                stop = observer.stop_requested()
                if stop or self.state.stopped_early or observer.checkpoint_due(number, epoch_ended):
                    observer.save_checkpoint(number, *self.checkpoint())
                if stop or self.state.stopped_early:
                    return not stop
            done += len(steps)
        return True

    def begin(self, phase: Phase) -> None:
        """Hold still what the phase freezes, and make what moves the rest."""
        self.phase = phase = self._as_begun(phase)
        frozen = {id(parameter) for module in phase.frozen for parameter in module.parameters()}
        for parameter in self.parameters:
            parameter.requires_grad_(id(parameter) not in frozen)
        self.optimizer = phase.make_optimizer(self.model)
        self.lr_scheduler = phase.make_lr_scheduler(self.optimizer)
        decay = self.config.average_decay
        self.averages = WeightAverages.of(self.model, decay) if decay is not None else None
        self.stepper = Stepper(
            config=self.config,
            tasks=self.tasks,
            data=self.data,
            batching=phase.timeline.batching,
            model=self.model,
            optimizer=self.optimizer,
            lr_scheduler=None if phase.lr_by_metric else self.lr_scheduler,
            balancer=self.balancer,
            scaler=self.scaler,
            averages=self.averages,
            comparison=GradientComparison.of(
                self.model, list(phase.timeline.batching), self.config.compare_gradients_every
            ),
            device=self.device,
            seed=self.seed,
            state=self.state,
            first_step=self.state.phase.step,
        )

    def _as_begun(self, phase: Phase) -> Phase:
        """The phase with the places where it began; the one before may have ended elsewhere than planned."""
        start = self.state.phase
        begin = {task: Cursor(*place) for task, place in start.places.items()}
        if start.index != phase.index or begin in ({}, phase.timeline.begin):
            return phase
        return evolve(phase, timeline=evolve(phase.timeline, begin=begin))

    def _scores(self) -> Scores:
        """The tasks' selection figures in this phase, as they are found."""
        return {task: progress.scores for task, progress in self.state.tasks.items()}

    def _report(self, epoch: int, observer: Observer) -> None:
        rate = self.optimizer.param_groups[0]["lr"]
        steps = {task: progress.steps_since_report for task, progress in self.state.tasks.items()}
        for task, progress in self.state.tasks.items():
            if steps[task]:
                figures = progress.report()
                if figures["loss"] is not None and not math.isfinite(figures["loss"]):
                    raise MtlError(
                        f"the loss of {task} is {figures['loss']} within the last"
                        f" {self.config.report_every_steps} steps before step {self.state.step}"
                    )
                skipped = {"skipped": progress.skipped} if progress.skipped else {}
                share = {"share": steps[task] / sum(steps.values()), "rows": progress.rows}
                figures |= {**share, **skipped, "lr": rate}
                observer.record(self._line("train", epoch, task, figures))

    def _evaluation_due(self, epoch_ended: bool) -> bool:
        every = self.config.evaluate_every_steps
        return self.state.step % every == 0 if every else epoch_ended

    def _evaluate(self, epoch: int, observer: Observer, *, last: bool) -> None:
        """Score the evaluation data, keep the best, lower the rate or stop where asked to."""
        self.state.evaluations += 1
        due = [
            task
            for task in self.phase.tasks
            if last or self.state.evaluations % self.tasks[task].config.evaluate_every == 0
        ]
        with self.averages.in_place() if self.averages is not None else nullcontext():
            figures: dict[str, dict[str, Any]] = {}
            for task in due:
                with Timed(self.state, "eval", task):
                    figures |= self.evaluate("eval", [task])
            for task, values in figures.items():
                observer.record(self._line("eval", epoch, task, values))
            value = self.phase.selection.value(figures)
            evaluation = Best(self.state.step, epoch, value, figures)
            observer.evaluated(self._is_best(evaluation), evaluation, self.phase.selection.name)
        for task in figures:
            self._note_score(task, figures[task].get(self.tasks[task].config.metric.name), epoch, observer)
        if self.phase.lr_by_metric and value is not None:
            with component_errors(self.lr_scheduler, f"after step {self.state.step}"):
                self.lr_scheduler.step(value)  # type: ignore[arg-type]

    def _is_best(self, evaluation: Best) -> bool:
        """Whether this is the model to keep; counts those that are not better, for an early stop."""
        value, before = evaluation.value, self.state.best_value
        best = before is None if value is None else self.phase.selection.is_better(value, before)
        if best and value is not None:
            self.state.best_value = value
        if best or self.config.keep_model == "last":
            self.state.best = evaluation
        if best or value is not None:
            self.state.evaluations_without_improvement = (
                0 if best else self.state.evaluations_without_improvement + 1
            )
        patience = self.config.early_stop_after
        if patience is not None and self.state.evaluations_without_improvement >= patience:
            self.state.stopped_early = True
        return self.state.best is evaluation

    def _note_score(self, task: str, value: float | None, epoch: int, observer: Observer) -> None:
        """Count a task's figure; one that has not become better for long leaves the schedule."""
        progress, config = self.state.tasks[task], self.tasks[task].config
        if value is None or progress.stopped_at is not None or task not in self.phase.timeline.batching:
            return
        best, higher = progress.best, config.metric.higher_is_better
        better = best is None or (value > best if higher else value < best)
        progress.scored(self.state.step - self.state.phase.step, value, better=better)
        if config.early_stop_after is not None and progress.stale_evaluations >= config.early_stop_after:
            progress.stopped_at = self.state.step
            observer.record(self._line("stopped", epoch, task, {}))
            if set(self.phase.timeline.batching) <= set(self.state.stopped):
                self.state.stopped_early = True

    def _line(self, kind: str, epoch: int, task: str, figures: Mapping[str, Any]) -> dict[str, Any]:
        """A line for the metrics, with its phase where there are several."""
        phase = {"phase": self.phase.index} if len(self.phases) > 1 else {}
        return {"kind": kind, "step": self.state.step, "epoch": epoch, **phase, "task": task, **figures}

    def evaluate(self, split: str, tasks: Sequence[str] | None = None) -> dict[str, dict[str, Any]]:
        """The figures of every task, or of those named, that has rows in `split`."""
        precision = PRECISIONS[self.config.precision]
        return {
            name: evaluate(task, self.model.tasks[name], rows, device=self.device, precision=precision)
            for name, task in self.tasks.items()
            if (rows := self.data[name].splits[split]) is not None  # type: ignore[index]
            if tasks is None or name in tasks
        }

    def checkpoint(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Everything that the next step depends on."""
        optimizer_tensors, optimizer = flatten_optimizer(self.optimizer)
        parts: dict[str, Mapping[str, Tensor]] = {
            "model": dict(unique_tensors(self.model)),
            "optimizer": optimizer_tensors,
            "balancer": self.balancer.state_dict(),
            "average": self.averages.averages if self.averages is not None else {},
            "comparison": self.stepper.comparison.tensors() if self.stepper.comparison is not None else {},
            "report": self.state.tensors(),
        }
        tensors = {
            f"{part}.{name}": tensor for part, named in parts.items() for name, tensor in named.items()
        }
        state = {
            "training": self.state.to_json(),
            "optimizer": optimizer,
            "lr_scheduler": self.lr_scheduler.state_dict(),
            "scaler": self.scaler.state_dict(),
            "row_names": row_names(self.model),
        }
        return tensors, state

    def restore(self, tensors: Mapping[str, Tensor], state: Mapping[str, Any], source: Path) -> Match:
        """Restore what `checkpoint` gave, and return which rows of the model are elsewhere by now.

        Raises `UsageError` if it does not fit this run.
        """
        parts = {name: part(tensors, name) for name in PARTS}
        strange = [name for name in tensors if name.partition(".")[0] not in PARTS]
        try:
            if strange:
                raise ValueError(f"{strange[0]} does not belong there")
            self.state.restore(state["training"], parts["report"])
            self.begin(self.phases[self.state.phase.index])
            match = load_named(self.model, self._stored(parts["model"], state, source))
            rows = {id(p): match.maps[name] for name, p in unique_tensors(self.model) if name in match.maps}
            restore_optimizer(self.optimizer, parts["optimizer"], state["optimizer"], rows)
            self.balancer.load_state_dict(parts["balancer"])
            self.lr_scheduler.load_state_dict(dict(state["lr_scheduler"]))
            self.scaler.load_state_dict(dict(state["scaler"]))
            if self.averages is not None:
                self.averages.restore(self._stored(parts["average"], state, source), row_names(self.model))
            # Gradients of rows that have moved since cannot be compared with those to come.
            if self.stepper.comparison is not None and not match.maps:
                self.stepper.comparison.restore(parts["comparison"])
        except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
            reason = f"{type(error).__name__}: {error}"
            raise UsageError(f"{source}: this state does not fit the run: {reason}") from error
        return match

    @staticmethod
    def _stored(tensors: Mapping[str, Tensor], state: Mapping[str, Any], source: Path) -> Weights:
        """Return the tensors of a checkpoint with the names of their rows."""
        names = {name: rows for name, rows in state["row_names"].items() if name in tensors}
        return Weights.of(tensors, names, str(source))


def fresh_state(tasks: Mapping[str, Task[Any]], device: torch.device) -> TrainingState:
    """The state before the first step."""
    zero = torch.zeros((), dtype=torch.float64, device=device)
    return TrainingState(
        {name: TaskProgress(loss_total=zero.clone(), loss_weight=zero.clone()) for name in tasks}
    )
