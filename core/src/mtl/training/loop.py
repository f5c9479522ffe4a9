"""The training loop."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from time import perf_counter
from typing import Any, Protocol

import torch
from attrs import frozen
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau
from torch.profiler import record_function

from mtl.components import Balancer, Task
from mtl.config.run_config import TrainerConfig
from mtl.data.batching import seed_generators
from mtl.data.columns import Batch
from mtl.data.load import TaskData
from mtl.errors import MtlError, UsageError, blaming, is_out_of_memory
from mtl.model import MultitaskModel, assign_tensors, unique_tensors
from mtl.plan import Selection
from mtl.training.averages import WeightAverages
from mtl.training.checkpoint import flatten_optimizer, part, restore_optimizer
from mtl.training.evaluation import autocast, evaluate
from mtl.training.state import Best, StepSums, TaskProgress, TrainingState
from mtl.training.timeline import Step, Timeline

logger = logging.getLogger("mtl")

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

PARTS = ("model", "optimizer", "balancer", "average", "report")
"""The parts of a checkpoint's tensors: the first word of their names."""


class Observer(Protocol):
    """What the loop tells while it runs, and asks: the run folder and its watchers stand behind it."""

    def step_ended(self, step: int, epoch: int, task: str) -> None:
        """A step has ended."""

    def record(self, record: Mapping[str, Any]) -> None:
        """A line for the metrics."""

    def evaluated(self, best: bool, evaluation: Best) -> None:
        """All tasks were evaluated; a best model is to be kept."""

    def checkpoint_due(self, step: int, epoch_ended: bool) -> bool:
        """Whether to write a checkpoint now."""

    def save_checkpoint(self, step: int, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """Write a checkpoint."""

    def stop_requested(self) -> bool:
        """Whether the run was asked to stop after this step."""


@frozen(eq=False)
class Training:
    """Everything that the loop works on. The loop itself is `train`."""

    config: TrainerConfig
    tasks: Mapping[str, Task[Any]]
    data: Mapping[str, TaskData]
    model: MultitaskModel
    optimizer: torch.optim.Optimizer
    lr_scheduler: LRScheduler | ReduceLROnPlateau
    lr_by_metric: bool
    balancer: Balancer[Any]
    scaler: torch.amp.GradScaler
    averages: WeightAverages | None
    timeline: Timeline
    selection: Selection
    device: torch.device
    seed: int
    state: TrainingState

    def train(self, observer: Observer) -> None:
        """Run all steps that are left, until the end, an early stop or a request to stop."""
        if self.state.stopped_early:
            return
        self.model.train()
        begun = perf_counter() - self.state.seconds["total"]
        before = 0
        for epoch, steps in enumerate(self.timeline.walk(), start=1):
            for step in steps[max(self.state.step - before, 0) :]:
                self._step(step)
                number = self.state.step
                epoch_ended = number == before + len(steps)
                observer.step_ended(number, epoch, step.task)
                if number % self.config.report_every_steps == 0 or epoch_ended:
                    self._report(epoch, observer)
                if self._evaluation_due(epoch_ended):
                    self._evaluate(epoch, observer)
                self.state.seconds["total"] = perf_counter() - begun
                stop = self.state.stopped_early or observer.stop_requested()
                if stop or observer.checkpoint_due(number, epoch_ended):
                    observer.save_checkpoint(number, *self.checkpoint())
                if stop:
                    return
            before += len(steps)

    def _step(self, step: Step) -> None:
        """One optimizer step: the batches of one task, together worth one big batch.

        Parameters that the task does not use have no gradient, so that no optimizer moves them.
        """
        begun = perf_counter()
        # Dropout is a function of (seed, step): nothing that ran before can shift it.
        seed_generators(self.seed, "step", self.state.step)
        self.optimizer.zero_grad(set_to_none=True)
        try:
            sums = self._gradients(step)
            with self._timed("optimizer"):
                mean = torch.as_tensor(sums.total / sums.weight)
                usable = self._is_usable(step, mean)
                if usable:
                    with blaming(self.balancer, f"to weigh step {self.state.step + 1}"):
                        factor = self.balancer.factor(step.task, mean)
                    self._update(factor, sums.weight if sums.batches > 1 else 1.0)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise MtlError(self._out_of_memory(step)) from error
        self._count(step, sums, usable, perf_counter() - begun)

    def _gradients(self, step: Step) -> StepSums:
        """Add up the gradients of a step's batches: of the mean loss where there is one batch, else of
        the summed one."""
        model, sums = self.model.tasks[step.task], StepSums()
        with blaming(self.tasks[step.task], f"to train on step {self.state.step + 1} ({step.task})"):
            for batch in self._batches(step):
                with self._timed("forward"), autocast(self.device, PRECISIONS[self.config.precision]):
                    loss = model(batch).loss
                with self._timed("backward"):
                    single = step.stop - step.start == 1
                    self.scaler.scale(loss.total / loss.weight if single else loss.total).backward()
                sums.add(loss, batch)
        return sums

    def _update(self, factor: Tensor | float, divisor: Tensor | float) -> None:
        """Scale the gradients to the mean loss times its factor, clip them and move the parameters."""
        scale = factor / divisor
        if isinstance(scale, Tensor) or scale != 1.0:
            torch._foreach_mul_(self._gradient_tensors(), scale)
        if self.config.max_clip_norm is not None:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.model.parameters(), self.config.max_clip_norm)
        with blaming(self.optimizer, f"to take step {self.state.step + 1}"):
            self.scaler.step(self.optimizer)
        self.scaler.update()
        if not self.lr_by_metric:
            self.lr_scheduler.step()
        if self.averages is not None:
            self.averages.update(self.state.step + 1)

    def _gradient_tensors(self) -> list[Tensor]:
        return [parameter.grad for parameter in self.model.parameters() if parameter.grad is not None]

    def _batches(self, step: Step) -> Iterator[Batch]:
        rows = self.data[step.task].train
        pin = self.device.type == "cuda"
        for row_numbers in self.timeline.batching[step.task].batches(step.pass_index)[step.start : step.stop]:
            with self._timed("data"):
                batch = rows.batch(row_numbers, pin=pin).to(self.device)
            yield batch

    def _count(self, step: Step, sums: StepSums, usable: bool, seconds: float) -> None:
        progress = self.state.tasks[step.task]
        progress.add(sums, usable=usable)
        progress.seconds += seconds
        if step.stop == self.timeline.batching[step.task].count(step.pass_index):
            progress.pass_index, progress.rows_in_pass = step.pass_index + 1, 0
        self.state.step += 1

    def _is_usable(self, step: Step, mean: Tensor) -> bool:
        """Whether the step's loss, and with `skip` its gradient, is a number to go on with."""
        skip = self.config.on_nonfinite_loss == "skip"
        # Reading a figure makes a GPU wait for it, so there it is checked at reports only.
        if not skip and self.device.type != "cpu":
            return True
        finite = math.isfinite(mean.item())
        if skip and finite and not self.scaler.is_enabled():
            finite = bool(nn.utils.get_total_norm(self._gradient_tensors()).isfinite())
        if finite:
            return True
        if not skip:
            raise MtlError(
                f"the loss of {step.task} is {mean.item()} at step {self.state.step + 1},"
                f" {self._place(step)}; try a lower learning rate or trainer.max_clip_norm"
            )
        if not self.state.tasks[step.task].skipped:
            logger.warning(
                "the loss or gradient of %s is not finite at step %d, %s; such steps are skipped",
                step.task,
                self.state.step + 1,
                self._place(step),
            )
        return False

    def _place(self, step: Step) -> str:
        """The rows of a step, by file and line."""
        rows = self.data[step.task].train
        batches = self.timeline.batching[step.task].batches(step.pass_index)[step.start : step.stop]
        lines = sorted({int(rows.lines[row]) for batch in batches for row in batch})
        shown = ", ".join(map(str, lines[:20])) + (", ..." if len(lines) > 20 else "")
        return f"on the rows {rows.path}: {shown}"

    def _out_of_memory(self, step: Step) -> str:
        rows, batching = self.data[step.task].train, self.timeline.batching[step.task]
        batches = batching.batches(step.pass_index)[step.start : step.stop]
        size = max(len(batch) for batch in batches)
        longest = max(int(rows.lengths[batch].max()) for batch in batches)
        return (
            f"out of memory at step {self.state.step + 1}, in a batch of {step.task} with {size:,} rows of up"
            f" to {longest:,} tokens, {self._place(step)}; try a smaller `batch_size` (with"
            " `trainer.accumulate_batches` the mathematics stays the same) or a limit in `batch_tokens`"
        )

    def _report(self, epoch: int, observer: Observer) -> None:
        rates = [group["lr"] for group in self.optimizer.param_groups]
        for task, progress in self.state.tasks.items():
            if progress.rows > progress.reported["rows"]:
                figures = progress.report()
                if figures["loss"] is not None and not math.isfinite(figures["loss"]):
                    raise MtlError(
                        f"the loss of {task} is {figures['loss']} within the last"
                        f" {self.config.report_every_steps} steps before step {self.state.step}"
                    )
                observer.record(
                    {
                        "kind": "train",
                        "step": self.state.step,
                        "epoch": epoch,
                        "task": task,
                        **figures,
                        **({"skipped": progress.skipped} if progress.skipped else {}),
                        "lr": rates[0],
                    }
                )

    def _evaluation_due(self, epoch_ended: bool) -> bool:
        every = self.config.evaluate_every_steps
        if self.state.step == self.timeline.total_steps:
            return True
        return self.state.step % every == 0 if every else epoch_ended

    def _evaluate(self, epoch: int, observer: Observer) -> None:
        """Score all evaluation data, keep the best, lower the rate or stop where asked to."""
        with self.averages.in_place() if self.averages is not None else nullcontext():
            with self._timed("eval"):
                figures = self.evaluate("eval")
            for task, values in figures.items():
                observer.record(
                    {"kind": "eval", "step": self.state.step, "epoch": epoch, "task": task, **values}
                )
            evaluation = Best(self.state.step, epoch, self.selection.value(figures), figures)
            observer.evaluated(self._is_best(evaluation), evaluation)
        if self.lr_by_metric and evaluation.value is not None:
            self.lr_scheduler.step(evaluation.value)  # type: ignore[arg-type]

    def _is_best(self, evaluation: Best) -> bool:
        """Whether this is the best evaluation so far; counts those that are not, for an early stop."""
        value, kept = evaluation.value, self.state.best.value if self.state.best else None
        best = kept is None if value is None else self.selection.is_better(value, kept)
        if best:
            self.state.best = evaluation
        stale = 0 if best else self.state.evaluations_without_improvement + 1
        self.state.evaluations_without_improvement = stale
        if self.config.early_stop_after is not None and stale >= self.config.early_stop_after:
            self.state.stopped_early = True
        return best

    def evaluate(self, split: str) -> dict[str, dict[str, Any]]:
        """The figures of every task that has rows in `split`."""
        precision = PRECISIONS[self.config.precision]
        return {
            name: evaluate(task, self.model.tasks[name], rows, device=self.device, precision=precision)
            for name, task in self.tasks.items()
            if (rows := self.data[name].splits[split]) is not None  # type: ignore[index]
        }

    def checkpoint(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Everything that the next step depends on."""
        optimizer_tensors, optimizer = flatten_optimizer(self.optimizer)
        parts: dict[str, Mapping[str, Tensor]] = {
            "model": dict(unique_tensors(self.model)),
            "optimizer": optimizer_tensors,
            "balancer": self.balancer.state_dict(),
            "average": self.averages.averages if self.averages is not None else {},
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
        }
        return tensors, state

    def restore(self, tensors: Mapping[str, Tensor], state: Mapping[str, Any], source: Path) -> None:
        """Take back what `checkpoint` gave. Raises `UsageError` for what does not fit this run."""
        parts = {name: part(tensors, name) for name in PARTS}
        strange = [name for name in tensors if name.partition(".")[0] not in PARTS]
        try:
            if strange:
                raise ValueError(f"{strange[0]} does not belong there")
            assign_tensors(dict(unique_tensors(self.model)), parts["model"], str(source))
            restore_optimizer(self.optimizer, parts["optimizer"], state["optimizer"])
            self.balancer.load_state_dict(parts["balancer"])
            self.lr_scheduler.load_state_dict(dict(state["lr_scheduler"]))
            self.scaler.load_state_dict(dict(state["scaler"]))
            if self.averages is not None:
                self.averages.restore(parts["average"], str(source))
            self.state.restore(state["training"], parts["report"])
        except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
            reason = f"{type(error).__name__}: {error}"
            raise UsageError(f"{source}: this state does not fit the run: {reason}") from error

    @contextmanager
    def _timed(self, phase: str) -> Iterator[None]:
        begun = perf_counter()
        with record_function(phase) if torch.autograd.profiler._is_profiler_enabled else nullcontext():
            yield
        self.state.seconds[phase] += perf_counter() - begun


def fresh_state(tasks: Mapping[str, Task[Any]], device: torch.device) -> TrainingState:
    """The state before the first step."""
    zero = torch.zeros((), dtype=torch.float64, device=device)
    return TrainingState(
        {name: TaskProgress(loss_total=zero.clone(), loss_weight=zero.clone()) for name in tasks}
    )
