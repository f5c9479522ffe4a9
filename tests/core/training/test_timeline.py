"""The order of a run: exact, exhaustive, and going on where an epoch cut a dataset off."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from copy import deepcopy
from itertools import islice
from typing import Any

import numpy as np
import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from mtl.builtin.config import (
    AnnealedConfig,
    DynamicConfig,
    JointConfig,
    ProportionalConfig,
    RoundRobinConfig,
    SequentialConfig,
    ShuffledConfig,
    StageConfig,
    StepwiseConfig,
    TemperatureConfig,
    WeightedConfig,
)
from mtl.builtin.schedules import (
    Annealed,
    Dynamic,
    Joint,
    Proportional,
    RoundRobin,
    Sequential,
    Shuffled,
    Stepwise,
    Temperature,
    Weighted,
)
from mtl.components import Epoch, Schedule
from mtl.data.batching import Batching
from mtl.errors import ComponentError, UsageError
from mtl.training.timeline import PATIENCE, BatchSpan, Cursor, EpochRule, Step, Timeline

HIGHER = {"task0": True, "task1": False}

SCHEDULES: list[Schedule[Any]] = [
    RoundRobin(RoundRobinConfig()),
    Proportional(ProportionalConfig()),
    Sequential(SequentialConfig()),
    Temperature(TemperatureConfig(temperature=3.0, cap=5)),
    Weighted(WeightedConfig(weights={"task0": 0.7, "task1": 1.3})),
    Shuffled(ShuffledConfig()),
    Joint(JointConfig()),
    Annealed(AnnealedConfig(start={"task0": 3.0}, end={"task0": 0.5, "task1": 2.0})),
    Annealed(AnnealedConfig(end={"task0": 0.2}, steps=9)),
    Stepwise(
        StepwiseConfig(
            stages=[StageConfig(from_step=0, weights={"task0": 2.0}), StageConfig(from_step=4, weights={})]
        )
    ),
    Dynamic(DynamicConfig(goals={"task0": 0.9, "task1": 20.0}, minimum_share=0.2)),
]
schedules = st.sampled_from(SCHEDULES)
sizes = st.lists(st.integers(1, 40), min_size=1, max_size=6)


def timeline(
    schedule: Schedule[Any],
    rows: list[int],
    rule: EpochRule,
    *,
    epochs: int | None = 2,
    max_steps: int | None = None,
    accumulate: int = 1,
    batch_size: int = 3,
    batch_tokens: int | None = None,
    seed: int = 0,
) -> Timeline:
    generator = np.random.default_rng(1)
    batching = {
        f"task{index}": Batching(
            generator.integers(1, 9, size=size), f"task{index}", seed, batch_size, batch_tokens, accumulate
        )
        for index, size in enumerate(rows)
    }
    return Timeline(schedule, rule, batching, seed, epochs, max_steps, higher_is_better=HIGHER)


def tasks_of(step: Step) -> list[str]:
    return [part.task for part in step.spans]


def rows_of(line: Timeline, steps: list[Step]) -> dict[str, Counter[int]]:
    seen: dict[str, Counter[int]] = {task: Counter() for task in line.batching}
    for part in (part for step in steps for part in step.spans):
        for batch in line.batching[part.task].batches(part.pass_index)[part.start : part.stop]:
            seen[part.task].update(batch.tolist())
    return seen


@given(schedules, sizes, st.integers(1, 3), st.integers(1, 3), st.sampled_from([None, 20]))
def test_d7_d8_each_row_is_seen_exactly_once_an_exhaustive_epoch(
    schedule: Schedule[Any], rows: list[int], epochs: int, accumulate: int, budget: int | None
) -> None:
    line = timeline(
        schedule, rows, EpochRule("all"), epochs=epochs, accumulate=accumulate, batch_tokens=budget
    )
    seen = rows_of(line, [step for steps in line.walk() for step in steps])
    for size, counts in zip(rows, seen.values(), strict=True):
        assert counts == dict.fromkeys(range(size), epochs)


@given(schedules, sizes, st.sampled_from(["first", "all", "task", "steps"]), st.integers(1, 3))
def test_d5_planned_steps_are_the_steps_walked(
    schedule: Schedule[Any], rows: list[int], kind: str, accumulate: int
) -> None:
    line = timeline(schedule, rows, EpochRule(kind, task="task0", steps=7), accumulate=accumulate)
    walked = [len(steps) for steps in line.walk()]
    assert line.total_steps == sum(walked)
    assert len(walked) == 2
    if kind == "steps":
        assert walked == [7, 7]
    if kind == "task":
        own = [sum("task0" in tasks_of(step) for step in steps) for steps in line.walk()]
        assert own == [line.steps_left("task0", Cursor())] * 2


@given(sizes.filter(lambda rows: len(rows) > 1), st.sampled_from(["first", "task"]))
def test_round_robin_gives_every_task_the_same_share_of_an_epoch(rows: list[int], kind: str) -> None:
    line = timeline(SCHEDULES[0], rows, EpochRule(kind, task="task0"))
    for steps in line.walk():
        shares = Counter(task for step in steps for task in tasks_of(step))
        assert len(set(shares.values())) == 1 and len(shares) == len(rows)


@given(schedules, st.sampled_from(["first", "task", "steps"]))
def test_d1_every_row_is_reached_though_epochs_cut_datasets_off(schedule: Schedule[Any], kind: str) -> None:
    line = timeline(schedule, [40, 6], EpochRule(kind, task="task1", steps=3), epochs=50)
    seen = rows_of(line, [step for steps in line.walk() for step in steps])
    assert set(seen["task0"]) == set(range(40))
    assert set(seen["task1"]) == set(range(6))


@given(schedules, sizes, st.sampled_from(["first", "all", "task", "steps"]), st.integers(1, 3))
def test_a_dataset_continues_where_the_epoch_ended(
    schedule: Schedule[Any], rows: list[int], kind: str, accumulate: int
) -> None:
    line = timeline(schedule, rows, EpochRule(kind, task="task0", steps=5), epochs=4, accumulate=accumulate)
    place = dict.fromkeys(line.batching, (0, 0))
    for steps in line.walk():
        for part in (part for step in steps for part in step.spans):
            assert (part.pass_index, part.start) == place[part.task]
            end = part.stop == line.batching[part.task].count(part.pass_index)
            place[part.task] = (part.pass_index + 1, 0) if end else (part.pass_index, part.stop)


def test_d10_the_sequence_follows_the_seed() -> None:
    def tasks(seed: int) -> list[str]:
        line = timeline(SCHEDULES[1], [40, 30, 20], EpochRule("all"), seed=seed)
        return [step.task for steps in line.walk() for step in steps]

    assert tasks(0) == tasks(0)
    assert tasks(0) != tasks(1)


def test_proportional_draws_differ_between_epochs() -> None:
    line = timeline(SCHEDULES[1], [60, 60], EpochRule("all"))
    first, second = ([step.task for step in steps] for steps in line.walk())
    assert first != second


def test_sequential_takes_the_tasks_in_order() -> None:
    line = timeline(SCHEDULES[2], [6, 3], EpochRule("all"), epochs=1)
    assert [step.task for steps in line.walk() for step in steps] == ["task0", "task0", "task1"]


@pytest.mark.parametrize("maximum", [1, 5, 1000])
def test_max_steps_ends_the_run_within_an_epoch(maximum: int) -> None:
    line = timeline(SCHEDULES[0], [10, 10], EpochRule("all"), epochs=None, max_steps=maximum)
    assert line.total_steps == maximum


@pytest.mark.parametrize(
    ("schedule", "shares"),
    [
        (Temperature(TemperatureConfig(temperature=1.0)), [10, 90, 900]),
        (Temperature(TemperatureConfig(temperature=2.0)), [10**0.5, 90**0.5, 900**0.5]),
        (Temperature(TemperatureConfig(temperature=1.0, cap=90)), [10, 90, 90]),
        (Temperature(TemperatureConfig(temperature=1e9)), [1, 1, 1]),
        (Weighted(WeightedConfig(weights={"b": 2.0, "c": 0.5})), [1, 2, 0.5]),
    ],
)
def test_tasks_are_drawn_as_often_as_their_shares_say(schedule: Schedule[Any], shares: list[float]) -> None:
    draws = schedule.order(Epoch(sizes={"a": 10, "b": 90, "c": 900}, cycle=True, seed=1))
    counts = Counter(islice(draws, 20_000))
    for task, share in zip("abc", shares, strict=True):
        assert counts[task] / 20_000 == pytest.approx(share / sum(shares), abs=0.012)


def test_a_phase_continues_where_the_previous_one_is_planned_to_end() -> None:
    first = timeline(SCHEDULES[0], [40, 10], EpochRule("all"), epochs=None, max_steps=9)
    second = evolve(timeline(SCHEDULES[0], [40, 10], EpochRule("all"), epochs=1), begin=first.end)
    [steps] = second.walk()
    assert [steps[0].spans[0], steps[1].spans[0]] == [
        BatchSpan("task0", 0, 5, 6),
        BatchSpan("task1", 1, 0, 1),
    ]
    assert second.total_steps == len(steps) == 9 + 4
    assert second.end == {"task0": Cursor(1, 0), "task1": Cursor(2, 0)}


def test_an_epoch_may_begin_with_all_of_the_other_tasks() -> None:
    rows = [4, 3 * (PATIENCE + 100)]
    line = timeline(SCHEDULES[2], rows, EpochRule("task", task="task0"), epochs=1)
    assert line.total_steps == PATIENCE + 102


@pytest.mark.parametrize("tasks", ["task2", (), ("task0", "task0"), ("task0", "task2")])
def test_a_schedule_that_names_no_step_is_named(tasks: str | tuple[str, ...]) -> None:
    class Wrong(Schedule[JointConfig]):
        def order(self, epoch: Epoch) -> Iterator[str | tuple[str, ...]]:
            yield tasks

    line = timeline(Wrong(JointConfig()), [9, 9], EpochRule("all"))
    with pytest.raises(ComponentError, match=r"Wrong .* failed to order the steps: .*of different tasks"):
        next(line.walk())


@pytest.mark.parametrize("kind", ["first", "task"])
def test_an_epoch_that_would_never_end_is_refused(kind: str) -> None:
    config = AnnealedConfig(start={"task1": 0.0}, end={"task1": 0.0})
    with pytest.raises(UsageError, match="an epoch is the length of task1, but the schedule gives it none"):
        timeline(Annealed(config), [40, 6], EpochRule(kind, task="task1")).total_steps  # noqa: B018


@given(
    schedules,
    st.lists(st.integers(1, 40), min_size=2, max_size=4),
    st.sampled_from(["first", "all", "task", "steps"]),
    st.lists(st.tuples(st.integers(0, 30), st.floats(0.01, 40)), max_size=8),
    st.data(),
)
def test_a_schedule_that_adapts_repeats_itself_from_any_point_of_its_history(
    schedule: Schedule[Any],
    rows: list[int],
    kind: str,
    figures: list[tuple[int, float]],
    data: st.DataObject,
) -> None:
    line = timeline(schedule, rows, EpochRule(kind, task="task0", steps=5), epochs=4)
    waiting = sorted(figures)
    known: dict[str, list[list[float]]] = {task: [] for task in line.batching}
    done: list[Step] = []
    checkpoints: list[tuple[int, dict[str, list[list[float]]]]] = []
    for steps in line.walk(known):
        for step in steps:
            done.append(step)
            while waiting and waiting[0][0] <= len(done):
                figure = waiting.pop(0)[1]
                for task in line.batching:
                    known[task].append([len(done), figure])
            checkpoints.append((len(done), deepcopy(known)))
    count, scores = data.draw(st.sampled_from(checkpoints))
    again: list[Step] = []
    for steps in line.walk(scores):
        again += steps
        if len(again) >= count:
            break
    assert again == done[: len(again)]


def drawn(schedule: Schedule[Any], epoch: Epoch, first: int, steps: int) -> Counter[str]:
    """The tasks of some steps, over many seeds."""
    orders = (schedule.order(evolve(epoch, seed=seed)) for seed in range(1000 // steps))
    return Counter(str(task) for order in orders for task in islice(order, first, first + steps))


CYCLE = Epoch(sizes={"a": 10, "b": 30}, cycle=True, seed=0, steps=101, first_step=0)


@pytest.mark.parametrize(
    ("settings", "epoch", "step", "share"),
    [
        ({}, CYCLE, 0, 0.9),
        ({}, CYCLE, 50, 0.5),
        ({}, CYCLE, 100, 0.1),
        ({"steps": 11}, CYCLE, 5, 0.5),
        ({"steps": 11}, CYCLE, 90, 0.1),
        ({}, evolve(CYCLE, first_step=25), 25, 0.5),
        ({}, evolve(CYCLE, steps=None, epochs=5, index=1), 0, 0.7),
        ({}, evolve(CYCLE, steps=None, epochs=5, index=4), 77, 0.1),
    ],
)
def test_annealed_shares_move_in_a_straight_line(
    settings: dict[str, Any], epoch: Epoch, step: int, share: float
) -> None:
    schedule = Annealed(AnnealedConfig(start={"a": 9.0}, end={"b": 9.0}, **settings))
    assert drawn(schedule, epoch, step, 1)["a"] / 1000 == pytest.approx(share, abs=0.05)


def test_stepwise_shares_change_at_their_steps() -> None:
    stages = [StageConfig(from_step=0, weights={"a": 3.0}), StageConfig(from_step=4, weights={"a": 0.0})]
    schedule = Stepwise(StepwiseConfig(stages=stages))
    assert drawn(schedule, CYCLE, 3, 1)["a"] / 1000 == pytest.approx(0.75, abs=0.05)
    assert drawn(schedule, CYCLE, 4, 10) == {"b": 1000}
    assert drawn(schedule, evolve(CYCLE, first_step=4), 0, 10) == {"b": 1000}


@pytest.mark.parametrize(
    ("scores", "share"),
    [
        ({}, 0.5),
        ({"a": [0.45]}, 0.5),
        ({"a": [0.1, 0.45], "b": [80.0]}, 0.5 / (0.5 + 0.75)),
        ({"a": [0.9], "b": [80.0]}, 0.1 / 1.1),
        ({"a": [0.95], "b": [10.0]}, 0.5),
    ],
)
def test_dynamic_shares_are_the_distances_to_the_goals(scores: dict[str, list[float]], share: float) -> None:
    schedule = Dynamic(DynamicConfig(goals={"a": 0.9, "b": 20.0}, minimum_share=0.1))
    epoch = evolve(CYCLE, scores=scores, higher_is_better={"a": True, "b": False})
    assert drawn(schedule, epoch, 0, 100)["a"] / 1000 == pytest.approx(share, abs=0.05)


@pytest.mark.parametrize("said", ["auto", None])
def test_the_options_of_an_epoch_imply_its_kind(said: str | None) -> None:
    kind: Any = {} if said is None else {"epoch": said}
    steps = EpochRule.of(RoundRobinConfig(epoch_steps=7, **kind), "target")
    assert (steps.kind, steps.steps) == ("steps", 7)
    task = EpochRule.of(RoundRobinConfig(epoch_task="other", **kind), "target")
    assert (task.kind, task.task) == ("task", "other")
    assert EpochRule.of(RoundRobinConfig(**kind), "target") == EpochRule("task", task="target")
