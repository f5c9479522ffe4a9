"""Gradients of shared modules compared between tasks: do they point in one direction?"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any, Self

import torch
from attrs import define, field
from torch import Tensor, nn

from mtl.config.json_path import parse_path
from mtl.model import MultitaskModel


@define(eq=False)
class GradientComparison:
    """The cosine between two tasks' gradients of each module that they share, and their norms.

    Every `interval` steps the next gradient of each task is kept until all of `tasks` have had a step, and
    compared then: gradients of neighboring steps, at weights that lie a few steps apart. They are those
    that the optimizer is given, weights of the tasks included. `modules` are parameters by
    `shared_module_key`, `users` the tasks of each.
    """

    interval: int
    tasks: Sequence[str]
    modules: Mapping[str, Sequence[nn.Parameter]]
    users: Mapping[str, Sequence[str]]
    kept: dict[str, dict[str, Tensor]] = field(factory=dict)
    begun: int = -1

    @classmethod
    def of(cls, model: MultitaskModel, tasks: Sequence[str], every: int | None) -> Self | None:
        """Return a comparison of the tasks that are trained; None if they share no trainable parameters.

        Its cost grows with the tasks, and so does the interval: `every` is that of two. A round of all
        tasks, one a step, must fit into it.
        """
        modules: dict[str, list[nn.Parameter]] = {}
        users: dict[str, list[str]] = {}
        for built in model.built:
            mine = {parse_path(path)[1] for path in built.users}
            shared = [task for task in tasks if task in mine]
            parameters = [p for p in built.module.parameters() if p.requires_grad]
            if built.config.shared_module_key and len(shared) > 1 and parameters:
                modules[built.config.shared_module_key] = parameters
                users[built.config.shared_module_key] = shared
        if every is None or not modules:
            return None
        together = [task for task in tasks if any(task in shared for shared in users.values())]
        return cls(max(every * len(together) // 2, len(tasks)), together, modules, users)

    def note(
        self, task: str, step: int, stopped: Sequence[str], scale: Callable[[], float]
    ) -> list[dict[str, Any]]:
        """Keep the gradient that the parameters have from a task in a step, if one is wanted.

        Return the comparisons of all pairs after the last of them, without waiting for tasks that have
        `stopped`.
        The gradients are `scale()` times too large; it is asked only then, as a GPU is waited for.
        """
        first = step % self.interval == 0
        if first and step != self.begun:
            self.kept, self.begun = {}, step
        if not (first or self.kept) or task not in self.tasks or task in self.kept:
            return []
        factor = scale()
        self.kept[task] = {
            key: torch.cat([_gradient(p).flatten() for p in parameters]) / factor
            for key, parameters in self.modules.items()
            if task in self.users[key]
        }
        if any(each not in self.kept for each in self.tasks if each not in stopped):
            return []
        records = list(self._compare())
        self.kept = {}
        return records

    def _compare(self) -> Iterator[dict[str, Any]]:
        for key, users in self.users.items():
            kept = {task: self.kept[task][key].double() for task in users if task in self.kept}
            for task, other in combinations(kept, 2):
                norms = [kept[name].norm() for name in (task, other)]
                cosine = kept[task] @ kept[other] / (norms[0] * norms[1])
                values = map(_rounded, torch.stack([cosine, *norms]).tolist())
                named = dict(zip(("cosine", "norm", "other_norm"), values, strict=True))
                yield {"task": task, "other": other, "module": key, **named}

    def tensors(self) -> dict[str, Tensor]:
        """Return the gradients that wait for those of other tasks, by the numbers of task and module."""
        keys = list(self.modules)
        return {
            f"{self.tasks.index(task)}.{keys.index(key)}": gradient
            for task, kept in self.kept.items()
            for key, gradient in kept.items()
        }

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Restore `tensors()`. Raises `ValueError` for anything else."""
        keys, self.kept = list(self.modules), {}
        for name, gradient in tensors.items():
            task, key = (int(number) for number in name.split("."))
            expected = sum(p.numel() for p in self.modules[keys[key]])
            if gradient.shape != (expected,):
                raise ValueError(f"a gradient of {keys[key]} has {expected} numbers")
            device = self.modules[keys[key]][0].device
            self.kept.setdefault(self.tasks[task], {})[keys[key]] = gradient.to(device)
        for name, kept in self.kept.items():
            shared = [key for key in keys if name in self.users[key]]
            if kept.keys() != set(shared):
                raise ValueError(f"gradients of {name} must be of {', '.join(shared)}")


def _gradient(parameter: nn.Parameter) -> Tensor:
    grad = parameter.grad
    return torch.zeros_like(parameter, dtype=torch.float32) if grad is None else grad.detach().float()


def _rounded(value: float) -> float | None:
    """Round to digits that do not depend on the memory layout of a tensor, as the order of sums does."""
    return float(f"{value:.6g}") if math.isfinite(value) else None
