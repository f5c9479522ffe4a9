"""`mtl plugins`"""

from __future__ import annotations

from typing import Annotated

import typer

from mtl.commands.options import JsonOption, print_json

plugins_app = typer.Typer(help="Show what is installed, and from where.", invoke_without_command=True)


@plugins_app.callback()
def listing(context: typer.Context, as_json: JsonOption = False) -> None:
    """Show what is installed, and from where."""
    if context.invoked_subcommand is not None:
        return
    from mtl.catalog import plugin_list
    from mtl.plugins import discover

    listed = plugin_list(discover())
    if as_json:
        print_json(listed)
        return
    from mtl.console import output
    from mtl.render.plugins import plugins_view

    output().print(plugins_view(listed))


@plugins_app.command()
def show(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A component or a distribution.")],
    as_json: JsonOption = False,
) -> None:
    """Show the keys and the source of a component."""
    from mtl.catalog import described
    from mtl.plugins import discover

    found = described(discover(), name)
    if as_json:
        print_json(found)
        return
    from mtl.console import output
    from mtl.render.plugins import described_view

    output().print(described_view(found))
