"""`mtl report`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mtl.commands.options import results_only


def report(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="A run folder, or one of `mtl compare`.", show_default=False)
    ],
    output: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Where to write; DIR/report.html if absent.", show_default=False),
    ] = None,
    no_data: Annotated[
        bool, typer.Option("--no-data", help="Read no data files; the report then shows no rows of them.")
    ] = False,
) -> None:
    """Write a run or a comparison as one HTML file, and print where it is."""
    from mtl_report.report import write_report

    with results_only():
        path = write_report(folder, output, data=not no_data)
    print(path)
