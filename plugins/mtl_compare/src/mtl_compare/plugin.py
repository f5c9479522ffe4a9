"""What mtl-compare brings: a command. Free of torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mtl import hookimpl

if TYPE_CHECKING:
    import typer

mtl_api = ">=1,<2"


@hookimpl
def mtl_commands(app: typer.Typer) -> None:
    from mtl_compare.command import compare

    app.command("compare")(compare)
