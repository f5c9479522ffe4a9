"""`mtl export`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mtl.commands.options import one_of, results_only

FORMATS = ("torch", "onnx", "folder")
PRECISIONS = ("fp32", "fp16", "int8")


def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.", show_default=False)],
    output: Annotated[
        Path, typer.Option(metavar="PATH", help="The file or folder to write.", show_default=False)
    ],
    task: Annotated[
        str | None, typer.Option(metavar="NAME", help="Task to export.", show_default=False)
    ] = None,
    format: Annotated[
        str,
        typer.Option(
            metavar="torch|onnx|folder",
            parser=one_of("--format", *FORMATS),
            help="A program of torch.export, an ONNX model, or a folder with `predict.py`.",
        ),
    ] = "folder",
    precision: Annotated[
        str,
        typer.Option(
            metavar="fp32|fp16|int8",
            parser=one_of("--precision", *PRECISIONS),
            help="Precision of the weights (onnx, folder); what it costs is measured.",
        ),
    ] = "fp32",
    force: Annotated[bool, typer.Option("--force", help="Replace what is at PATH.")] = False,
) -> None:
    """Export one task of RUN, check it against the original, and print what was written."""
    from mtl_export.exported import export as write

    with results_only():
        exported = write(run, output, task=task, format=format, precision=precision, force=force)
    print(exported)


def push(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.", show_default=False)],
    repository: Annotated[
        str,
        typer.Argument(
            metavar="REPOSITORY", help="On the Hugging Face Hub, as OWNER/NAME.", show_default=False
        ),
    ],
    task: Annotated[
        str | None, typer.Option(metavar="NAME", help="Task to export.", show_default=False)
    ] = None,
    private: Annotated[bool, typer.Option("--private", help="Make a new repository private.")] = False,
) -> None:
    """Export one task of RUN as a folder, with its model card, and upload it to the Hub.

    The token is that of `hf auth login` or of the environment variable HF_TOKEN.
    """
    from mtl_export.hub import push as upload

    with results_only():
        address = upload(run, repository, task=task, private=private)
    print(address)
