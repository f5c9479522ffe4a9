"""Rows given in Python: their places in a config, where paths of files stand otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mtl.components import Split
from mtl.config.document import Document
from mtl.config.json_path import JSONPath
from mtl.config.overrides import write_value
from mtl.errors import UsageError
from mtl.fields import TablePath
from mtl.plugins import Plugins
from mtl.suggest import nearest_or_all

Given = Mapping[str, Mapping[Split, TablePath | str]]
"""By task and split: a table, or a path."""


def write_given(document: Document, given: Given, plugins: Plugins) -> None:
    """Write tables and paths into a document, in place of the paths of their splits.

    Raises `UsageError` for a task that the document does not have.
    """
    for name, splits in given.items():
        data = _data_path(document.value, name, plugins)
        for split, path in splits.items():
            where = (*data, f"{split}_path")
            document.value = write_value(document.value, where, str(path))
            document.origins[where] = f"data={{{name!r}: {{{split!r}: ...}}}}"


def _data_path(value: Any, name: str, plugins: Plugins) -> JSONPath:
    """Return the path of the settings of a task's data source."""
    value = value if isinstance(value, dict) else {}
    tasks = value.get("tasks") if isinstance(value.get("tasks"), dict) else {}
    path: JSONPath = ("tasks", name)
    task = tasks.get(name)
    single = value.get("task")
    if task is None and single is not None and _only_name(single) == name:
        path, task = ("task",), single
    component = _only_name(task)
    if component is None:
        known = [*tasks, *([_only_name(single)] if single is not None else [])]
        raise UsageError(f"`data` must name tasks of the config, but names {name!r}" + _known(name, known))
    path = (*path, component, "data")
    settings = task[component] if isinstance(task, dict) else {}
    data = settings.get("data") if isinstance(settings, dict) else None
    source = _only_name(data)
    return (*path, source) if source is not None and source in plugins.available("data_source") else path


def _known(name: str, known: list[Any]) -> str:
    names = [each for each in known if isinstance(each, str)]
    return f" ({nearest_or_all(name, names, 'tasks')})" if names else ""


def _only_name(value: Any) -> str | None:
    """Return the name of a component: `"Name"` or the only key of `{"Name": ...}`; None for anything else."""
    if isinstance(value, str):
        return value
    return next(iter(value)) if isinstance(value, dict) and len(value) == 1 else None
