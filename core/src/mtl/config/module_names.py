"""Modules by the names that a config gives them in phases and parameter groups."""

from __future__ import annotations

from collections.abc import Mapping

from mtl.config.json_path import parse_path


def is_pattern(name: str) -> bool:
    """Return whether a parameter group's name is a pattern of parameter names, such as `*.bias`."""
    return any(character in name for character in "*?[")


def find_modules(name: str, modules: Mapping[str, str | None]) -> list[str]:
    """Return the paths that `name` matches among `modules`, JSON paths with their `shared_module_key`.

    It is a key, or names on the way to the module in the order of the config, the task's first, and means
    all modules below as well: `SST2.representation` reaches
    `tasks.SST2.MyTask.representation.MyEncoder.lstm`.
    """
    keyed = [path for path, key in modules.items() if key == name]
    return [
        path
        for path in modules
        if any(f"{path}.".startswith(f"{top}.") for top in keyed) or _leads_to(name, path)
    ]


def _leads_to(name: str, path: str) -> bool:
    try:
        wanted = list(parse_path(name.removeprefix("tasks.")))
    except ValueError:
        return False
    way = iter(parse_path(path)[1:])
    return bool(wanted) and next(way) == wanted[0] and all(part in way for part in wanted[1:])
