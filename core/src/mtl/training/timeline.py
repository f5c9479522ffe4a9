"""The exact order of a phase, known in advance: the tasks, passes and batches of each step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from itertools import count, islice

from attrs import define, evolve, field, frozen

from mtl.components import Epoch, Schedule, ScheduleConfig
from mtl.data.batching import Batching, random_generator
from mtl.errors import UsageError, component_errors

Scores = Mapping[str, Sequence[Sequence[float]]]
"""The values of each task's metric, as pairs of the steps so far and the value."""
PATIENCE = 20_000
"""Steps, beside all of all tasks, without the one whose data an epoch is: it would never end."""


@frozen
class BatchSpan:
    """Batches `start` to `stop` of a task's pass `pass_index`: what a step takes of that task."""

    task: str
    pass_index: int
    start: int
    stop: int


@frozen
class Step:
    """One optimizer step: of one task, or of several at once."""

    spans: tuple[BatchSpan, ...]

    @property
    def task(self) -> str:
        """The task, or the tasks with a comma between them."""
        return ", ".join(span.task for span in self.spans)

    def without(self, tasks: Sequence[str]) -> Step:
        """Return the step without tasks that have stopped."""
        return Step(tuple(span for span in self.spans if span.task not in tasks)) if tasks else self


@define
class Cursor:
    """A task's position in its data: completed passes, and batches of the current pass."""

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
        """Return the rule of a schedule's config; `auto` is the target task's length, or all."""
        kind = config.epoch_kind
        if kind == "auto":
            return cls("task", task=target_task) if target_task else cls("all")
        return cls(kind, task=config.epoch_task or target_task, steps=config.epoch_steps)

    @property
    def text(self) -> str:
        """Return the rule in words."""
        return {
            "first": "until the first dataset has ended",
            "all": "until all datasets have ended, each row once",
            "task": f"the length of {self.task}",
            "steps": f"{self.steps} steps",
        }[self.kind]


