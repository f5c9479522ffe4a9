"""`mtl plugins`"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mtl.commands.new import new
from mtl.commands.options import JsonOption, print_json, results_only
from mtl.plugin_commands import plugin_commands

if TYPE_CHECKING:
    from mtl.plugins import Plugins

plugins_app = typer.Typer(help="List, show, check and write plugins.", invoke_without_command=True)
plugins_app.command()(new)


@plugins_app.callback()
def listing(context: typer.Context, as_json: JsonOption = False) -> None:
    """List installed plugins and what they provide."""
    if context.invoked_subcommand is not None:
        return
    from mtl.catalog import plugin_list
    from mtl.plugins import discover

    plugins = discover()
    commands, problems = _commands(plugins)
    listed = {"plugins": plugin_list(plugins, commands), "warnings": [*plugins.warnings, *problems]}
    if as_json:
        print_json(listed)
        return
    from mtl.render.plugins import plugins_view
    from mtl.render.terminal import output

    output().print(plugins_view(listed))


def _commands(plugins: Plugins) -> tuple[dict[str, tuple[str, ...]], list[str]]:
    """Return the commands that each plugin adds, and why one adds none."""
    added = list(plugin_commands(plugins))
    problems = [f"{each.plugin} adds no commands: {each.problem}" for each in added if each.problem]
    return {each.plugin: each.names for each in added}, problems


@plugins_app.command()
def show(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A component or a distribution.")],
    as_json: JsonOption = False,
) -> None:
    """Show the settings and the source of a component or a distribution."""
    from mtl.catalog import described
    from mtl.plugins import discover

    with results_only():
        plugins = discover()
        found = described(plugins, _commands(plugins)[0], name)
    if as_json:
        print_json(found)
        return
    from mtl.render.plugins import described_view
    from mtl.render.terminal import output

    output().print(described_view(found))


@plugins_app.command()
def check(
    distribution: Annotated[
        str, typer.Argument(metavar="DISTRIBUTION", help="An installed distribution with a plugin.")
    ],
    config: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="A run's config: components that it names are checked with its settings and files.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check a plugin and all its components.

    Exit status 1 if a check fails.
    """
    import attrs

    from mtl.plugins import discover
    from mtl.testing.trials import distribution_trials

    with results_only(), distribution_trials(discover(), distribution, config) as trials:
        checks = [attrs.asdict(each) for trial in trials for each in trial.run()]
    failed = any(each["outcome"] == "failed" for each in checks)
    if as_json:
        print_json({"distribution": distribution, "passed": not failed, "checks": checks})
    else:
        from mtl.render.checks import checks_view
        from mtl.render.terminal import output

        output().print(checks_view(checks))
    if failed:
        raise typer.Exit(1)
