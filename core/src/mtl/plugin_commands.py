"""The commands that plugins add to the command line."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

import typer
from attrs import frozen
from typer.main import get_command, get_command_name

from mtl.plugins import Plugins

OWN_COMMANDS = ("init", "train", "plan", "test", "predict", "completion", "config", "plugins", "data", "runs")
"""The names of mtl's own commands and groups of commands."""


@frozen
class PluginCommands:
    """The commands of one plugin (`distribution:entry point`), or why it adds none."""

    plugin: str
    app: typer.Typer
    names: tuple[str, ...] = ()
    problem: str = ""


def plugin_commands(plugins: Plugins) -> Iterator[PluginCommands]:
    """Yield each plugin's commands, asked for apart, so that one that fails takes away nobody else's."""
    owners = dict.fromkeys(OWN_COMMANDS, "mtl")
    for implementation in plugins.manager.hook.mtl_commands.get_hookimpls():
        plugin, app = implementation.plugin_name, typer.Typer()
        try:
            with contextlib.redirect_stdout(sys.stderr):
                implementation.function(*([app] if implementation.argnames else []))
                names = _names(app)
                if names:
                    get_command(app)
        except (Exception, SystemExit) as error:
            yield PluginCommands(plugin, app, problem=f"{type(error).__name__}: {error}")
            continue
        clashes = [f"`{name}` is a command of {owners[name]}" for name in names if name in owners]
        if clashes:
            yield PluginCommands(plugin, app, problem=", ".join(clashes))
            continue
        owners |= dict.fromkeys(names, plugin)
        yield PluginCommands(plugin, app, tuple(names))


def _names(app: typer.Typer) -> list[str]:
    """Return the names of an app's commands and groups."""
    commands = [info.name or get_command_name(info.callback.__name__) for info in app.registered_commands]  # type: ignore[union-attr]
    return commands + [str(group.name) for group in app.registered_groups]
