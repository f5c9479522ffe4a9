"""`mtl train`"""

from __future__ import annotations

import json
import os
import re
from itertools import count
from pathlib import Path
from typing import Annotated

import typer

from mtl.commands.options import (
    BaseDirOption,
    ConfigArgument,
    DeviceOption,
    SetOption,
    load,
    results_only,
    whole_number,
)
from mtl.errors import UsageError

RUNS = Path("runs")


def train(
    config: ConfigArgument = None,
    output: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="The run folder; runs/NAME of the config if absent.", show_default=False
        ),
    ] = None,
    overrides: SetOption = None,
    base_dir: BaseDirOption = None,
    resume: Annotated[bool, typer.Option("--resume", help="Resume the run in the folder.")] = False,
    allow_changes: Annotated[
        bool,
        typer.Option("--allow-changes", help="Resume even if config, data or vocabularies have changed."),
    ] = False,
    device: DeviceOption = None,
    seed: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            parser=whole_number("--seed"),
            help="Override the config's `seed`.",
            show_default=False,
        ),
    ] = None,
    profile: Annotated[
        bool, typer.Option("--profile", help="Profile the time of a step into DIR/profile.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Show errors only.")] = False,
) -> None:
    """Train on the tasks of CONFIG and evaluate."""
    folder = output or run_folder(config, resume=resume)
    given = {"device": device, "seed": seed}
    stated = [f"{key}={json.dumps(value)}" for key, value in given.items() if value is not None]
    loaded, plugins = load(config, [*(overrides or ()), *stated], base_dir, folder if resume else None)
    from mtl.console import Console

    with Console(quiet=quiet) as console, results_only():
        # Else torch's profiler writes lines of its own to standard error.
        os.environ.setdefault("KINETO_LOG_LEVEL", "99")
        from mtl import train as run

        callbacks: list[object] = [console]
        if profile:
            from mtl.training.profile import Profiler

            profiler = Profiler(folder / "profile")
            callbacks.append(profiler)
        run(
            loaded,
            output=folder,
            resume=resume,
            allow_changes=allow_changes,
            callbacks=callbacks,
            plugins=plugins,
        )
        if profile and not quiet:
            from mtl.render.results import costs_view

            console.output.print(costs_view(profiler.costs, profiler.folder))


def run_folder(config: str | None, *, resume: bool) -> Path:
    """Return the default run folder: `runs/NAME`, numbered if taken; to resume, the last of these."""
    name = "config" if config in (None, "-") else Path(config).stem
    numbered = (RUNS / (name if number == 1 else f"{name}-{number}") for number in count(1))
    if not resume:
        return next(folder for folder in numbered if not folder.exists())
    taken = [path for path in RUNS.glob("*") if re.fullmatch(rf"{re.escape(name)}(-\d+)?", path.name)]
    if not taken:
        raise UsageError(f"--resume found no run {RUNS / name} to resume; --output names another folder")
    return max(taken, key=lambda path: int(path.name[len(name) + 1 :] or 1))
