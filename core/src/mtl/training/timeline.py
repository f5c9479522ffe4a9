"""The exact order of a run: which task, pass and batches each step takes, known beforehand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import count, islice

from attrs import define, field, frozen

from mtl.components import Schedule, ScheduleConfig
from mtl.data.batching import Batching, random_generator
from mtl.errors import blaming


@frozen
class Step:
    """One optimizer step: batches `start` to `stop` of a task's pass `pass_index`."""

    task: str
    pass_index: int
    start: int
    stop: int


@define
class Cursor:
    """A task's place in its data: passes done, batches done in this one."""

    pass_index: int = 0
    batch: int = 0


@frozen
class EpochRule:
    """What ends an epoch: `first`, `all`, `task` (named) or `steps` (counted)."""

    kind: str
    task: str | None = None
    steps: int | None = None

    @classmethod
    def of(cls, config: ScheduleConfig, target_task: str | None) -> EpochRule:
        """The rule of a schedule's config; `auto` is the target task's length, or all."""
        if config.epoch == "auto":
            return cls("task", task=target_task) if target_task else cls("all")
        return cls(config.epoch, task=config.epoch_task or target_task, steps=config.epoch_steps)

    @property
    def text(self) -> str:
        """The rule in words."""
        return {
            "first": "until the first dataset has ended",
            "all": "until all datasets have ended, each row once",
            "task": f"the length of {self.task}",
            "steps": f"{self.steps} steps",
        }[self.kind]


@frozen(eq=False)
class Timeline:
    """All steps of a run, a pure function of the seed, the data's sizes and the schedule.

    A dataset that an epoch cuts off goes on, in the next one, where it stopped. A step takes up to
    `accumulate` batches of one pass.
    """

    schedule: Schedule[object]
    rule: EpochRule
    batching: Mapping[str, Batching]
    seed: int
    accumulate: int = 1
    epochs: int | None = None
    max_steps: int | None = None
    _totals: list[int] = field(init=False, factory=list, repr=False)

    def walk(self) -> Iterator[list[Step]]:
        """The steps of each epoch in turn."""
        cursors = {task: Cursor() for task in self.batching}
        endless = self._order(0, cycle=True) if self.rule.kind == "steps" else None
        left = self.max_steps
        for epoch in count():
            if epoch == self.epochs or left == 0:
                return
            tasks = islice(endless, self.rule.steps) if endless else self._epoch(epoch, cursors)
            steps = [self._advance(task, cursors[task]) for task in islice(tasks, left)]
            if left is not None:
                left -= len(steps)
            yield steps

    @property
    def total_steps(self) -> int:
        """Steps of the whole run."""
        if not self._totals:
            self._totals.append(sum(len(steps) for steps in self.walk()))
        return self._totals[0]

    def steps_in_pass(self, task: str, pass_index: int) -> int:
        """Steps that a task's pass takes."""
        return -(-self.batching[task].count(pass_index) // self.accumulate)

    def _epoch(self, epoch: int, cursors: Mapping[str, Cursor]) -> Iterator[str]:
        if self.rule.kind == "all":
            yield from self._order(epoch, cycle=False)
            return
        lengths = {task: self.steps_in_pass(task, cursor.pass_index) for task, cursor in cursors.items()}
        last = self.rule.task or min(lengths, key=lambda task: lengths[task])
        left = lengths[last]
        for task in self._order(epoch, cycle=True, last=last):
            yield task
            left -= task == last
            if not left:
                return

    def _order(self, epoch: int, *, cycle: bool, last: str | None = None) -> Iterator[str]:
        # The task that ends the epoch comes last in a round, so that the others get theirs.
        tasks = sorted(self.batching, key=lambda task: task == last)
        sizes = {task: self.steps_in_pass(task, epoch if not cycle else 0) for task in tasks}
        seed = int(random_generator(self.seed, "schedule", epoch).integers(2**63))
        with blaming(self.schedule, "to order the steps"):
            yield from self.schedule.order(sizes, cycle=cycle, seed=seed)

    def _advance(self, task: str, cursor: Cursor) -> Step:
        batches = self.batching[task].count(cursor.pass_index)
        stop = min(cursor.batch + self.accumulate, batches)
        step = Step(task, cursor.pass_index, cursor.batch, stop)
        cursor.batch = stop
        if stop == batches:
            cursor.pass_index, cursor.batch = cursor.pass_index + 1, 0
        return step