@frozen(eq=False)
class Timeline:
    """All steps of a phase: a function of the seed, the data's sizes, the schedule and, if that adapts, the
    scores so far.

    A dataset that is not finished at the end of an epoch continues in the next one. A step takes up to
    `batching[task].accumulate` batches of one pass. `higher_is_better` are the directions of the scores,
    `begin` the tasks' positions in their data when the phase begins.
    """

    schedule: Schedule[object]
    rule: EpochRule
    batching: Mapping[str, Batching]
    seed: int
    epochs: int | None = None
    max_steps: int | None = None
    phase: int = 0
    higher_is_better: Mapping[str, bool] = field(factory=dict)
    begin: Mapping[str, Cursor] = field(factory=dict)
    _planned: list[tuple[int, dict[str, Cursor]]] = field(init=False, factory=list, repr=False)

    def walk(
        self, scores: Scores | None = None, cursors: dict[str, Cursor] | None = None
    ) -> Iterator[list[Step]]:
        """Yield the steps of each epoch in turn; an epoch is ordered when the one before is done.

        The steps in `scores` count from the start of the phase. `cursors`, as returned by `cursors()`, are
        advanced.
        """
        cursors = cursors if cursors is not None else self.cursors()
        counted = self.rule.kind == "steps" and not self.schedule.adapts
        endless = self._order(self._describe(0, 0, cursors, {})) if counted else None
        done = 0
        for index in count():
            if self.is_over(index, done):
                return
            tasks = endless or self._epoch(self._describe(index, done, cursors, scores or {}), cursors)
            left = [self.rule.steps] if self.rule.kind == "steps" else []
            left += [self.max_steps - done] if self.max_steps is not None else []
            steps = [
                self._advance(names, cursors)
                for names in islice(tasks, min(filter(None, left), default=None))
            ]
            done += len(steps)
            yield steps

    def is_over(self, epochs: int, steps: int) -> bool:
        """Return whether the phase ends after so many epochs and steps."""
        return epochs == self.epochs or steps == self.max_steps

    @property
    def total_steps(self) -> int:
        """Steps of the whole phase, as planned if the schedule adapts to scores."""
        return self._plan()[0]

    @property
    def end(self) -> dict[str, Cursor]:
        """The tasks' positions in their data after the phase, as planned if the schedule adapts."""
        return {**self.begin, **self._plan()[1]}

    def _plan(self) -> tuple[int, dict[str, Cursor]]:
        if not self._planned:
            cursors = self.cursors()
            steps = sum(len(steps) for steps in self.walk(cursors=cursors))
            self._planned.append((steps, cursors))
        return self._planned[0]

    def cursors(self) -> dict[str, Cursor]:
        """Return the tasks' positions in their data when the phase begins."""
        return {task: copy(self.begin.get(task, Cursor())) for task in self.batching}

    def steps_left(self, task: str, cursor: Cursor) -> int:
        """Return how many steps the rest of a task's pass takes."""
        batching = self.batching[task]
        return -(-(batching.count(cursor.pass_index) - cursor.batch) // batching.accumulate)

    def _describe(self, index: int, first_step: int, cursors: Mapping[str, Cursor], scores: Scores) -> Epoch:
        cycle = self.rule.kind != "all"
        return Epoch(
            sizes={
                task: self.steps_left(task, Cursor() if cycle else cursor) for task, cursor in cursors.items()
            },
            cycle=cycle,
            seed=self._seed(index),
            index=index,
            epochs=self.epochs,
            first_step=first_step,
            steps=self.max_steps,
            scores={
                task: [value for step, value in scores.get(task, ()) if step <= first_step]
                for task in self.batching
            },
            higher_is_better=self.higher_is_better,
        )

    def _epoch(self, epoch: Epoch, cursors: Mapping[str, Cursor]) -> Iterator[tuple[str, ...]]:
        if self.rule.kind in ("all", "steps"):
            yield from self._order(epoch)
            return
        lengths = {task: self.steps_left(task, Cursor(cursors[task].pass_index)) for task in self.batching}
        last = self.rule.task or min(lengths, key=lambda task: lengths[task])
        left = lengths[last]
        # The task that ends the epoch comes last in a round, so that the others get theirs.
        sizes = {task: epoch.sizes[task] for task in sorted(epoch.sizes, key=lambda task: task == last)}
        missed, most = 0, PATIENCE + sum(sizes.values())
        for tasks in self._order(evolve(epoch, sizes=sizes)):
            yield tasks
            missed = 0 if last in tasks else missed + 1
            left -= last in tasks
            if not left:
                return
            if missed == most:
                raise UsageError(
                    f"an epoch is the length of {last}, but the schedule gives it none of {most:,} steps;"
                    " give it a weight above 0, or the schedule another `epoch`"
                )

    def _order(self, epoch: Epoch) -> Iterator[tuple[str, ...]]:
        with component_errors(self.schedule, "to order the steps"):
            for tasks in self.schedule.order(epoch):
                step = (tasks,) if isinstance(tasks, str) else tuple(tasks)
                if not step or len(set(step)) < len(step) or not epoch.sizes.keys() >= set(step):
                    known = ", ".join(epoch.sizes)
                    raise ValueError(f"a step must be of different tasks of {known}, but is of {tasks!r}")
                yield step

    def _seed(self, epoch: int) -> int:
        parts = ("phase", self.phase) if self.phase else ()
        return int(random_generator(self.seed, "schedule", *parts, epoch).integers(2**63))

    def _advance(self, tasks: tuple[str, ...], cursors: Mapping[str, Cursor]) -> Step:
        return Step(tuple(self._take(task, cursors[task]) for task in tasks))

    def _take(self, task: str, cursor: Cursor) -> BatchSpan:
        batches = self.batching[task].count(cursor.pass_index)
        stop = min(cursor.batch + self.batching[task].accumulate, batches)
        span = BatchSpan(task, cursor.pass_index, cursor.batch, stop)
        cursor.batch = stop
        if stop == batches:
            cursor.pass_index, cursor.batch = cursor.pass_index + 1, 0
        return span
