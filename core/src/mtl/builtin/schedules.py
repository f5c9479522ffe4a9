"""Which task's step comes next."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from mtl.builtin.config import ProportionalConfig, RoundRobinConfig, SequentialConfig
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


class Sequential(Schedule[SequentialConfig]):
    """All steps of the first task, then all of the second, and so on."""

    def order(self, sizes: Mapping[str, int], *, cycle: bool, seed: int) -> Iterator[str]:
        while True:
            for task, size in sizes.items():
                yield from (task for _ in range(size))
            if not cycle:
                return
