"""`mtl plugins new`"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from mtl.components import KINDS
from mtl.errors import UsageError

CHOICES = ", ".join(KINDS)
DEFAULT_KIND = "task"


def new(
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="The plugin's name, such as star-ratings.", show_default=False),
    ] = None,
    kind: Annotated[
        str | None,
        typer.Option(metavar="KIND", help=f"One of {CHOICES}; {DEFAULT_KIND} if absent.", show_default=False),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="The folder to write, new or empty; ./NAME if absent.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Write a new plugin: a distribution with a component, its tests and a config that trains it.

    On a terminal it asks for what the command leaves out.
    """
    from mtl.scaffold import write_plugin

    asks = sys.stdin.isatty()
    if name is None and not asks:
        raise UsageError("NAME is missing (`mtl plugins new --help` says more)")
    if name is None:
        name = str(typer.prompt("name", err=True))
    if kind is None and asks:
        kind = str(typer.prompt(f"kind ({CHOICES})", default=DEFAULT_KIND, err=True))
    folder = output or Path(name)
    written = write_plugin(name, (kind or DEFAULT_KIND).replace("-", "_"), folder)
    print(f"{len(written)} files written to {folder}")
    print("It trains and passes its tests as it is; README.md there says what is where:")
    for command in (f"cd {shlex.quote(str(folder))}", "pip install -e '.[test]'", "pytest"):
        print(f"  {command}")
