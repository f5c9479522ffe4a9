"""Built-in schedules: the order of the tasks' steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from mtl.builtin.config import (
    AnnealedConfig,
    DynamicConfig,
    JointConfig,
    ProportionalConfig,
    RoundRobinConfig,
    SequentialConfig,
    ShuffledConfig,
    StepwiseConfig,
    TemperatureConfig,
    WeightedConfig,
)
from mtl.components import Epoch, Schedule

Shares = Mapping[str, float]


class RoundRobin(Schedule[RoundRobinConfig]):
    """One step of each task in turn; a task whose data has ended is skipped."""

    def order(self, epoch: Epoch) -> Iterator[str]:
        for tasks in _rounds(epoch):
            yield from tasks


class Joint(Schedule[JointConfig]):
    """Joint steps with one batch of every task; a task whose data has ended is left out."""

    def order(self, epoch: Epoch) -> Iterator[tuple[str, ...]]:
        return _rounds(epoch)


def _rounds(epoch: Epoch) -> Iterator[tuple[str, ...]]:
    """Yield the tasks that have steps left, once per round."""
    done = 0
    while tasks := tuple(task for task, size in epoch.sizes.items() if size > done):
        yield tasks
        done += 0 if epoch.cycle else 1


class Sequential(Schedule[SequentialConfig]):
    """All steps of the first task, then all of the second, and so on."""

    def order(self, epoch: Epoch) -> Iterator[str]:
        while True:
            for task, size in epoch.sizes.items():
                yield from (task for _ in range(size))
            if not epoch.cycle:
                return


class Shuffled(Schedule[ShuffledConfig]):
    """All steps of all tasks, each once, in random order; then again in another order."""

    def order(self, epoch: Epoch) -> Iterator[str]:
        tasks = list(epoch.sizes)
        generator = np.random.Generator(np.random.PCG64(epoch.seed))
        pool = np.repeat(np.arange(len(tasks)), list(epoch.sizes.values()))
        while True:
            generator.shuffle(pool)
            yield from (tasks[index] for index in pool)
            if not epoch.cycle:
                return


class Proportional(Schedule[ProportionalConfig]):
    """Random tasks, in proportion to their numbers of steps."""

    def order(self, epoch: Epoch) -> Iterator[str]:
        return _drawn(epoch, lambda step: epoch.sizes)


class Temperature(Schedule[TemperatureConfig]):
    """Random tasks, in proportion to `min(size, cap) ** (1 / temperature)`.

    Raffel et al., "Exploring the Limits of Transfer Learning with a Unified Text-to-Text Transformer",
    JMLR 21, 2020, section 3.5.2.
    """

    def order(self, epoch: Epoch) -> Iterator[str]:
        cap, power = self.config.cap, 1 / self.config.temperature
        shares = {task: min(size, cap or size) ** power for task, size in epoch.sizes.items()}
        return _drawn(epoch, lambda step: shares)


class Weighted(Schedule[WeightedConfig]):
    """Random tasks, in proportion to the config's weights."""

    def order(self, epoch: Epoch) -> Iterator[str]:
        shares = _named(self.config.weights, epoch)
        return _drawn(epoch, lambda step: shares)


class Annealed(Schedule[AnnealedConfig]):
    """Random tasks, with weights that are interpolated linearly from `start` to `end`."""

    adapts = True

    def order(self, epoch: Epoch) -> Iterator[str]:
        start, end = (_normalized(_named(each, epoch)) for each in (self.config.start, self.config.end))

        def shares(step: int) -> Shares:
            way = self._way(epoch, step)
            return {task: (1 - way) * start[task] + way * end[task] for task in epoch.sizes}

        return _drawn(epoch, shares)

    def _way(self, epoch: Epoch, step: int) -> float:
        """Return the progress from `start` to `end`, in [0, 1]: by steps, or by epochs if the number of steps
        is unknown."""
        steps = self.config.steps or epoch.steps
        done, last = (step, steps - 1) if steps else (epoch.index, (epoch.epochs or 1) - 1)
        return min(done / last, 1.0) if last else 1.0


class Stepwise(Schedule[StepwiseConfig]):
    """Random tasks, with weights that change at given steps."""

    adapts = True

    def order(self, epoch: Epoch) -> Iterator[str]:
        stages = [(stage.from_step, _named(stage.weights, epoch)) for stage in self.config.stages]

        def shares(step: int) -> Shares:
            return next(weights for first, weights in reversed(stages) if step >= first)

        return _drawn(epoch, shares)


class Dynamic(Schedule[DynamicConfig]):
    """Random tasks, in proportion to how far their last scores are from their goals.

    Gottumukkala et al., "Dynamic Sampling Strategies for Multi-Task Reading Comprehension", ACL 2020. The
    distance is relative: `(goal - score) / goal`, or `(score - goal) / score` if lower is better.
    """

    adapts = True

    def order(self, epoch: Epoch) -> Iterator[str]:
        gaps = {task: self._gap(task, epoch) for task in epoch.sizes}
        known = [gap for gap in gaps.values() if gap is not None]
        mean = sum(known) / len(known) if known else 1.0
        wanted = _normalized({task: mean if gap is None else gap for task, gap in gaps.items()})
        shares = {task: max(share, self.config.minimum_share) for task, share in wanted.items()}
        return _drawn(epoch, lambda step: shares)

    def _gap(self, task: str, epoch: Epoch) -> float | None:
        """Return the task's relative distance from its goal, in [0, 1]; None without a goal or a score."""
        goal, scores = self.config.goals.get(task), epoch.scores.get(task)
        if goal is None or not scores:
            return None
        score = scores[-1]
        gap, whole = (goal - score, goal) if epoch.higher_is_better[task] else (score - goal, score)
        return min(max(gap / whole, 0.0), 1.0) if whole > 0 else 0.0


def _named(weights: Mapping[str, float], epoch: Epoch) -> dict[str, float]:
    return {task: weights.get(task, 1.0) for task in epoch.sizes}


def _normalized(weights: Shares) -> dict[str, float]:
    """Return the weights divided by their sum; equal shares if it is 0."""
    total = sum(weights.values())
    return {task: weight / total if total else 1 / len(weights) for task, weight in weights.items()}


def _drawn(epoch: Epoch, shares: Callable[[int], Shares]) -> Iterator[str]:
    """Yield random tasks, in proportion to the shares of those that have steps left.

    `shares` returns the shares for a step, counted as in `Epoch.first_step`. If all tasks that are left have
    a share of 0, they are drawn evenly.
    """
    left = {task: size for task, size in epoch.sizes.items() if size}
    generator = np.random.Generator(np.random.PCG64(epoch.seed))
    step = epoch.first_step
    kept: tuple[Shares | None, list[str], np.ndarray] = (None, [], np.empty(0))
    while left:
        now = shares(step)
        if now is not kept[0] or len(kept[1]) != len(left):
            tasks = list(left)
            bounds = np.cumsum(list(_normalized({task: now[task] for task in tasks}).values()))
            # The last bound may fall short of 1 by a rounding error.
            bounds[np.flatnonzero(np.diff(bounds, prepend=0.0))[-1] :] = 1.0
            kept = (now, tasks, bounds)
        task = kept[1][int(np.searchsorted(kept[2], generator.random(), side="right"))]
        yield task
        step += 1
        if not epoch.cycle:
            left[task] -= 1
            if not left[task]:
                del left[task]
