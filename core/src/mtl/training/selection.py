"""What a run will do, as far as the config alone can tell. Free of torch and of data."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any

from attrs import frozen

from mtl.components import Metric
from mtl.config.run_config import RunConfig


@frozen
class Selection:
    """The rule by which the best model is chosen, on evaluation data alone.

    With a target task it is that task's metric; else the mean over all tasks of the metric's
    logarithm, with a minus sign where lower is better: a relative gain counts alike in each task,
    whatever its scale.
    """

    metrics: Mapping[str, Metric]
    combined: bool
    keeps_last: bool = False

    @property
    def name(self) -> str:
        """How the figure is named in the results."""
        if self.combined:
            return "mean_log_gain"
        if not self.metrics:
            return "last"
        task, metric = next(iter(self.metrics.items()))
        return f"{task}.{metric.name}"

    @property
    def higher_is_better(self) -> bool:
        """The direction of `value`."""
        return self.combined or all(metric.higher_is_better for metric in self.metrics.values())

    @property
    def text(self) -> str:
        """The rule in words."""
        if not self.metrics:
            return "the last model, as there is no evaluation data"
        if self.keeps_last:
            return "the last model, as trainer.keep_model says; nothing is selected"
        if not self.combined:
            return f"{self.name}, {'higher' if self.higher_is_better else 'lower'} is better"
        terms = " ".join(
            f"{'+' if metric.higher_is_better else '-'} log({task}.{metric.name})"
            for task, metric in self.metrics.items()
        )
        return f"mean of {terms.removeprefix('+ ')}, higher is better"

    def value(self, figures: Mapping[str, Mapping[str, Any]]) -> float | None:
        """The figure for one evaluation, `{task: {name: figure}}`; None where it is not defined."""
        values: list[float] = []
        for task, metric in self.metrics.items():
            value = figures.get(task, {}).get(metric.name)
            if value is None:
                return None
            gain = math.log(max(value, 1e-12)) * (1 if metric.higher_is_better else -1)
            values.append(gain if self.combined else value)
        return sum(values) / len(values) if values else None

    def is_better(self, value: float, best: float | None) -> bool:
        """Whether `value` beats the best so far."""
        return best is None or (value > best if self.higher_is_better else value < best)


def selection(config: RunConfig, tasks: Collection[str] | None = None) -> Selection:
    """The selection rule of a config, or of a phase that scores these tasks."""
    evaluated = {
        name: component.config.metric
        for name, component in config.tasks.items()
        if component.config.data.config.paths("eval") and (tasks is None or name in tasks)
    }
    keeps_last = config.trainer.keep_model == "last"
    if config.target_task in evaluated:
        return Selection({config.target_task: evaluated[config.target_task]}, False, keeps_last)
    return Selection(evaluated, len(evaluated) > 1, keeps_last)


def task_weights(config: RunConfig) -> dict[str, float]:
    """The weight of every task."""
    return {name: config.task_weights.get(name, 1.0) for name in config.tasks}


def tasks_in_phases(config: RunConfig) -> list[str]:
    """The tasks that a run trains or scores: all, but where each of its phases names some."""
    named = [config.tasks if phase.tasks is None else phase.tasks for phase in config.phases]
    return [name for name in config.tasks if not named or any(name in tasks for tasks in named)]
