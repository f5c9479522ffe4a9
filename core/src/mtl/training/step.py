"""One optimizer step: the gradients of its batches, weighed against each other, and the update."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from time import perf_counter
from typing import Any

import torch
from attrs import define, field
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler
from torch.profiler import record_function

from mtl.components import Balancer, Task
from mtl.config.run_config import TrainerConfig
from mtl.data.batching import Batching, seed_step
from mtl.data.columns import Batch
from mtl.data.load import TaskData
from mtl.data.prefetch import Prefetcher
from mtl.errors import MtlError, component_errors, is_out_of_memory
from mtl.model import MultitaskModel
from mtl.training.averages import WeightAverages
from mtl.training.conflicts import GradientComparison
from mtl.training.evaluation import autocast
from mtl.training.state import StepSums, TrainingState
from mtl.training.timeline import Part, Step

logger = logging.getLogger("mtl")

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

Gradients = dict[nn.Parameter, Tensor]
Place = tuple[str, int, int]
"""A batch: its task, the pass over the task's data, and which one it is in that."""


@define(eq=False)
class Stepper:
    """Takes the steps of a phase, one by one.

    `lr_scheduler` is None where the rate follows the evaluations; `first_step` counts the steps before the
    phase; `compared` are the figures of gradients that were compared in the last step.
    """

    config: TrainerConfig
    tasks: Mapping[str, Task[Any]]
    data: Mapping[str, TaskData]
    batching: Mapping[str, Batching]
    model: MultitaskModel
    optimizer: torch.optim.Optimizer
    lr_scheduler: LRScheduler | None
    balancer: Balancer[Any]
    scaler: torch.amp.GradScaler
    averages: WeightAverages | None
    comparison: GradientComparison | None
    device: torch.device
    seed: int
    state: TrainingState
    first_step: int = 0
    compared: list[dict[str, Any]] = field(init=False, factory=list)
    parameters: list[nn.Parameter] = field(init=False)
    prefetches: bool = field(init=False)
    _prefetcher: Prefetcher[Place] | None = field(init=False, default=None)

    def __attrs_post_init__(self) -> None:
        # A CPU would make batches ready on the cores that compute.
        self.prefetches = self.device.type == "cuda"
        self.parameters = [p for group in self.optimizer.param_groups for p in group["params"]]

    def take(self, step: Step) -> None:
        """Move the parameters by the batches of a step, and count it. A step without parts is counted only.

        Parameters that no task of the step uses have no gradient, so that no optimizer moves them.
        """
        # Dropout is a function of (seed, step): nothing that ran before can shift it.
        seed_step(self.seed, self.state.step)
        self.optimizer.zero_grad(set_to_none=True)
        self.compared = []
        try:
            usable = not step.parts or self._take(step)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise MtlError(self._out_of_memory(step)) from error
        if usable and self.lr_scheduler is not None:
            with component_errors(self.lr_scheduler, f"after step {self.state.step + 1}"):
                self.lr_scheduler.step()
        self.state.step += 1

    def _take(self, step: Step) -> bool:
        """Whether the parameters have moved: where a loss is no number they stay."""
        sums: list[StepSums] = []
        usable = True
        gradients: list[Gradients] = []
        means: dict[str, Tensor] = {}
        for part in step.parts:
            begun = perf_counter()
            sums.append(self._gradient(part))
            with Timed(self.state, "optimizer", part.task):
                mean = torch.as_tensor(sums[-1].total / sums[-1].weight)
                usable = self._is_usable(part, mean) and usable
                if usable:
                    self._weigh(part, sums[-1], mean)
                if usable and self.comparison is not None:
                    self.compared += self.comparison.note(
                        part.task, self.state.step, self.state.stopped, self.scaler.get_scale
                    )
                if len(step.parts) > 1:
                    gradients.append(self._taken())
                    means[part.task] = mean
            sums[-1].seconds = perf_counter() - begun
        begun = perf_counter()
        with Timed(self.state, "optimizer", *(part.task for part in step.parts)):
            if usable and gradients:
                self._combine(gradients, means)
            if usable:
                self._update(step)
        for part, each in zip(step.parts, sums, strict=True):
            each.seconds += (perf_counter() - begun) / len(sums)
            self._count(part, each, usable)
        return usable

    def _gradient(self, part: Part) -> StepSums:
        """Add up the gradients of a part's batches: of the mean loss where there is one batch, else of the
        summed one."""
        model, sums = self.model.tasks[part.task], StepSums()
        with component_errors(self.tasks[part.task], f"to train on step {self.state.step + 1} ({part.task})"):
            for batch in self._batches(part):
                with (
                    Timed(self.state, "forward", part.task),
                    autocast(self.device, PRECISIONS[self.config.precision]),
                ):
                    loss = model(batch).loss
                with Timed(self.state, "backward", part.task):
                    single = part.stop - part.start == 1
                    self.scaler.scale(loss.total / loss.weight if single else loss.total).backward()
                sums.add(loss, batch)
        return sums

    def look_ahead(self, steps: Sequence[Step]) -> None:
        """Let the batches of these steps be made ready while the ones before are computed, where that pays.

        They must be taken in order; parts may be left out. `rest` ends it.
        """
        self.rest()
        if self.prefetches:
            places = [
                (part.task, part.pass_index, number)
                for step in steps
                for part in step.parts
                for number in range(part.start, part.stop)
            ]
            self._prefetcher = Prefetcher(places, self._cut, self.device)
            self._prefetcher.start()

    def rest(self) -> None:
        """Make no more batches ready."""
        if self._prefetcher is not None:
            self._prefetcher.stop()
            self._prefetcher = None

    def _batches(self, part: Part) -> Iterator[Batch]:
        for number in range(part.start, part.stop):
            place = (part.task, part.pass_index, number)
            with Timed(self.state, "data", part.task):
                if self._prefetcher is not None:
                    batch = self._prefetcher.take(place)
                else:
                    batch = self._cut(place).to(self.device)
            yield batch

    def _cut(self, place: Place) -> Batch:
        task, pass_index, number = place
        rows = self.batching[task].batches(pass_index)[number]
        return self.data[task].train.batch(rows, pin=self.device.type == "cuda")

    def _weigh(self, part: Part, sums: StepSums, mean: Tensor) -> None:
        """Scale a part's gradient to that of its mean loss times its factor, and to its task's norm."""
        with component_errors(self.balancer, f"to weigh step {self.state.step + 1}"):
            factor = self.balancer.factor(part.task, mean)
        scale = factor / (sums.weight if sums.batches > 1 else 1.0)
        if isinstance(scale, Tensor) or scale != 1.0:
            torch._foreach_mul_([p.grad for p in self.parameters if p.grad is not None], scale)
        limit = self.tasks[part.task].config.max_clip_norm
        if limit is not None:
            nn.utils.clip_grad_norm_(self.parameters, limit * self.scaler.get_scale())

    def _taken(self) -> Gradients:
        """The gradients as they are; the parameters have none afterwards."""
        gradients = {p: p.grad for p in self.parameters if p.grad is not None}
        for parameter in gradients:
            parameter.grad = None
        return gradients

    def _combine(self, gradients: Sequence[Gradients], losses: Mapping[str, Tensor]) -> None:
        """Give the parameters the sum of the tasks' gradients, or what the balancer makes of those that
        several tasks reach."""
        reached = Counter(parameter for each in gradients for parameter in each)
        shared = [p for p in self.parameters if reached[p] > 1] if self.balancer.combines else []
        for each in gradients:
            for parameter in each.keys() - set(shared):
                before, gradient = parameter.grad, each[parameter]
                parameter.grad = gradient if before is None else before + gradient
        if not shared:
            return
        scale, sizes = self.scaler.get_scale(), [p.numel() for p in shared]
        rows = torch.zeros(len(gradients), sum(sizes), device=self.device)
        for row, each in zip(rows, gradients, strict=True):
            for parameter, place in zip(shared, torch.split(row, sizes), strict=True):
                if parameter in each:
                    torch.div(each[parameter].flatten(), scale, out=place)
        with component_errors(self.balancer, f"to combine the gradients of step {self.state.step + 1}"):
            combined = self.balancer.combine(rows, losses)
            if combined.shape != rows.shape[1:]:
                raise ValueError(f"it gave {list(combined.shape)} for {list(rows.shape[1:])}")
        for parameter, gradient in zip(shared, torch.split(combined, sizes), strict=True):
            parameter.grad = (gradient * scale).view_as(parameter).to(parameter.dtype)

    def _update(self, step: Step) -> None:
        """Clip the gradient and move the parameters."""
        if self.config.max_clip_norm is not None:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.parameters, self.config.max_clip_norm)
        with (
            component_errors(self.optimizer, f"to take step {self.state.step + 1}"),
            self._rate(self.tasks[step.parts[0].task].config.lr_factor),
        ):
            self.scaler.step(self.optimizer)
        self.scaler.update()
        if self.averages is not None:
            self.averages.update(self.state.step + 1 - self.first_step)

    @contextmanager
    def _rate(self, factor: float) -> Iterator[None]:
        """The learning rates times a task's factor."""
        groups = self.optimizer.param_groups if factor != 1.0 else []
        rates = [group["lr"] for group in groups]
        for group in groups:
            group["lr"] = group["lr"] * factor
        yield
        for group, rate in zip(groups, rates, strict=True):
            group["lr"] = rate

    def _count(self, part: Part, sums: StepSums, usable: bool) -> None:
        progress = self.state.tasks[part.task]
        progress.add(sums, usable=usable)
        progress.batch = part.stop
        if part.stop == self.batching[part.task].count(part.pass_index):
            progress.pass_index, progress.batch, progress.rows_in_pass = part.pass_index + 1, 0, 0

    def _is_usable(self, part: Part, mean: Tensor) -> bool:
        """Whether a part's loss, and with `skip` its gradient, is a number to go on with."""
        skip = self.config.on_nonfinite_loss == "skip"
        # Reading a figure makes a GPU wait for it, so there it is checked at reports only.
        if not skip and self.device.type != "cpu":
            return True
        finite = math.isfinite(mean.item())
        if skip and finite and not self.scaler.is_enabled():
            gradients = [p.grad for p in self.parameters if p.grad is not None]
            finite = bool(nn.utils.get_total_norm(gradients).isfinite())
        if finite:
            return True
        if not skip:
            raise MtlError(
                f"the loss of {part.task} is {mean.item()} at step {self.state.step + 1},"
                f" {self._place(part)}; try a lower learning rate or trainer.max_clip_norm"
            )
        if not self.state.tasks[part.task].skipped:
            logger.warning(
                "the loss or gradient of %s is not finite at step %d, %s; such steps are skipped",
                part.task,
                self.state.step + 1,
                self._place(part),
            )
        return False

    def _place(self, part: Part) -> str:
        """The rows of a part, by file and line."""
        rows = self.data[part.task].train
        batches = self.batching[part.task].batches(part.pass_index)[part.start : part.stop]
        lines = sorted({int(rows.lines[row]) for batch in batches for row in batch})
        shown = ", ".join(map(str, lines[:20])) + (", ..." if len(lines) > 20 else "")
        return f"on the rows {rows.path}: {shown}"

    def _out_of_memory(self, step: Step) -> str:
        """What to do about the part of the step with the largest batch."""
        size, longest, part = max(
            (
                (len(batch), int(self.data[part.task].train.lengths[batch].max()), part)
                for part in step.parts
                for batch in self.batching[part.task].batches(part.pass_index)[part.start : part.stop]
            ),
            key=lambda found: found[0] * found[1],
        )
        return (
            f"out of memory at step {self.state.step + 1}, in a batch of {part.task} with {size:,} rows of up"
            f" to {longest:,} tokens, {self._place(part)}; try a smaller `batch_size` (with"
            " `accumulate_batches` the mathematics stays the same) or a limit in `batch_tokens`"
        )


class Timed:
    """Counts the time of what is done within, for these tasks together; a profiler shows it under the name
    of the phase."""

    # A generator would do, but these stand around each part of a step: that took 1 % of a small one.
    __slots__ = ("_begun", "_phase", "_profiled", "_state", "_tasks")

    def __init__(self, state: TrainingState, phase: str, *tasks: str) -> None:
        self._state, self._phase, self._tasks = state, phase, tasks

    def __enter__(self) -> None:
        self._profiled = (
            record_function(self._phase) if torch.autograd.profiler._is_profiler_enabled else nullcontext()
        )
        self._begun = perf_counter()
        self._profiled.__enter__()

    def __exit__(self, *error: Any) -> None:
        self._profiled.__exit__(*error)
        seconds = perf_counter() - self._begun
        self._state.seconds[self._phase] += seconds
        for task in self._tasks:
            self._state.tasks[task].time[self._phase] += seconds / len(self._tasks)
