"""Which task's step comes next."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from mtl.builtin.config import (
    ProportionalConfig,
    RoundRobinConfig,
    SequentialConfig,
    TemperatureConfig,
    WeightedConfig,
)
from mtl.components import Schedule


class RoundRobin(Schedule[RoundRobinConfig]):
    """One step of each task in turn; a task whose data have ended is passed over."""

    def order(self, sizes: Mapping[str, int], *, cycle: bool, seed: int) -> Iterator[str]:
        left = dict(sizes)
        while any(left.values()):
            for task in sizes:
                if left[task]:
                    yield task
                    left[task] -= 0 if cycle else 1


class Proportional(Schedule[ProportionalConfig]):
    """Random draws, each task as often as it has steps: exactly so over a whole epoch of all
    datasets, on average where they are cycled through."""

    def order(self, sizes: Mapping[str, int], *, cycle: bool, seed: int) -> Iterator[str]:
        tasks = list(sizes)
        generator = np.random.Generator(np.random.PCG64(seed))
        pool = np.repeat(np.arange(len(tasks)), [sizes[task] for task in tasks])
        while True:
            generator.shuffle(pool)
            yield from (tasks[index] for index in pool)
            if not cycle:
                return


class Temperature(Schedule[TemperatureConfig]):
    """Random draws in proportion to `min(size, cap) ** (1 / temperature)`.

    Raffel et al., "Exploring the Limits of Transfer Learning with a Unified Text-to-Text Transformer",
    JMLR 21, 2020, section 3.5.2.
    """

    def order(self, sizes: Mapping[str, int], *, cycle: bool, seed: int) -> Iterator[str]:
        cap = self.config.cap
        shares = {
            task: min(size, cap or size) ** (1 / self.config.temperature) for task, size in sizes.items()
        }
        return drawn(sizes, shares, cycle=cycle, seed=seed)


class Weighted(Schedule[WeightedConfig]):
    """Random draws in proportion to the config's weights."""

    def order(self, sizes: Mapping[str, int], *, cycle: bool, seed: int) -> Iterator[str]:
        shares = {task: self.config.weights.get(task, 1.0) for task in sizes}
        return drawn(sizes, shares, cycle=cycle, seed=seed)


def drawn(sizes: Mapping[str, int], shares: Mapping[str, float], *, cycle: bool, seed: int) -> Iterator[str]:
    """Tasks drawn at random, each as its share is of those that have steps left."""
    left = {task: size for task, size in sizes.items() if size}
    generator = np.random.Generator(np.random.PCG64(seed))
    while left:
        tasks = list(left)
        weights = np.array([shares[task] for task in tasks])
        bounds = np.cumsum(weights / weights.sum())
        # The last bound may fall short of 1 by a rounding error.
        bounds[-1] = 1.0
        while len(tasks) == len(left):
            task = tasks[int(np.searchsorted(bounds, generator.random(), side="right"))]
            yield task
            if not cycle:
                left[task] -= 1
                if not left[task]:
                    del left[task]


class Sequential(Schedule[SequentialConfig]):
    """All steps of the first task, then all of the second, and so on."""

    def order(self, sizes: Mapping[str, int], *, cycle: bool, seed: int) -> Iterator[str]:
        while True:
            for task, size in sizes.items():
                yield from (task for _ in range(size))
            if not cycle:
                return
