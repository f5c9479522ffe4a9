"""Views of installed plugins and components."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mtl.render.cells import message, section, table


def plugins_view(listed: Mapping[str, Any]) -> Group:
    """Return a table of plugins: their versions, states, what they provide, and why one is not used."""
    made = table("distribution", "version", "entry point", "API", "import", "state", "provides")
    for plugin in listed["plugins"]:
        provides = "\n".join(f"{kind}: {', '.join(names)}" for kind, names in _by_kind(plugin))
        style = {"ok": "green", "blocked": "dim"}.get(plugin["state"], "red")
        state = Text(plugin["state"], style=style)
        made.add_row(
            Text(plugin["distribution"], style="bold"),
            plugin["version"],
            plugin["name"],
            plugin["api"] or "",
            _seconds(plugin["import_seconds"]),
            state,
            provides or Text(plugin["cause"], style=style),
        )
    warnings = [message("warning", "yellow", line) for line in listed["warnings"]]
    return Group(made, *([Text(), *warnings] if warnings else []))


def described_view(found: Mapping[str, Any]) -> Group:
    """Return plugins and components in full, for `mtl plugins show`."""
    return Group(
        *(_plugin(plugin) for plugin in found["plugins"]),
        *(_component(component) for component in found["components"]),
    )


def _seconds(seconds: float) -> str:
    """Return how long a plugin took to import; empty if it was not imported."""
    return f"{seconds:.2f} s" if seconds else ""


def _by_kind(plugin: Mapping[str, Any]) -> Iterator[tuple[str, Sequence[str]]]:
    """Yield what a plugin provides: components by kind, commands, callbacks, config readers and baselines."""
    yield from ((kind.replace("_", " "), names) for kind, names in plugin["components"].items())
    for what in ("commands", "callbacks", "config_readers", "baselines"):
        if plugin[what]:
            yield what.replace("_", " "), plugin[what]


def _plugin(plugin: Mapping[str, Any]) -> Group:
    rows = _facts(
        ("version", plugin["version"]),
        ("entry point", f"{plugin['name']} = {plugin['module']}"),
        ("state", plugin["state"]),
        ("cause", plugin["cause"]),
        ("plugin API", plugin["api"]),
        ("import", _seconds(plugin["import_seconds"])),
        *((kind, ", ".join(names)) for kind, names in _by_kind(plugin)),
    )
    return section(plugin["distribution"], rows)


def _component(component: Mapping[str, Any]) -> Group:
    kind = component["kind"].replace("_", " ")
    rows = _facts(
        ("kind", kind),
        ("from", f"{component['distribution']} {component['version']}"),
        *((name.replace("_", " "), _declared(value)) for name, value in component["declares"].items()),
        ("config", component["config"]["file"]),
        ("source", component["factory"]["file"]),
    )
    keys = table("key", "takes", "default", "")
    for key in component["keys"]:
        takes = " ".join(filter(None, [key["type"], " and ".join(key["limits"]), *_accepts(key["accepts"])]))
        takes += " or null" if key["nullable"] else ""
        default = Text("required", style="yellow") if key["required"] else _said(key["default"])
        keys.add_row(Text(key["key"], style="bold"), takes, default, Text(key["help"], style="dim"))
    table_of_keys: list[RenderableType] = [Text(), keys] if component["keys"] else []
    return section(component["name"], Text(component["help"]), Text(), rows, *table_of_keys)


def _facts(*rows: tuple[str, str | None]) -> Table:
    made = Table.grid(padding=(0, 3, 0, 0))
    made.add_column(style="dim")
    made.add_column(overflow="fold")
    for name, value in rows:
        if value:
            made.add_row(name, value)
    return made


def _accepts(accepts: Mapping[str, Any]) -> Iterator[str]:
    for name, value in accepts.items():
        yield f"with {name} " + (" or ".join(map(str, value)) if isinstance(value, list) else str(value))


def _said(value: Any) -> str:
    """Format a default or declared value as JSON, strings without quotes."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _declared(value: Any) -> str | None:
    if isinstance(value, Mapping):
        return ", ".join(f"{name.replace('_', ' ')} {_said(each)}" for name, each in value.items())
    if isinstance(value, list):
        return ", ".join(each["name"] if isinstance(each, Mapping) else _said(each) for each in value)
    return None if value is None else _said(value)
