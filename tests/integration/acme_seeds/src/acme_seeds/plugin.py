"""What this distribution brings: the command `mtl seeds`."""

from __future__ import annotations

import typer

from mtl import hookimpl

mtl_api = ">=1,<2"


@hookimpl
def mtl_commands(app: typer.Typer) -> None:
    from acme_seeds.command import seeds

    app.command("seeds")(seeds)
