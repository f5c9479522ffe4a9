"""What this distribution brings: the command `mtl serve`. Free of torch and FastAPI."""

from __future__ import annotations

import typer

from mtl import hookimpl
from mtl_serve.command import serve

mtl_api = ">=1,<2"


@hookimpl
def mtl_commands(app: typer.Typer) -> None:
    app.command()(serve)
