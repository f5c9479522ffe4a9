"""Optimizers, learning-rate schedulers, schedules and the static weights."""

from __future__ import annotations

from mtl.components import ComponentSpec
from mtl.hookspecs import hookimpl

mtl_api = ">=1,<2"


def _spec(module: str, name: str, summary: str) -> ComponentSpec:
    return ComponentSpec(
        name=name,
        config=f"mtl.builtin.config:{name}Config",
        factory=f"mtl.builtin.{module}:{name}",
        summary=summary,
    )


@hookimpl
def mtl_optimizers() -> list[ComponentSpec]:
    return [
        _spec("optimizers", "Adam", "Adam (Kingma and Ba 2015)"),
        _spec("optimizers", "AdamW", "Adam with decoupled weight decay (Loshchilov and Hutter 2019)"),
        _spec("optimizers", "SGD", "Stochastic gradient descent, with momentum where asked for"),
    ]


@hookimpl
def mtl_lr_schedulers() -> list[ComponentSpec]:
    return [
        _spec("lr_schedulers", "Constant", "The same rate throughout, after a warm-up"),
        _spec("lr_schedulers", "Linear", "Warm-up, then down in a straight line"),
        _spec("lr_schedulers", "Cosine", "Warm-up, then down along half a cosine"),
        _spec(
            "lr_schedulers", "ReduceOnPlateau", "Reduces the rate when the selecting metric stops improving"
        ),
    ]


@hookimpl
def mtl_schedules() -> list[ComponentSpec]:
    return [
        _spec("schedules", "RoundRobin", "One step of each task in turn"),
        _spec("schedules", "Joint", "A batch of every task in each step"),
        _spec("schedules", "Shuffled", "All batches of all tasks, each once, in random order"),
        _spec("schedules", "Proportional", "Tasks drawn at random, as often as they have data"),
        _spec("schedules", "Temperature", "Tasks drawn at random, small ones more often than by size"),
        _spec("schedules", "Weighted", "Tasks drawn at random with given weights"),
        _spec("schedules", "Annealed", "Tasks drawn at random, from one distribution to another"),
        _spec("schedules", "Stepwise", "Tasks drawn at random, with other weights from given steps on"),
        _spec("schedules", "Dynamic", "Tasks drawn at random, those more often that are far from their goal"),
        _spec("schedules", "Sequential", "All of one task's data, then all of the next"),
    ]


@hookimpl
def mtl_balancers() -> list[ComponentSpec]:
    return [_spec("balancers", "StaticWeights", "Each task's loss times its weight in task_weights")]
