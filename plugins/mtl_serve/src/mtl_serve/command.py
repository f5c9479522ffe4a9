"""`mtl serve`"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from mtl.commands.options import results_only
from mtl.errors import UsageError

TOKEN_VARIABLE = "MTL_SERVE_TOKEN"


def serve(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.", show_default=False)],
    port: Annotated[int, typer.Option(metavar="N", help="Port to listen on; 0 takes a free one.")] = 8000,
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Address to listen on; 0.0.0.0 is reachable from outside.")
    ] = "127.0.0.1",
    task: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Serve this task only; all tasks if absent.", show_default=False),
    ] = None,
    device: Annotated[str, typer.Option(metavar="auto|cpu|cuda", help="Where to predict.")] = "auto",
    body_bytes: Annotated[int, typer.Option(metavar="N", help="Largest body of a request.")] = 1_000_000,
    rows: Annotated[int, typer.Option(metavar="N", help="Most rows of a request.")] = 256,
    queued_rows: Annotated[int, typer.Option(metavar="N", help="Most rows that wait.")] = 4096,
    seconds: Annotated[float, typer.Option(metavar="N", help="Longest time for an answer.")] = 30.0,
    batch_rows: Annotated[int, typer.Option(metavar="N", help="Rows to predict at once.")] = 64,
) -> None:
    """Serve predictions of RUN over HTTP until Ctrl-C.

    If the environment variable MTL_SERVE_TOKEN is set, predictions need it as a bearer token.
    """
    numbers = {"body-bytes": body_bytes, "rows": rows, "queued-rows": queued_rows, "batch-rows": batch_rows}
    for name, number in {**numbers, "seconds": seconds}.items():
        if number <= 0:
            raise UsageError(f"`--{name}` must be above 0, but is {number}")
    if not 0 <= port < 65536:
        raise UsageError(f"`--port` must be 0 to 65535, but is {port}")
    with results_only():
        from mtl_serve.limits import Limits
        from mtl_serve.server import run_server

        limits = Limits(body_bytes, rows, queued_rows, seconds, batch_rows)
        token = os.environ.get(TOKEN_VARIABLE) or None
        run_server(run, host=host, port=port, task=task, limits=limits, token=token, device=device)
