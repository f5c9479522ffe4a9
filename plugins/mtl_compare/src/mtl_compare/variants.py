"""From one config to those that are compared: all tasks together, each alone, and all but one."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import attrs
from attrs import frozen

from mtl import Component, UsageError, did_you_mean
from mtl.runs import EpochRule, Prepared, Timeline, dump, task_weights

TOGETHER = "together"


@frozen
class Variant:
    """A config that is trained once a seed. `steps` are the optimizer steps of each of its tasks,
    `total_steps` all of them, and `notes` say in what else than its tasks it differs."""

    name: str
    config: Mapping[str, Any]
    steps: Mapping[str, int]
    total_steps: int
    notes: tuple[str, ...] = ()

    @property
    def file_name(self) -> str:
        """The name as files have it: a task may be called anything."""
        return "-".join(quote(part, safe="") for part in self.name.split("/", 1))


def make_variants(
    prepared: Prepared, left_out: Sequence[str], alone: Sequence[str] | None = None
) -> list[Variant]:
    """Return `together`, `alone/TASK` for each of `alone` (all that are trained if None), `without/TASK` for
    each of `left_out`.

    Raises `UsageError` where there is nothing to compare.
    """
    trained = trained_tasks(prepared)
    check_trained("--without", left_out, trained)
    planned = planned_steps(prepared)
    # Resolved: what a task was told by another that shares its modules stands where it is needed.
    together = dump(prepared.config)
    notes = []
    if drop_save_paths(together["tasks"]):
        notes.append("no run writes to a `save_path`, as runs would overwrite each other")
    notes += hold_splits(together["tasks"], prepared)
    if any(phase.timeline.schedule.adapts for phase in prepared.phases):
        notes.append(
            "the schedule may follow the scores: the steps alone are those that it plans without them"
        )
    if left_out and len(trained) == 2:
        notes.append("of two tasks, one without the other is `alone`, so nothing is left out besides")
    total = sum(timeline.total_steps for timeline in _timelines(prepared))
    variants = [Variant(TOGETHER, together, planned, total, tuple(notes))]
    variants += [_variant(prepared, together, f"alone/{task}", [task]) for task in alone or trained]
    if len(trained) > 2:
        for task in dict.fromkeys(left_out):
            rest = [other for other in prepared.config.tasks if other != task]
            variants.append(_variant(prepared, together, f"without/{task}", rest))
    return variants


def check_trained(option: str, named: Sequence[str], trained: Sequence[str]) -> None:
    """Raises `UsageError` for a task that an option names and the run does not train."""
    for task in named:
        if task not in trained:
            hint = did_you_mean(task, trained) or f"the tasks that are trained are {', '.join(trained)}"
            raise UsageError(f"`{option}` must be a task that is trained, but is `{task}`; {hint}")


def trained_tasks(prepared: Prepared) -> list[str]:
    """Return the tasks with a weight above 0. Raises `UsageError` unless there are several, all in some
    step."""
    trained = [name for name, weight in task_weights(prepared.config).items() if weight > 0]
    if len(trained) < 2:
        raise UsageError(
            "there is nothing to compare: `tasks` must have at least two that are trained,"
            f" but has {len(trained)} ({', '.join(trained)})"
        )
    planned = planned_steps(prepared)
    idle = [name for name in trained if not planned[name]]
    if idle:
        raise UsageError(f"{idle[0]} takes no step in the run of all tasks, so there is nothing to compare")
    return trained


def _timelines(prepared: Prepared) -> list[Timeline]:
    return [phase.timeline for phase in prepared.phases]


def planned_steps(prepared: Prepared) -> Counter[str]:
    """Return the optimizer steps of each task in the whole run."""
    return sum(map(_steps_of_tasks, _timelines(prepared)), Counter())


def _steps_of_tasks(timeline: Timeline) -> Counter[str]:
    return Counter(span.task for steps in timeline.walk() for step in steps for span in step.spans)


def drop_save_paths(value: Any) -> bool:
    """Remove every `save_path` within a config, and return whether there was one."""
    found = False
    if isinstance(value, dict):
        found = value.get("save_path") is not None
        if found:
            value["save_path"] = None
        value = list(value.values())
    return any([found, *map(drop_save_paths, value)]) if isinstance(value, list) else found


def hold_splits(tasks: dict[str, Any], prepared: Prepared) -> list[str]:
    """Give the tasks of a dumped config whose rows are divided the same split for all seeds, so that runs are
    compared row by row; return a note if one had none of its own."""
    changed = []
    for name, component in prepared.config.tasks.items():
        data = component.config.data
        if data.config.is_divided and data.config.split_seed is None:
            tasks[name][component.name]["data"][data.name]["split_seed"] = prepared.config.seed
            changed.append(name)
    if not changed:
        return []
    return [f"the held-out rows of {', '.join(changed)} are those of seed {prepared.config.seed} in all runs"]


def _variant(prepared: Prepared, together: Mapping[str, Any], name: str, tasks: Sequence[str]) -> Variant:
    """Return the config in phases that train and score some of the tasks, each at its steps of the joint run.

    The other tasks stay in it: so vocabularies, modules and their first weights are those of the joint run.
    """
    config = copy.deepcopy(dict(together))
    weights = task_weights(prepared.config)
    trained = [task for task in tasks if weights[task] > 0]
    notes = []
    if len(trained) == 1:
        if prepared.config.balancer.name != "StaticWeights":
            notes.append(f"{name} has one task, so there is no {prepared.config.balancer.name}")
        config["balancer"] = {"StaticWeights": {}}
        config["target_task"] = trained[0]
    elif config["target_task"] not in (None, *tasks):
        config["target_task"] = None
        notes.append(f"{name} lacks the target task: its model is selected by all its tasks together")
    paces = [_pace(prepared, number, trained) for number in range(len(_timelines(prepared)))]
    _apply(config, paces, tasks)
    steps = sum((pace.steps for pace in paces if pace), Counter[str]())
    planned = planned_steps(prepared)
    notes += [
        f"{task} takes {steps[task]:,} steps in {name}, and {planned[task]:,} in the run of all tasks"
        for task in trained
        if steps[task] != planned[task]
    ]
    return Variant(name, config, dict(steps), sum(pace.total for pace in paces if pace), tuple(notes))


# --- the same number of steps ----------------------------------------------------------------------


@frozen
class Pace:
    """How long a phase is, and in what order its tasks come: `steps` are those of each task, `total` all."""

    schedule: Mapping[str, Any]
    epochs: int | None
    max_steps: int | None
    steps: Counter[str]
    total: int


def _pace(prepared: Prepared, phase: int, tasks: Sequence[str]) -> Pace | None:
    """Return the pace at which some of a phase's tasks take their steps of the joint run, in as many
    evaluations; None for a phase without them.

    A schedule that cannot give exactly these steps without the other tasks comes as near as it can.
    """
    timeline = _timelines(prepared)[phase]
    planned = _steps_of_tasks(timeline)
    kept = [task for task in tasks if planned[task]]
    if not kept:
        return None
    wanted = Counter({task: planned[task] for task in kept})
    total = sum(any(span.task in kept for span in step.spans) for steps in timeline.walk() for step in steps)
    per_evaluation = -(-total // min(_evaluations(prepared, phase), total))
    by_steps = EpochRule("steps", steps=per_evaluation)
    if len(kept) == 1:
        return Pace({"RoundRobin": _rule_settings(by_steps)}, None, total, wanted, total)
    paces = []
    for rule in (timeline.rule, by_steps):
        # The rule of the joint run, where it says the same without the other tasks.
        own = rule is timeline.rule
        if own and (rule.task not in (None, *kept) or prepared.config.trainer.evaluate_every_steps):
            continue
        epochs, steps = (timeline.epochs, timeline.max_steps and total) if own else (None, total)
        batching = {task: timeline.batching[task] for task in kept}
        walked = attrs.evolve(timeline, batching=batching, rule=rule, epochs=epochs, max_steps=steps)
        component, settings = prepared.phases[phase].schedule, _schedule_settings(prepared, phase)
        schedule = {component.name: {**_settings(component, settings, kept), **_rule_settings(rule)}}
        paces.append(Pace(schedule, epochs, steps, _steps_of_tasks(walked), walked.total_steps))
    return min(paces, key=lambda pace: sum(abs(pace.steps[task] - wanted[task]) for task in kept))


def _rule_settings(rule: EpochRule) -> dict[str, Any]:
    return {"epoch": rule.kind, "epoch_task": rule.task, "epoch_steps": rule.steps}


def _schedule_settings(prepared: Prepared, phase: int) -> Mapping[str, Any]:
    """Return the settings of a phase's schedule as JSON."""
    config = dump(prepared.config)
    stated = config["phases"][phase].get("schedule") if config["phases"] else None
    [settings] = (stated or config["schedule"]).values()
    return dict(settings)


