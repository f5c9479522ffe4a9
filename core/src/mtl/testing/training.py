"""Rules for optimizers, learning-rate schedulers, schedules and balancers. Their state must be complete:
`--resume` continues from what they save in a checkpoint."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice, product
from typing import Any

import torch
from attrs import evolve, frozen
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from mtl.components import Balancer, Epoch, Schedule
from mtl.data.batching import seed_generators
from mtl.testing.bench import Bench
from mtl.testing.checks import Failed, rule
from mtl.training.checkpoint import flatten_optimizer, restore_optimizer

STEPS = 12
SIZES = {"First": 3, "Second": 7, "Third": 1}
WEIGHTS = {"First": 1.0, "Second": 0.5, "Third": 2.0}
LOSSES = (2.0, 0.5, 1.5, 0.25)
RATE = 0.5


@frozen(slots=False)
class OptimizerBench(Bench):
    """An optimizer, with two parameters; the second one's task comes later."""

    def start(self) -> tuple[list[nn.Parameter], Optimizer]:
        """Return parameters and an optimizer of them."""
        generator = torch.Generator().manual_seed(1)
        parameters = [nn.Parameter(torch.randn(4, 3, generator=generator)) for _ in range(2)]
        optimizer = self.factory(self.config, iter(parameters))
        if not isinstance(optimizer, Optimizer):
            raise Failed(f"the factory must give a torch Optimizer, but gave {type(optimizer).__name__}")
        return parameters, optimizer


def _step(parameters: Iterable[nn.Parameter], optimizer: Optimizer) -> float:
    """Take a step that lowers the squared norm of some parameters; the others have no gradient."""
    optimizer.zero_grad(set_to_none=True)
    loss = torch.stack([parameter.square().sum() for parameter in parameters]).sum()
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return loss.item()


@rule("an optimizer that does not minimize trains nothing")
def goes_down(bench: OptimizerBench) -> None:
    """Steps lower a convex loss."""
    parameters, optimizer = bench.start()
    losses = [_step(parameters, optimizer) for _ in range(STEPS)]
    if not losses[-1] < losses[0]:
        raise Failed(f"the loss was {losses[0]:.4f} and is {losses[-1]:.4f} after {STEPS} steps")


@rule("tasks that are not in a step must not move, momentum and weight decay included")
def leaves_idle_parameters(bench: OptimizerBench) -> None:
    """A parameter without a gradient does not change, before its first gradient and after."""
    parameters, optimizer = bench.start()
    for turn in ("before its first gradient", "after it has had one"):
        before = parameters[1].detach().clone()
        for _ in range(3):
            _step(parameters[:1], optimizer)
        if not torch.equal(before, parameters[1]):
            raise Failed(f"a parameter without a gradient moves, {turn}")
        _step(parameters, optimizer)


@rule("resuming must not change the result")
def resumes_exactly(bench: OptimizerBench) -> None:
    """With its state restored from a checkpoint, it takes the same steps, bit for bit."""
    parameters, optimizer = bench.start()
    for turn in range(3):
        _step(parameters[: 1 + turn % 2], optimizer)
    tensors, rest = flatten_optimizer(optimizer)
    kept = [parameter.detach().clone() for parameter in parameters]
    tensors = {name: tensor.clone() for name, tensor in tensors.items()}
    rest = json.loads(json.dumps(rest))
    again, other = bench.start()
    with torch.no_grad():
        for parameter, value in zip(again, kept, strict=True):
            parameter.copy_(value)
    restore_optimizer(other, tensors, rest)
    for _ in range(3):
        _step(parameters, optimizer)
        _step(again, other)
    if not all(map(torch.equal, parameters, again)):
        raise Failed("a step differs after the state was restored")


# --- learning-rate schedulers ------------------------------------------------------------------------


@frozen(slots=False)
class LRSchedulerBench(Bench):
    """A learning-rate scheduler of an optimizer that does nothing else."""

    def start(self, total_steps: int = STEPS) -> tuple[Optimizer, LRScheduler]:
        """Return an optimizer and its scheduler."""
        optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=RATE)
        made = self.factory(self.config, optimizer, total_steps=total_steps, higher_is_better=True)
        if not isinstance(made, LRScheduler):
            raise Failed(f"the factory must give a scheduler of torch, but gave {type(made).__name__}")
        return optimizer, made

    def rates(self, optimizer: Optimizer, scheduler: LRScheduler, steps: int) -> list[float]:
        """Return the rate of each step, stepped as in training: by the metric or after every step."""
        rates = []
        for step in range(steps):
            rates.append(float(optimizer.param_groups[0]["lr"]))
            optimizer.step()
            if self.config.by_metric:
                scheduler.step(0.9 if step == 0 else 0.5)  # type: ignore[arg-type]
            else:
                scheduler.step()
        return rates


