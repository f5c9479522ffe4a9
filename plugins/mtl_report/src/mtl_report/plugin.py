"""What this distribution brings: the command `mtl report`. Free of torch and matplotlib."""

from __future__ import annotations

import typer

from mtl import hookimpl
from mtl_report.command import report

mtl_api = ">=1,<2"


@hookimpl
def mtl_commands(app: typer.Typer) -> None:
    app.command()(report)
