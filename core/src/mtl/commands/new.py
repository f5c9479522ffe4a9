"""`mtl plugins new`"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from mtl.components import KINDS
from mtl.errors import UsageError

CHOICES = ", ".join([*KINDS, "command"])
DEFAULT_KIND = "task"


def new(
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="The plugin's name, such as star-ratings.", show_default=False),
    ] = None,
    kind: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KIND", help=f"One of {CHOICES}; repeatable; default: {DEFAULT_KIND}.", show_default=False
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="A new or empty folder; default: NAME.", show_default=False),
    ] = None,
) -> None:
    """Write a new plugin: a distribution with components or a command, tests and a config that trains.

    On a terminal it asks for what the command omits.
    """
    from mtl.scaffold import write_plugin

    asks = sys.stdin.isatty()
    if name is None and not asks:
        raise UsageError("NAME is missing (`mtl plugins new --help` says more)")
    if name is None:
        name = str(typer.prompt("name", err=True))
    if not kind and asks:
        kind = str(typer.prompt(f"kind ({CHOICES})", default=DEFAULT_KIND, err=True)).split()
    folder = output or Path(name)
    written = write_plugin(name, [each.replace("-", "_") for each in kind or [DEFAULT_KIND]], folder)
    print(f"{len(written)} files written to {folder}")
    print("It trains and passes its tests as it is; README.md there explains its files:")
    for command in (f"cd {shlex.quote(str(folder))}", "pip install -e '.[test]'", "pytest"):
        print(f"  {command}")
