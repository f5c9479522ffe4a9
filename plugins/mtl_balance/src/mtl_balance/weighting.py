"""Loss weights. Only `GradNorm` needs joint steps.

Every factor is multiplied by the task's `task_weights`. No method synchronizes with a GPU.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from mtl import Balancer
from mtl_balance.config import (
    DynamicWeightAverageConfig,
    GradNormConfig,
    RandomLossWeightingConfig,
    UncertaintyConfig,
)

TINY = 1e-12
"""Keeps divisions away from zero."""
APART = 0x1F_83D9_AB
"""Mixed into the seed, so that samples differ from those of dropout."""


def adam_state(value: Tensor) -> Tensor:
    """Return the state of `adam_step` for parameters `[tasks]`: value, two moments and steps so far,
    `[tasks, 4]`."""
    return torch.stack([value, *[torch.zeros_like(value)] * 3], dim=-1)


def adam_step(state: Tensor, gradient: Tensor, rate: float) -> Tensor:
    """Take a step of Adam (Kingma and Ba 2015) on parameters `[..., 4]`, each when its own task steps."""
    value, mean, square, steps = state.unbind(-1)
    steps = steps + 1
    mean = 0.9 * mean + 0.1 * gradient
    square = 0.999 * square + 0.001 * gradient.square()
    spread = (square / (1 - 0.999**steps)).sqrt() + 1e-8
    value = value - rate * mean / (1 - 0.9**steps) / spread
    return torch.stack([value, mean, square, steps], dim=-1)


class Uncertainty(Balancer[UncertaintyConfig]):
    """Weights by learned variances: Kendall, Gal and Cipolla 2018, "Multi-Task Learning Using Uncertainty
    to Weigh Losses for Scene Geometry and Semantics", in its form for classification.

    The task's objective is exp(-s) loss + s / 2. Its log-variance s starts at 0, a factor of 1, and moves
    toward log(2 loss), a factor of 1 / (2 loss), by a step of Adam after each step of the task.
    """

    def __init__(self, config: UncertaintyConfig, *, tasks: Mapping[str, float]) -> None:
        super().__init__(config, tasks=tasks)
        self.log_variances = {task: adam_state(torch.zeros(())) for task in tasks}

    def factor(self, task: str, loss: Tensor) -> Tensor:
        state = self.log_variances[task].to(loss.device)
        precision = (-state[0]).exp()
        self.log_variances[task] = adam_step(state, 0.5 - precision * loss, self.config.lr)
        return self.tasks[task] * precision

    def state_dict(self) -> dict[str, Tensor]:
        return dict(self.log_variances)

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self.log_variances = {task: state[task].clone() for task in self.log_variances}


class DynamicWeightAverage(Balancer[DynamicWeightAverageConfig]):
    """Weights by how the losses fall: Liu, Johns and Davison 2019, "End-to-End Multi-Task Learning with
    Attention", section 3.3.

    The factors are tasks x softmax(ratio / temperature), where a task's ratio is its mean loss in the last
    period over that in the one before, and 1 until there are two. The paper's period is an epoch. Here it
    is `period` steps of the task itself: datasets that have nothing to do with each other have no epoch in
    common, and a task that comes less often has a period that takes longer.
    """

    def __init__(self, config: DynamicWeightAverageConfig, *, tasks: Mapping[str, float]) -> None:
        super().__init__(config, tasks=tasks)
        self.trained = [task for task, weight in tasks.items() if weight]
        self.sums = {task: torch.zeros(()) for task in tasks}
        self.counts = dict.fromkeys(tasks, 0)
        self.means: dict[str, list[Tensor]] = {task: [] for task in tasks}

    def factor(self, task: str, loss: Tensor) -> Tensor:
        ratios = torch.stack([self._ratio(each, loss) for each in self.trained])
        shares = len(self.trained) * (ratios / self.config.temperature).softmax(dim=0)
        self._follow(task, loss)
        return self.tasks[task] * shares[self.trained.index(task)]

    def _ratio(self, task: str, loss: Tensor) -> Tensor:
        if len(self.means[task]) < 2:
            return torch.ones_like(loss)
        before, last = self.means[task]
        return (last / before.clamp(min=TINY)).to(loss.device)

    def _follow(self, task: str, loss: Tensor) -> None:
        self.sums[task] = self.sums[task].to(loss.device) + loss
        self.counts[task] += 1
        if self.counts[task] == self.config.period:
            self.means[task] = [*self.means[task][-1:], self.sums[task] / self.config.period]
            self.sums[task], self.counts[task] = torch.zeros_like(loss), 0

    def state_dict(self) -> dict[str, Tensor]:
        state = {f"sum.{task}": total for task, total in self.sums.items()}
        state |= {f"count.{task}": torch.tensor(count) for task, count in self.counts.items()}
        return state | {f"means.{task}": torch.stack(means) for task, means in self.means.items() if means}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self.sums = {task: state[f"sum.{task}"].clone() for task in self.sums}
        self.counts = {task: int(state[f"count.{task}"]) for task in self.counts}
        self.means = {task: list(state.get(f"means.{task}", torch.empty(0)).clone()) for task in self.means}


class RandomLossWeighting(Balancer[RandomLossWeightingConfig]):
    """Random weights: Lin, Ye, Zhang and Tsang 2022, "Reasonable Effectiveness of Random Weighting: A
    Litmus Test for Multi-Task Learning".

    The factors of a step are tasks x softmax(normal samples), 1 on average.
    """

    def __init__(self, config: RandomLossWeightingConfig, *, tasks: Mapping[str, float]) -> None:
        super().__init__(config, tasks=tasks)
        self.trained = [task for task, weight in tasks.items() if weight]

    def factor(self, task: str, loss: Tensor) -> float:
        # The loop reseeds torch for each step, so all tasks of a step get the same samples.
        generator = torch.Generator().manual_seed(torch.initial_seed() ^ APART)
        draws = torch.randn(len(self.trained), generator=generator)
        share = len(self.trained) * draws.softmax(dim=0)[self.trained.index(task)].item()
        return self.tasks[task] * share


class GradNorm(Balancer[GradNormConfig]):
    """Weights that balance gradient norms: Chen, Badrinarayanan, Lee and Rabinovich 2018, "GradNorm:
    Gradient Normalization for Adaptive Loss Balancing in Deep Multitask Networks".

    The norms are those of the gradients of all parameters that the tasks of a joint step share; the
    objective is the paper's, as a share of the mean norm, so that the scale of the losses does not matter.
    The weights move after each joint step, by Adam, and hold from the next step on. A task's first loss in a
    joint step stands for its initial one.
    """

    combines = True

    def __init__(self, config: GradNormConfig, *, tasks: Mapping[str, float]) -> None:
        super().__init__(config, tasks=tasks)
        self.places = {task: place for place, task in enumerate(tasks)}
        self.weights = adam_state(torch.ones(len(tasks)))
        self.initial = torch.full((len(tasks),), torch.nan)

    def factor(self, task: str, loss: Tensor) -> Tensor:
        return self.tasks[task] * self.weights[self.places[task], 0].to(loss.device)

    def combine(self, gradients: Tensor, losses: Mapping[str, Tensor]) -> Tensor:
        here = torch.tensor([self.places[task] for task in losses], device=gradients.device)
        self.weights, self.initial = self.weights.to(gradients.device), self.initial.to(gradients.device)
        current = torch.stack(list(losses.values())).to(self.initial)
        first = self.initial[here]
        self.initial[here] = torch.where(first.isfinite(), first, current)
        left = current / self.initial[here].clamp(min=TINY)
        speed = (left / left.mean().clamp(min=TINY)).clamp(min=0)

        norms = gradients.norm(dim=1)
        mean = norms.mean().clamp(min=torch.finfo(norms.dtype).tiny)
        state = self.weights[here]
        # The gradient of |norm - target| by the weight; the target counts as a constant.
        slopes = (norms / mean - speed**self.config.alpha).sign() * norms / mean / state[:, 0]
        moved = adam_step(state, slopes, self.config.lr)
        values = moved[:, 0].clamp(min=TINY)
        moved[:, 0] = values / values.sum() * state[:, 0].sum()
        # A gradient that overflowed, as in half precision now and then, is skipped by the loop as well.
        self.weights[here] = torch.where(moved.isfinite().all(), moved, state)
        return gradients.sum(0)

    def state_dict(self) -> dict[str, Tensor]:
        return {"weights": self.weights, "initial": self.initial}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self.weights, self.initial = state["weights"].clone(), state["initial"].clone()
