"""What a config says about its tasks by name. Works on settings, so that it finds mistakes beside
others."""

from __future__ import annotations

from collections.abc import Iterator

from mtl.components import ScheduleConfig
from mtl.config.document import Document
from mtl.config.settings import Items, Settings
from mtl.config.suggest import nearest_or_all
from mtl.errors import Problem


def check_references(settings: Settings, document: Document) -> Iterator[Problem]:
    """The tasks that the config names but does not have, and rules of the schedule that lack a part."""
    tasks = settings.entries.get("tasks")
    names = [str(name) for name in tasks.items] if isinstance(tasks, Items) else []
    if not names:
        return
    target = settings.value("target_task")
    weights = settings.value("task_weights") or {}
    schedule = settings.entries.get("schedule")
    if target is not None and target not in names:
        yield document.problem(("target_task",), *_no_task("`target_task`", target, names))
    for name in weights:
        if name not in names:
            yield document.problem(("task_weights", name), *_no_task("`task_weights`", name, names), key=True)
    if all(weights.get(name, 1.0) == 0 for name in names):
        message = "`task_weights` must leave a task with a weight above 0, but all are 0"
        yield document.problem(("task_weights",), message, "nothing would be trained")
    if isinstance(schedule, Settings) and issubclass(schedule.cls, ScheduleConfig):
        yield from _check_schedule(schedule, document, names, target, weights)


def _check_schedule(
    schedule: Settings, document: Document, names: list[str], target: str | None, weights: dict[str, float]
) -> Iterator[Problem]:
    epoch, task, steps = (schedule.value(name) for name in ("epoch", "epoch_task", "epoch_steps"))
    if task is not None and task not in names:
        yield document.problem((*schedule.path, "epoch_task"), *_no_task("`epoch_task`", task, names))
    for key in schedule.cls.task_keys:
        for name in schedule.value(key) or {}:
            if name not in names:
                where = (*schedule.path, key, name)
                yield document.problem(where, *_no_task(f"`{key}`", name, names), key=True)
    if task is not None and epoch != "task":
        message = f'`epoch_task` counts with `epoch` "task" only, but `epoch` is "{epoch or "auto"}"'
        yield document.problem((*schedule.path, "epoch_task"), message, 'set `epoch` to "task"')
    lasting = task or target
    if epoch == "task" and lasting in names and weights.get(lasting, 1.0) == 0:
        message = f"an epoch is the length of `{lasting}`, but its weight is 0, so it is not trained"
        yield document.problem((*schedule.path, "epoch"), message, "name a task that is trained")
    if epoch == "task" and task is None and target is None:
        message = '`epoch` is "task", but neither `epoch_task` nor `target_task` names one'
        yield document.problem((*schedule.path, "epoch"), message, nearest_or_all("", names, "tasks"))
    if steps is not None and epoch != "steps":
        message = f'`epoch_steps` counts with `epoch` "steps" only, but `epoch` is "{epoch or "auto"}"'
        yield document.problem((*schedule.path, "epoch_steps"), message, 'set `epoch` to "steps"')
    if epoch == "steps" and steps is None:
        message = '`epoch` is "steps", but `epoch_steps` is missing'
        yield document.problem((*schedule.path, "epoch"), message, "as in `epoch_steps`: 1000")


def _no_task(subject: str, name: str, names: list[str]) -> tuple[str, str]:
    return f"{subject} must name a task, but there is none called `{name}`", nearest_or_all(
        name, names, "tasks"
    )
