"""What a config says about its tasks by name. Works on settings, so that it finds mistakes beside
others."""

from __future__ import annotations

from collections.abc import Iterator

from mtl.components import ModuleConfig, ScheduleConfig
from mtl.config.document import Document
from mtl.config.json_path import JSONPath, render_path
from mtl.config.module_names import find_modules, is_pattern
from mtl.config.settings import Items, Settings, Value
from mtl.errors import Problem
from mtl.suggest import nearest_or_all


def check_references(settings: Settings, document: Document) -> Iterator[Problem]:
    """Yield the tasks and modules that the config names but does not have, and rules of schedules and phases
    that lack a part."""
    tasks = settings.entries.get("tasks")
    names = [str(name) for name in tasks.items] if isinstance(tasks, Items) else []
    if not names:
        return
    target = settings.value("target_task")
    weights = settings.value("task_weights") or {}
    trained = [name for name in names if weights.get(name, 1.0) != 0]
    if target is not None and target not in names:
        yield document.problem(("target_task",), *_no_task("`target_task`", target, names))
    for name in weights:
        if name not in names:
            yield document.problem(("task_weights", name), *_no_task("`task_weights`", name, names), key=True)
    if not trained:
        message = "`task_weights` must leave a task with a weight above 0, but all are 0"
        yield document.problem(("task_weights",), message, "nothing would be trained")
    selection = settings.entries.get("selection")
    if isinstance(selection, Settings) and isinstance(tasks, Items):
        yield from _check_selection(selection, tasks, document)
    modules = dict(_modules(tasks)) if isinstance(tasks, Items) else {}
    schedule = settings.entries.get("schedule")
    phases = _settings_in(settings.entries.get("phases"))
    if isinstance(schedule, Settings):
        yield from _check_schedule(schedule, document, names, target, trained)
    for phase in phases:
        yield from _check_phase(phase, schedule, document, names, target, trained, modules)
    yield from _check_trainer(settings, document, bool(phases), modules)


def _check_selection(selection: Settings, tasks: Items, document: Document) -> Iterator[Problem]:
    """Yield the tasks that select the best model but do not exist or have no evaluation data."""
    names = [str(name) for name in tasks.items]
    for key in ("tasks", "early_stopping_tasks"):
        for name in selection.value(key) or {}:
            path = (*selection.path, key, name)
            if name not in names:
                yield document.problem(path, *_no_task(f"`{key}`", name, names), key=True)
            elif not _has_eval_path(tasks.items[name]):
                message = f"`{key}` must name tasks with evaluation data, but `{name}` has none"
                yield document.problem(
                    path, message, "give its data an `eval_path` or an `eval_fraction`", key=True
                )


def _has_eval_path(task: object) -> bool:
    """Return whether a task has evaluation data, as far as the settings of its data source say."""
    data = task.entries.get("data") if isinstance(task, Settings) else None
    if not isinstance(data, Settings):
        return True
    entries = [data.entries.get(key) for key in ("eval_path", "eval_fraction")]
    return any(isinstance(entry, Value) and entry.json is not None for entry in entries)


def _check_schedule(
    schedule: Settings,
    document: Document,
    names: list[str],
    target: str | None,
    trained: list[str],
) -> Iterator[Problem]:
    """Yield tasks that a schedule's options name and that it cannot order.

    `names` are the tasks that the options may name, `trained` those that the schedule orders.
    """
    if not issubclass(schedule.cls, ScheduleConfig):
        return
    epoch, task, steps = (schedule.value(name) for name in ("epoch", "epoch_task", "epoch_steps"))
    if epoch in (None, "auto"):
        epoch = "steps" if steps is not None else "task" if task is not None else "auto"
    if task is not None and task not in names:
        yield document.problem((*schedule.path, "epoch_task"), *_no_task("`epoch_task`", task, names))
    for key in schedule.cls.task_keys:
        for path, named in _named_by(schedule, key):
            if named not in names:
                message, hint = _no_task(f"`{key.rpartition('.')[2]}`", named, names)
                yield document.problem(path, message, hint, key=True)
    if task is not None and epoch != "task":
        message = f'`epoch_task` needs `epoch` "task", but `epoch` is "{epoch}"'
        yield document.problem((*schedule.path, "epoch_task"), message, 'set `epoch` to "task"')
    lasting = task or target
    if epoch == "task" and lasting in names and lasting not in trained:
        message = f"an epoch is the length of `{lasting}`, which is not trained"
        yield document.problem((*schedule.path, "epoch"), message, "name a task that is trained")
    if epoch == "task" and task is None and target is None:
        message = '`epoch` is "task", but neither `epoch_task` nor `target_task` names one'
        yield document.problem((*schedule.path, "epoch"), message, nearest_or_all("", names, "tasks"))
    if steps is not None and epoch != "steps":
        message = f'`epoch_steps` needs `epoch` "steps", but `epoch` is "{epoch}"'
        yield document.problem((*schedule.path, "epoch_steps"), message, 'set `epoch` to "steps"')
    if epoch == "steps" and steps is None:
        message = '`epoch` is "steps", but `epoch_steps` is missing'
        yield document.problem((*schedule.path, "epoch"), message, "as in `epoch_steps`: 1000")


