"""Which evaluation is the best, as the config alone decides. Free of torch and of data."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any

from attrs import evolve, frozen

from mtl.components import Metric
from mtl.config.run_config import RunConfig


@frozen
class Selection:
    """The rule that compares evaluations, on evaluation data alone.

    One task counts by its metric. Several count by the mean of their metrics' scores (`score`), weighted
    with `weights`. An evaluation in which a metric is undefined has no value: it is never the best.
    """

    metrics: Mapping[str, Metric]
    weights: Mapping[str, float]
    keeps_last: bool = False

    @property
    def name(self) -> str:
        """The name of `value` in the results."""
        if not self.metrics:
            return "last"
        if len(self.metrics) > 1:
            return "mean_score"
        task, metric = next(iter(self.metrics.items()))
        return f"{task}.{metric.name}"

    @property
    def higher_is_better(self) -> bool:
        """The direction of `value`."""
        return len(self.metrics) > 1 or all(metric.higher_is_better for metric in self.metrics.values())

    @property
    def rule(self) -> str:
        """How `value` follows from the metrics, in words."""
        if len(self.metrics) < 2:
            return f"{self.name}, {'higher' if self.higher_is_better else 'lower'} is better"
        terms = []
        for task, metric in self.metrics.items():
            weight = self.weights[task]
            terms.append(f"{'' if weight == 1 else f'{weight:g} * '}{score_text(metric, task)}")
        weighted = "mean" if len(set(self.weights.values())) == 1 else "weighted mean"
        return f"{weighted} of {', '.join(terms)}; higher is better"

    @property
    def text(self) -> str:
        """What model the run keeps, in words."""
        if not self.metrics:
            return "the last model, as there is no evaluation data"
        if self.keeps_last:
            return "the last model, as trainer.keep_model says; nothing is selected"
        return self.rule

    def undefined(self, metrics: Mapping[str, Mapping[str, Any]]) -> list[str]:
        """Return the tasks of an evaluation, `{task: {name: value}}`, whose metric is undefined."""
        return [
            task
            for task, metric in self.metrics.items()
            if task in metrics and metrics[task].get(metric.name) is None
        ]

    def value(self, metrics: Mapping[str, Mapping[str, Any]]) -> float | None:
        """Return the value of an evaluation, `{task: {name: value}}`; None if one of the metrics is undefined
        or its task was not evaluated."""
        values: dict[str, float] = {
            task: metrics[task][metric.name]
            for task, metric in self.metrics.items()
            if task in metrics and metrics[task].get(metric.name) is not None
        }
        if not values or len(values) < len(self.metrics):
            return None
        if len(values) == 1:
            return float(next(iter(values.values())))
        total = sum(self.weights[task] * score(self.metrics[task], value) for task, value in values.items())
        return float(total / sum(self.weights[task] for task in values))

    def is_better(self, value: float, best: float | None) -> bool:
        """Return whether `value` beats the best so far."""
        return best is None or (value > best if self.higher_is_better else value < best)


def score(metric: Metric, value: float) -> float:
    """Return a metric's value on a scale where higher is better and gains of different metrics compare.

    A metric with both bounds scores its position between them, from 0 to 1; one with a single bound the
    logarithm of 1 plus the distance to the bound; one without bounds the inverse hyperbolic sine, which is
    linear about 0 and logarithmic far from it. So each score is defined for, and increases or decreases
    with, every finite value.
    """
    low, high = metric.minimum, metric.maximum
    value = max(value, low) if low is not None else value
    value = min(value, high) if high is not None else value
    if low is not None and high is not None:
        gain = value - low if metric.higher_is_better else high - value
        return gain / (high - low)
    if low is not None:
        distance = math.log1p(value - low)
    elif high is not None:
        distance = -math.log1p(high - value)
    else:
        distance = math.asinh(value)
    return distance if metric.higher_is_better else -distance


def score_text(metric: Metric, task: str) -> str:
    """Return the formula of `score` for a task's metric."""
    name, low, high, sign = f"{task}.{metric.name}", metric.minimum, metric.maximum, ""
    if low is not None and high is not None:
        if metric.higher_is_better:
            text = name if low == 0 else f"({name} - {low:g})".replace("- -", "+ ")
        else:
            text = f"({high:g} - {name})"
        return text if high - low == 1 else f"{text} / {high - low:g}"
    if low is not None:
        sign = "" if metric.higher_is_better else "-"
        return f"{sign}log({name})" if low == 1 else f"{sign}log(1 + {name} - {low:g})".replace(" - 0)", ")")
    if high is not None:
        sign = "-" if metric.higher_is_better else ""
        return f"{sign}log({1 + high:g} - {name})"
    return f"{'' if metric.higher_is_better else '-'}asinh({name})"


def selection(config: RunConfig, tasks: Collection[str] | None = None) -> Selection:
    """Return the rule that selects the best model of a run, or of a phase that evaluates `tasks`."""
    evaluated = _evaluated(config, tasks)
    keeps_last = config.trainer.keep_model == "last"
    chosen = {name: weight for name, weight in config.selection.tasks.items() if name in evaluated}
    if not chosen and config.target_task in evaluated:
        chosen = {config.target_task: 1.0}
    weights = chosen or dict.fromkeys(evaluated, 1.0)
    return Selection({name: evaluated[name] for name in weights}, weights, keeps_last)


def early_stopping(config: RunConfig, tasks: Collection[str] | None = None) -> Selection:
    """Return the rule whose value early stopping follows: that of `selection` unless the config says more."""
    evaluated = _evaluated(config, tasks)
    weights = {name: w for name, w in config.selection.early_stopping_tasks.items() if name in evaluated}
    rule = selection(config, tasks)
    if not weights:
        return rule
    return evolve(rule, metrics={name: evaluated[name] for name in weights}, weights=weights)


def _evaluated(config: RunConfig, tasks: Collection[str] | None) -> dict[str, Metric]:
    """Return the metrics of the tasks that have evaluation data, of a phase's `tasks` or of all."""
    return {
        name: component.config.metric
        for name, component in config.tasks.items()
        if component.config.data.config.has("eval") and (tasks is None or name in tasks)
    }


def task_weights(config: RunConfig) -> dict[str, float]:
    """Return the loss weight of every task."""
    return {name: config.task_weights.get(name, 1.0) for name in config.tasks}


def tasks_in_phases(config: RunConfig) -> list[str]:
    """Return the tasks that a run trains or evaluates: those that its phases name, else all."""
    named = [config.tasks if phase.tasks is None else phase.tasks for phase in config.phases]
    return [name for name in config.tasks if not named or any(name in tasks for tasks in named)]