def _settings(schedule: Component, settings: Mapping[str, Any], tasks: Sequence[str]) -> dict[str, Any]:
    """Return a schedule's settings, those by task for `tasks` only."""
    settings = dict(settings)
    for name in schedule.config.task_keys:
        if isinstance(settings[name], dict):
            settings[name] = {task: each for task, each in settings[name].items() if task in tasks}
    return settings


def _evaluations(prepared: Prepared, phase: int) -> int:
    """Return how often the joint run evaluates in a phase."""
    lengths = [timeline.total_steps for timeline in _timelines(prepared)]
    every = prepared.config.trainer.evaluate_every_steps
    first, last = sum(lengths[:phase]), sum(lengths[: phase + 1])
    if every is None:
        return sum(1 for steps in _timelines(prepared)[phase].walk() if steps)
    return sum(step % every == 0 or step == last for step in range(first + 1, last + 1))


def _apply(config: dict[str, Any], paces: Sequence[Pace | None], tasks: Sequence[str]) -> None:
    """Write the paces into a config, a phase each."""
    config["trainer"] |= {"epochs": None, "max_steps": None, "evaluate_every_steps": None}
    phases = config["phases"] or [{}]
    config["phases"] = [
        {
            **phase,
            "tasks": [task for task in phase.get("tasks") or tasks if task in tasks],
            "schedule": dict(pace.schedule),
            "epochs": pace.epochs,
            "steps": pace.max_steps,
        }
        for phase, pace in zip(phases, paces, strict=True)
        if pace
    ]
