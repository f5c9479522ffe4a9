"""The training loop and the step."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from attrs import define, field
from torch import Tensor, nn

from mtl.components import Balancer, Task
from mtl.config.run_config import TrainerConfig
from mtl.data.batching import seed_step
from mtl.data.columns import Batch
from mtl.data.load import TaskData
from mtl.errors import MtlError, component_errors, is_out_of_memory
from mtl.model import MultitaskModel
from mtl.training.checkpoint import as_weights, join_parts, split_parts, state_errors
from mtl.training.evaluation import PRECISIONS, autocast
from mtl.training.evaluator import Evaluator
from mtl.training.gradients import Gradients, merge_gradients, pop_gradients
from mtl.training.observer import Observer
from mtl.training.phase import ActivePhase, Phase
from mtl.training.processes import Processes
from mtl.training.state import StepSums, TrainingState
from mtl.training.timeline import BatchSpan, Step
from mtl.training.timing import StageTimer
from mtl.weights import COLUMNS, ROW_NAMES, Match, input_columns, load_named, row_names, unique_tensors

logger = logging.getLogger("mtl")


@define(eq=False)
class Trainer:
    """Trains the tasks of a run, one phase after the other.

    `state` is where it stands; `active` is the phase under way, with an optimizer of its own. Making one
    starts each phase once, so that what a later phase cannot do is said before the first step.
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
    processes: Processes = field(factory=Processes)
    active: ActivePhase = field(init=False)
    evaluator: Evaluator = field(init=False)
    _trainable: list[nn.Parameter] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.evaluator = Evaluator(
            self.config,
            self.tasks,
            self.model.tasks,
            self.data,
            self.phases,
            self.device,
            self.state,
            self.processes,
        )
        self._trainable = [p for p in self.model.parameters() if p.requires_grad]
        for phase in reversed(self.phases):
            self.start_phase(phase)

    @property
    def phase(self) -> Phase:
        """The phase under way."""
        return self.active.phase

    # The loop

    def train(self, observer: Observer) -> None:
        """Take all remaining steps, until the end, an early stop or a request to stop."""
        self.model.train()
        started = perf_counter() - self.state.seconds["total"]
        try:
            while self._train_phase(observer, started) and self.phase.index + 1 < len(self.phases):
                if self.active.averages is not None:
                    self.active.averages.settle()
                self.active.loader.stop()
                self.state.begin_phase(self.phase.index + 1)
                self.start_phase(self.phases[self.phase.index + 1])
        finally:
            self.active.loader.stop()

    def start_phase(self, phase: Phase) -> None:
        """Freeze what the phase freezes, and make its optimizer and learning-rate scheduler."""
        frozen = {id(parameter) for module in phase.frozen for parameter in module.parameters()}
        frozen |= {id(parameter) for each in phase.frozen_parameters.values() for parameter in each}
        for parameter in self._trainable:
            parameter.requires_grad_(id(parameter) not in frozen)
        self.active = ActivePhase.start(
            phase,
            self.state.phase,
            model=self.model,
            rows={task: data.train for task, data in self.data.items()},
            config=self.config,
            device=self.device,
            processes=self.processes,
        )

    def _train_phase(self, observer: Observer, started: float) -> bool:
        """Take the remaining steps of the phase. Return False if the run was asked to stop."""
        if self.state.stopped_early:
            return True
        timeline, start = self.phase.timeline, self.state.phase
        done = start.step
        scores = {task: progress.scores for task, progress in self.state.tasks.items()}
        for index, steps in enumerate(timeline.walk(scores)):
            self.state.epoch = start.epoch + index + 1
            left, end = steps[max(self.state.step - done, 0) :], done + len(steps)
            self.active.loader.look_ahead(left)
            interrupted = self.state.evaluation_interrupted and done < self.state.step <= end
            for planned in (*((None,) if interrupted else ()), *left):
                if planned is not None:
                    self._take(planned, observer, epoch_ended=self.state.step + 1 == end)
                number = self.state.step
                last = number == end and timeline.is_over(index + 1, number - start.step)
                if last or self.evaluator.is_due(number == end):
                    self._evaluate(observer, last=last)
                elif observer.end_requested():
                    self._evaluate(observer, last=True)
                self.state.seconds["total"] = perf_counter() - started
                stop = observer.stop_requested() or observer.end_requested()
                if stop or self.state.stopped_early or observer.checkpoint_due(number, number == end):
                    observer.save_checkpoint(number, *self.checkpoint())
                if stop or self.state.stopped_early:
                    return not stop
            done = end
        return True

    def _take(self, planned: Step, observer: Observer, *, epoch_ended: bool) -> None:
        """Take a step and report it."""
        step = planned.without(self.state.stopped)
        self.train_step(step)
        if step.spans:
            observer.step_ended(self.state.step, self.state.epoch, step.task)
        for comparison in self.active.compared:
            observer.record(
                self.state.record("gradients", comparison["task"], comparison, phases=len(self.phases))
            )
        if self.state.step % self.config.report_every_steps == 0 or epoch_ended:
            self._report(observer)

    def _report(self, observer: Observer) -> None:
        """Record the training losses since the last report."""
        rate = self.active.optimizer.param_groups[0]["lr"]
        steps = {task: progress.steps_since_report for task, progress in self.state.tasks.items()}
        for task, progress in self.state.tasks.items():
            if not steps[task]:
                continue
            values = progress.report()
            if values["loss"] is not None and not math.isfinite(values["loss"]):
                raise MtlError(
                    f"the loss of {task} is {values['loss']} within the last"
                    f" {self.config.report_every_steps} steps before step {self.state.step}"
                )
            skipped = {"skipped": progress.skipped} if progress.skipped else {}
            share = {"share": steps[task] / sum(steps.values()), "rows": progress.rows}
            record = {**values, **share, **skipped, "lr": rate}
            observer.record(self.state.record("train", task, record, phases=len(self.phases)))

    # The step

    def train_step(self, step: Step) -> None:
        """Update the parameters from the batches of `step`; one without batches is only counted.

        Parameters that no task of the step uses have no gradient, so that no optimizer moves them.
        """
        active = self.active
        # Dropout is a function of (seed, step): nothing that ran before can shift it.
        seed_step(self.seed, self.state.step)
        active.optimizer.zero_grad(set_to_none=True)
        active.compared = []
        try:
            with active.shared.during(step):
                updated = not step.spans or self._update(step)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise MtlError(
                f"out of memory at step {self.state.step + 1}, in {active.loader.describe_largest(step)}; try"
                " a smaller `batch_size` (with `accumulate_batches` the mathematics stays the same) or a"
                " limit in `batch_tokens`"
            ) from error
        if updated and not self.phase.lr_by_metric:
            with component_errors(active.lr_scheduler, f"after step {self.state.step + 1}"):
                active.lr_scheduler.step()
        self.state.step += 1

    def _update(self, step: Step) -> bool:
        """Take the step. Return False if a loss is not finite, so that the parameters stay as they are."""
        active, losses, gradients = self.active, dict[str, Tensor](), list[Gradients]()
        sums, usable = list[StepSums](), True
        for index, span in enumerate(step.spans):
            started = perf_counter()
            with self.processes.own_draws(self.seed, self.state.step, index):
                sums.append(self._backward(span))
            self.processes.reduce(active.parameters, sums[-1])
            with StageTimer(self.state, "optimizer", span.task):
                loss = torch.as_tensor(sums[-1].total / sums[-1].weight)
                usable = self._is_usable(span, loss) and usable
                if usable:
                    self._weigh(span, sums[-1], loss)
                if usable and active.comparison is not None:
                    active.compared += active.comparison.note(
                        span.task, self.state.step, self.state.stopped, self.scaler.get_scale
                    )
                if len(step.spans) > 1:
                    gradients.append(pop_gradients(active.parameters))
                    losses[span.task] = loss
            sums[-1].seconds = perf_counter() - started
        started = perf_counter()
        with StageTimer(self.state, "optimizer", *(span.task for span in step.spans)):
            if usable and gradients:
                scale, number = self.scaler.get_scale(), self.state.step + 1
                merge_gradients(active.parameters, gradients, losses, self.balancer, scale=scale, step=number)
            if usable:
                self._optimize(self.tasks[step.spans[0].task].config.lr_factor)
        for span, each in zip(step.spans, sums, strict=True):
            each.seconds += (perf_counter() - started) / len(sums)
            passes_end = span.stop == active.loader.batching[span.task].count(span.pass_index)
            self.state.tasks[span.task].add(each, span, usable=usable, pass_ended=passes_end)
        return usable

    def _backward(self, span: BatchSpan) -> StepSums:
        """Accumulate the gradients of this process's share of a span: of the mean loss if it is one whole
        batch, else of the summed one."""
        model, sums = self.model.tasks[span.task], StepSums()
        precision = PRECISIONS[self.config.precision]
        with component_errors(self.tasks[span.task], f"to train on step {self.state.step + 1} ({span.task})"):
            for batch in self._batches(span):
                with StageTimer(self.state, "forward", span.task), autocast(self.device, precision):
                    loss = model(batch).loss
                with StageTimer(self.state, "backward", span.task):
                    value = loss.total / loss.weight if self._is_mean(span) else loss.total
                    self.scaler.scale(value).backward(retain_graph=self.active.shared.is_left(span))
                sums.add(loss, batch)
        sums.batches = span.stop - span.start
        return sums

    def _is_mean(self, span: BatchSpan) -> bool:
        """Return whether `_backward` gives the gradients of the mean loss."""
        return span.stop - span.start == 1 and self.processes.count == 1

    def _batches(self, span: BatchSpan) -> Iterator[Batch]:
        for key in self.active.loader.keys(span):
            with StageTimer(self.state, "data", span.task):
                batch = self.active.loader.load(key)
                batch = self.active.shared.batch(span, batch)
            yield batch

    def _is_usable(self, span: BatchSpan, loss: Tensor) -> bool:
        """Return whether a loss, and with `skip` its gradient, is finite."""
        skip = self.config.on_nonfinite_loss == "skip"
        # Reading the loss makes a GPU wait for it, so there it is checked at reports only.
        if not skip and self.device.type != "cpu":
            return True
        finite = math.isfinite(loss.item())
        if skip and finite and not self.scaler.is_enabled():
            gradients = [p.grad for p in self.active.parameters if p.grad is not None]
            finite = bool(nn.utils.get_total_norm(gradients).isfinite())
        if finite:
            return True
        step, rows = self.state.step + 1, self.active.loader.describe_rows(span)
        if not skip:
            raise MtlError(
                f"the loss of {span.task} is {loss.item()} at step {step}, {rows}; try a lower learning rate"
                " or trainer.max_clip_norm"
            )
        if not self.state.tasks[span.task].skipped:
            logger.warning(
                "the loss or gradient of %s is not finite at step %d, %s; such steps are skipped",
                *(span.task, step, rows),
            )
        return False

    def _weigh(self, span: BatchSpan, sums: StepSums, loss: Tensor) -> None:
        """Scale a task's gradient to that of its mean loss times its factor, and clip it to its norm."""
        with component_errors(self.balancer, f"to weigh step {self.state.step + 1}"):
            factor = self.balancer.factor(span.task, loss)
        parameters = self.active.parameters
        scale = factor / (1.0 if self._is_mean(span) else sums.weight)
        if isinstance(scale, Tensor) or scale != 1.0:
            torch._foreach_mul_([p.grad for p in parameters if p.grad is not None], scale)
        limit = self.tasks[span.task].config.max_clip_norm
        if limit is not None:
            nn.utils.clip_grad_norm_(parameters, limit * self.scaler.get_scale())

    def _optimize(self, lr_factor: float) -> None:
        """Clip the gradient and step the optimizer."""
        optimizer, step = self.active.optimizer, self.state.step + 1
        if self.config.max_clip_norm is not None:
            self.scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(self.active.parameters, self.config.max_clip_norm)
        with component_errors(optimizer, f"to take step {step}"), scaled_rates(optimizer, lr_factor):
            self.scaler.step(optimizer)
        self.scaler.update()
        if self.active.averages is not None:
            self.active.averages.update(step - self.active.first_step)

    # Evaluation

    def _evaluate(self, observer: Observer, *, last: bool) -> None:
        """Evaluate the averaged weights if there are any, and give the rate what it follows."""
        with self.active.averaged():
            evaluation = self.evaluator.select(observer, last=last)
        if evaluation is not None and evaluation.value is not None and self.phase.lr_by_metric:
            with component_errors(self.active.lr_scheduler, f"after step {self.state.step}"):
                self.active.lr_scheduler.step(evaluation.value)  # type: ignore[arg-type]

    # Checkpoints

    def checkpoint(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return everything that the next step depends on, as tensors and JSON."""
        phase_tensors, phase_state = self.active.checkpoint()
        tensors = join_parts(
            {
                "model": dict(unique_tensors(self.model)),
                "balancer": self.balancer.state_dict(),
                "report": self.state.tensors(),
                **phase_tensors,
            }
        )
        state = {
            "training": self.state.to_json(),
            **phase_state,
            "scaler": self.scaler.state_dict(),
            ROW_NAMES: row_names(self.model),
            COLUMNS: input_columns(self.model),
            "modules": self.model.builder.states(),
        }
        return tensors, state

    def restore(self, tensors: Mapping[str, Tensor], state: Mapping[str, Any], source: Path) -> Match:
        """Restore a `checkpoint()`, and return which rows of the model are elsewhere by now.

        Raises `UsageError` if it does not fit this run.
        """
        with state_errors(source):
            parts = split_parts(tensors)
            self.state.restore(state["training"], parts["report"])
            self.start_phase(self.phases[self.state.phase.index])
            weights = as_weights(parts["model"], state, source)
            match = load_named(self.model, weights, self.model.builder.renamed_weights())
            self.balancer.load_state_dict(parts["balancer"])
            self.scaler.load_state_dict(dict(state["scaler"]))
            self.active.restore(parts, state, self.model, match, source)
        return match


@contextmanager
def scaled_rates(optimizer: torch.optim.Optimizer, factor: float) -> Iterator[None]:
    """Multiply the learning rates by `factor` inside."""
    groups = optimizer.param_groups if factor != 1.0 else []
    rates = [group["lr"] for group in groups]
    for group in groups:
        group["lr"] = group["lr"] * factor
    yield
    for group, rate in zip(groups, rates, strict=True):
        group["lr"] = rate
