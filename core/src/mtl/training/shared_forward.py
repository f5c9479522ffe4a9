"""Tasks over the same rows: in a joint step they take the same batch, and run what they share once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from attrs import define, field, frozen
from torch import Tensor, nn

from mtl.components import TaskConfig
from mtl.data.batching import Batching
from mtl.data.columns import Batch, Rows
from mtl.data.features import Embedding
from mtl.training.timeline import BatchSpan, Step, Timeline


def batch_sources(
    timelines: Sequence[Timeline], tasks: Mapping[str, TaskConfig], rows: Mapping[str, Rows]
) -> dict[str, str]:
    """Return, for each task that takes the batches of an earlier one, that task.

    It takes them if a joint step has both, they read the same rows (as `unify` gives them) in batches of the
    same size, one per step, and share their features.
    """
    if len({id(each.lines) for each in rows.values()}) == len(rows):
        return {}
    joint = [{span.task for span in step.spans} for each in timelines for step in next(each.walk())]
    batching = {task: each for timeline in timelines for task, each in timeline.batching.items()}

    def takes(task: str, first: str) -> bool:
        return (
            rows[task].lines is rows[first].lines
            and tasks[task].features is tasks[first].features
            and _size(batching[task]) == _size(batching[first])
            and batching[task].accumulate == 1
            and batching[task].weights is None
            and batching[first].weights is None
            and any({task, first} <= together for together in joint)
        )

    sources: dict[str, str] = {}
    ordered = [task for task in rows if task in batching]
    for index, task in enumerate(ordered):
        first = next((t for t in ordered[:index] if t not in sources and takes(task, t)), None)
        if first is not None:
            sources[task] = first
    return sources


def _size(batching: Batching) -> tuple[int, int | None, int]:
    return batching.batch_size, batching.batch_tokens, batching.accumulate


@frozen(eq=False)
class _Call:
    """A call of a module: what it read, held so that no other tensor gets its address, and its output."""

    read: object
    output: Any
    state: Hashable


@define(eq=False)
class SharedForward:
    """Calls modules that tasks share once for the tasks of a joint step that take the same batch.

    The later tasks get the tensors of the first one's batch. A module that is called with tensors that it
    was called with before, unchanged since, returns its first output; the graph is kept until the last of
    the tasks has gone backward through it.
    """

    rows: Mapping[str, Rows]
    batching: Mapping[str, Batching]
    modules: Sequence[nn.Module]
    _left: Counter[Hashable] = field(init=False, factory=Counter)
    _batches: dict[Hashable, tuple[str, Batch]] = field(init=False, factory=dict)
    _calls: dict[Hashable, _Call] = field(init=False, factory=dict)
    _current: Hashable = field(init=False, default=None)

    @contextmanager
    def during(self, step: Step) -> Iterator[None]:
        """Share inside what the tasks of a step have in common."""
        places = Counter(map(self._place, step.spans))
        self._left = Counter({place: number for place, number in places.items() if number > 1})
        if not self._left or not self.modules:
            self._left.clear()
            yield
            return
        own = [vars(module).get("forward") for module in self.modules]
        for module in self.modules:
            module.forward = partial(self._call, module, module.forward)
        try:
            yield
        finally:
            for module, forward in zip(self.modules, own, strict=True):
                del module.forward
                if forward is not None:
                    module.forward = forward
            for kept in (self._left, self._batches, self._calls):
                kept.clear()

    def batch(self, span: BatchSpan, batch: Batch) -> Batch:
        """Return the batch of a span with the tensors that an earlier task of the step took."""
        place = self._place(span)
        self._current = place if place in self._left else None
        if self._current is None:
            return batch
        self._left[place] -= 1
        task, first = self._batches.setdefault(place, (span.task, batch))
        own, others = self.rows[span.task].columns, self.rows[task].columns
        common = [name for name in own if own[name] is others.get(name)]
        return Batch(
            {**batch.tensors, **_unchanged(common, batch.tensors, first.tensors)},
            {**batch.lengths, **_unchanged(common, batch.lengths, first.lengths)},
            batch.rows,
            batch.words,
            batch.pieces,
        )

    def is_left(self, span: BatchSpan) -> bool:
        """Return whether a later task of the step takes the same batch."""
        return self._left[self._place(span)] > 0

    def _place(self, span: BatchSpan) -> Hashable:
        return self.batching[span.task].task, span.pass_index, span.start

    def _call(self, module: nn.Module, forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if self._current is None:
            return forward(*args, **kwargs)
        read = module.reads(*args, **kwargs) if isinstance(module, Embedding) else (args, kwargs)
        key = id(module), self._current, _identity(read)
        call = self._calls.get(key)
        if call is None or call.state != _identity(call.output):
            output = forward(*args, **kwargs)
            call = self._calls[key] = _Call(read, output, _identity(output))
        return call.output


def _unchanged(
    names: Sequence[str], own: Mapping[str, Tensor], first: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Return the tensors of `first` that its task has not changed in place: they equal those in `own`."""
    return {
        name: first[name] for name in names if name in first and first[name]._version == own[name]._version
    }


def _identity(value: Any) -> Hashable:
    """Return what is equal for values of the same, unchanged tensors only."""
    match value:
        case Tensor():
            return id(value), value._version
        case dict():
            return tuple((name, _identity(each)) for name, each in value.items())
        case list() | tuple():
            return tuple(map(_identity, value))
        case None | bool() | int() | float() | str():
            return type(value), value
        case _:
            return id(value)
