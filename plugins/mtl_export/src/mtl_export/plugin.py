"""What this distribution brings: the commands `mtl export` and `mtl push`. Free of torch and onnx."""

from __future__ import annotations

import typer

from mtl import hookimpl
from mtl_export.command import export, push

mtl_api = ">=1,<2"


@hookimpl
def mtl_commands(app: typer.Typer) -> None:
    app.command()(export)
    app.command()(push)