def _lasts_a_task(schedule: Settings) -> bool:
    """Return whether an epoch of a schedule is the length of a task that it names."""
    epoch, task, steps = (schedule.value(name) for name in ("epoch", "epoch_task", "epoch_steps"))
    return epoch == "task" or (epoch in (None, "auto") and task is not None and steps is None)


def _named_by(schedule: Settings, key: str) -> Iterator[tuple[JSONPath, str]]:
    """Yield the tasks that an option names by its keys, and where."""
    items, _, option = key.rpartition(".")
    for settings in _settings_in(schedule.entries.get(items)) if items else [schedule]:
        yield from (((*settings.path, option, name), name) for name in settings.value(option) or {})


def _check_phase(
    phase: Settings,
    run_schedule: object,
    document: Document,
    names: list[str],
    target: str | None,
    trained: list[str],
    modules: dict[str, str | None],
) -> Iterator[Problem]:
    named = phase.value("tasks")
    for index, name in enumerate(named or ()):
        if name not in names:
            yield document.problem((*phase.path, "tasks", index), *_no_task("`tasks`", name, names))
    mine = [name for name in trained if named is None or name in named]
    if trained and not mine:
        message = "`tasks` must name a task with a weight above 0, but names none"
        yield document.problem((*phase.path, "tasks"), message, nearest_or_all("", trained, "tasks"))
    if phase.value("epochs") is None and phase.value("steps") is None:
        message = "a phase needs `epochs` or `steps`, but has neither"
        yield document.problem(phase.path, message, "as in `epochs`: 5")
    schedule = phase.entries.get("schedule")
    if isinstance(schedule, Settings):
        yield from _check_schedule(schedule, document, names, target, mine)
    elif isinstance(run_schedule, Settings) and _lasts_a_task(run_schedule):
        lasting = run_schedule.value("epoch_task") or target
        if lasting in names and lasting not in mine:
            message = f"an epoch is the length of `{lasting}`, which this phase does not train"
            yield document.problem(phase.path, message, "give the phase a `schedule` of its own")
    for index, name in enumerate(phase.value("freeze") or ()):
        if not is_pattern(name) and not find_modules(name, modules):
            yield document.problem((*phase.path, "freeze", index), *_no_module("`freeze`", name, modules))


def _check_trainer(
    settings: Settings, document: Document, phased: bool, modules: dict[str, str | None]
) -> Iterator[Problem]:
    trainer = settings.entries.get("trainer")
    if not isinstance(trainer, Settings):
        return
    for key in ("epochs", "max_steps"):
        if phased and trainer.value(key) is not None:
            message = f"`{key}` counts without `phases` only, and there are some"
            yield document.problem((*trainer.path, key), message, "each phase says how long it is")
    groups = trainer.entries.get("parameter_groups")
    for name in groups.items if isinstance(groups, Items) else ():
        if not is_pattern(name) and not find_modules(name, modules):
            path = (*trainer.path, "parameter_groups", name)
            yield document.problem(path, *_no_module("`parameter_groups`", name, modules), key=True)


def _settings_in(entry: object) -> list[Settings]:
    return (
        [each for each in entry.items.values() if isinstance(each, Settings)]
        if isinstance(entry, Items)
        else []
    )


def _modules(tasks: Items) -> Iterator[tuple[str, str | None]]:
    """Yield the JSON path of every module, and its `shared_module_key`."""
    left = list(_settings_in(tasks))
    while left:
        settings = left.pop(0)
        if issubclass(settings.cls, ModuleConfig):
            yield render_path(settings.path), settings.value("shared_module_key")
        left += settings.children()


def _no_module(subject: str, name: str, modules: dict[str, str | None]) -> tuple[str, str]:
    known = [*dict.fromkeys(key for key in modules.values() if key), *modules]
    return f"{subject} must name a module, but none is called `{name}`", nearest_or_all(
        name, known, "modules"
    )


def _no_task(subject: str, name: str, names: list[str]) -> tuple[str, str]:
    return f"{subject} must name a task, but there is none called `{name}`", nearest_or_all(
        name, names, "tasks"
    )