@rule("a negative rate ascends, and NaN ends the run")
def gives_sound_rates(bench: LRSchedulerBench) -> None:
    """In runs of one step and of many, each rate is finite and not negative, and not all are zero."""
    for total in (1, 2, STEPS):
        rates = bench.rates(*bench.start(total), total)
        if not all(math.isfinite(rate) and rate >= 0 for rate in rates) or not any(rates):
            raise Failed(f"the rates of {total} steps are {rates}")


@rule("the trainer steps it after evaluations or after every step accordingly")
def is_stepped_as_declared(bench: LRSchedulerBench) -> None:
    """It declares `by_metric` if and only if its `step` takes a metric."""
    _, scheduler = bench.start()
    if isinstance(scheduler, ReduceLROnPlateau) != bench.config.by_metric:
        raise Failed(f"`by_metric` is {bench.config.by_metric}, but it is a {type(scheduler).__name__}")


@rule("resuming must not change the result")
def resumes_its_rates(bench: LRSchedulerBench) -> None:
    """With its state restored from JSON, it gives the same rates."""
    optimizer, scheduler = bench.start()
    bench.rates(optimizer, scheduler, STEPS // 2)
    state = json.loads(json.dumps(scheduler.state_dict()))
    rate = optimizer.param_groups[0]["lr"]
    expected = bench.rates(optimizer, scheduler, STEPS // 2)
    other, again = bench.start()
    other.param_groups[0]["lr"] = rate
    again.load_state_dict(state)
    if bench.rates(other, again, STEPS // 2) != expected:
        raise Failed("the rates differ after the state was restored")


# --- schedules ---------------------------------------------------------------------------------------


def _schedule(bench: Bench) -> Schedule[object]:
    schedule = bench.factory(bench.config)
    if not isinstance(schedule, Schedule):
        raise Failed(f"the factory must give a Schedule, but gave {type(schedule).__name__}")
    return schedule


def _order(bench: Bench, sizes: Mapping[str, int], number: int, **epoch: Any) -> list[str]:
    """Return the tasks of the first steps, `number` at most; those of one step one after the other."""
    described = Epoch(sizes=sizes, **{"cycle": True, "seed": 1, **epoch})
    steps = islice(_schedule(bench).order(described), number)
    return [task for step in steps for task in ([step] if isinstance(step, str) else step)]


def _counts(tasks: Iterable[str], sizes: Mapping[str, int]) -> dict[str, int]:
    counts = dict.fromkeys(sizes, 0)
    for task in tasks:
        if task not in counts:
            raise Failed(f"it names the task {task!r}, which does not exist")
        counts[task] += 1
    return counts


@rule("an epoch of all datasets contains each row once")
def gives_each_step_once(bench: Bench) -> None:
    """Without `cycle`, each task appears exactly as often as it has steps, and then the order ends."""
    for sizes in (SIZES, {"First": 4}, {"First": 2, "Second": 0}):
        steps = sum(sizes.values())
        order = _order(bench, sizes, steps + 10, cycle=False)
        if _counts(order, sizes) != sizes:
            raise Failed(f"for {sizes} it gives {_counts(order, sizes)}")


@rule("an epoch that one dataset defines continues until that dataset ends")
def never_ends_in_a_cycle(bench: Bench) -> None:
    """With `cycle`, the order is endless, and every task keeps appearing."""
    wanted = 40 * sum(SIZES.values())
    order = _order(bench, SIZES, wanted)
    if len(order) < wanted:
        raise Failed(f"it ends after {len(order)} steps")
    never = [task for task, count in _counts(order[wanted // 2 :], SIZES).items() if not count]
    if never:
        raise Failed(f"{', '.join(never)} no longer appears")


@rule("the order is computed before the first step, and again when a run is resumed")
def orders_alike(bench: Bench) -> None:
    """The same seed gives the same order at every call and from every object, and in every epoch unless it
    `adapts`."""
    schedule = _schedule(bench)
    for cycle in (False, True):
        epoch = Epoch(sizes=SIZES, cycle=cycle, seed=3)
        orders = [list(islice(each.order(epoch), 30)) for each in (schedule, schedule, _schedule(bench))]
        if orders[0] != orders[1] or orders[0] != orders[2]:
            raise Failed("two orders of the same seed differ")
        later = evolve(epoch, index=4, epochs=9, first_step=50, scores={task: [0.5] for task in SIZES})
        later = evolve(later, higher_is_better=dict.fromkeys(SIZES, True))
        if not schedule.adapts and list(islice(schedule.order(later), 30)) != orders[0]:
            raise Failed("a later epoch of the same seed has another order, but `adapts` is False")


# --- balancers ---------------------------------------------------------------------------------------


def _balancer(bench: Bench) -> Balancer[object]:
    balancer = bench.factory(bench.config, tasks=WEIGHTS)
    if not isinstance(balancer, Balancer):
        raise Failed(f"the factory must give a Balancer, but gave {type(balancer).__name__}")
    return balancer


TURNS = (("First", "Second", "Third"), ("Second",), ("Third", "First"))
"""The tasks of steps: of one task, as most schedules have them, and joint ones, of all tasks and of some."""
SHARED = 6
ROWS = {
    "any gradients": (1.0, -2.0, 0.5),
    "a gradient of zeros": (1.0, 0.0, 1.0),
    "nothing but zeros": (0.0, 0.0, 0.0),
    "very small gradients": (1e-15, -1e-15, 3e-15),
    "gradients of very different scales": (1e-12, -1.0, 1e12),
}
"""What the rows of noise are multiplied by, of gradients that a balancer must take."""


def _factors(balancer: Balancer[object], losses: Iterable[float]) -> list[float]:
    """Return the factors of steps; what combines also gets the gradients of the joint ones."""
    return [factor for factors, _ in _walk(balancer, losses) for factor in factors]


def _walk(balancer: Balancer[object], losses: Iterable[float]) -> Iterator[tuple[list[float], Tensor]]:
    """Yield the factors and the combined gradient of each step, with torch seeded as the loop does."""
    for step, (loss, tasks) in enumerate(product(losses, TURNS)):
        seed_generators(1, "step", step)
        means = {task: torch.tensor(loss) for task in tasks}
        factors = [_factor(balancer, task, mean) for task, mean in means.items()]
        joint = balancer.combines and len(tasks) > 1
        gradients = torch.tensor(factors)[:, None] * _noise(step, len(tasks))
        yield factors, balancer.combine(gradients, means) if joint else gradients.sum(0)


def _factor(balancer: Balancer[object], task: str, loss: Tensor) -> float:
    factor = balancer.factor(task, loss)
    if not (isinstance(factor, Tensor) and not factor.dim()) and not isinstance(factor, float | int):
        raise Failed(f"`factor` must give a number, but gives {factor!r}")
    return float(factor)


def _noise(seed: int, tasks: int) -> Tensor:
    return torch.randn(tasks, SHARED, generator=torch.Generator().manual_seed(seed))


@rule("a negative factor trains a task backwards, and NaN ends the run")
def gives_sound_factors(bench: Bench) -> None:
    """Every factor is finite and not negative, and the same for the same losses."""
    factors = _factors(_balancer(bench), LOSSES)
    if not all(math.isfinite(factor) and factor >= 0 for factor in factors):
        raise Failed(f"the factors are {factors}")
    if factors != _factors(_balancer(bench), LOSSES):
        raise Failed("the same losses get different factors")


def _unusual() -> Iterator[tuple[str, Tensor]]:
    """Yield gradients of all tasks, and what is special about them."""
    noise = _noise(0, len(WEIGHTS))
    for name, scales in ROWS.items():
        yield name, torch.tensor(scales)[:, None] * noise
    yield "the same gradient thrice", noise[:1].repeat(len(WEIGHTS), 1)
    yield "opposite gradients", torch.stack([noise[0], -noise[0], noise[1]])


@rule("NaN ends the run, and another shape or type fits no parameter")
def combines_any_gradients(bench: Bench) -> None:
    """For any gradients, `combine` returns finite float32 numbers, one per column."""
    losses = {task: torch.tensor(1.0) for task in WEIGHTS}
    for name, gradients in _unusual():
        balancer = _balancer(bench)
        for task, loss in losses.items():
            balancer.factor(task, loss)
        combined = balancer.combine(gradients, losses)
        if combined.shape != (SHARED,) or combined.dtype != torch.float32:
            raise Failed(f"it gives {combined.dtype} of shape {list(combined.shape)}, not [{SHARED}]")
        if not combined.isfinite().all():
            raise Failed(f"for {name} it gives {combined.tolist()}")


@rule("other measurements of the step would be wrong")
def leaves_gradients(bench: Bench) -> None:
    """`combine` does not modify the gradients that it is given."""
    balancer, losses = _balancer(bench), {task: torch.tensor(1.0) for task in WEIGHTS}
    for name, gradients in _unusual():
        before = gradients.clone()
        balancer.combine(gradients, losses)
        if not torch.equal(before, gradients):
            raise Failed(f"it changes {name}")


@rule("resuming must not change the result")
def resumes_its_factors(bench: Bench) -> None:
    """With its tensors restored from a checkpoint, it gives the same factors and combined gradients."""
    balancer = _balancer(bench)
    _factors(balancer, LOSSES)
    state = {name: tensor.clone() for name, tensor in balancer.state_dict().items()}
    again = _balancer(bench)
    again.load_state_dict(state)
    for expected, found in zip(_walk(balancer, LOSSES), _walk(again, LOSSES), strict=True):
        if found[0] != expected[0]:
            raise Failed("the factors differ after the state was restored")
        if not torch.equal(found[1], expected[1]):
            raise Failed("the combined gradients differ after the state was restored")


OPTIMIZER = (goes_down, leaves_idle_parameters, resumes_exactly)
LR_SCHEDULER = (gives_sound_rates, is_stepped_as_declared, resumes_its_rates)
SCHEDULE = (gives_each_step_once, never_ends_in_a_cycle, orders_alike)
BALANCER = (gives_sound_factors, combines_any_gradients, leaves_gradients, resumes_its_factors)
