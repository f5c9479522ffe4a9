"""`mtl train`"""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from mtl.commands.options import (
    BaseDirOption,
    ConfigArgument,
    DeviceOption,
    FromOption,
    SetOption,
    load,
    results_only,
    whole_number,
)
from mtl.errors import UsageError
from mtl.render import errors

RUNS = Path("runs")

logger = logging.getLogger("mtl")


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
    from_run: FromOption = None,
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
    fast: Annotated[
        bool,
        typer.Option("--fast", help="Try a few steps of everything in a temporary folder; keep nothing."),
    ] = False,
    processes: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            parser=whole_number("--processes"),
            help="Train in N processes of this machine, each on a share of every batch.",
            show_default=False,
        ),
    ] = None,
    profile: Annotated[
        bool, typer.Option("--profile", help="Profile the time of a step into DIR/profile.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Show errors only.")] = False,
) -> None:
    """Train on the tasks of CONFIG and evaluate."""
    if fast and (output or resume or profile):
        raise UsageError("`--fast` keeps nothing, so it takes no `--output`, `--resume` or `--profile`")
    if processes is not None:
        _check_processes(processes, config)
    quiet = quiet or follows()
    with _fast_folder() if fast else nullcontext(output or run_folder(config, resume=resume)) as folder:
        given = {"device": device, "seed": seed}
        stated = [f"{key}={json.dumps(value)}" for key, value in given.items() if value is not None]
        loaded, plugins = load(config, [*(overrides or ()), *stated], base_dir, folder if resume else None)
        if processes is not None and processes > 1:
            from mtl.runs.processes import launch

            values = {
                "--output": None if fast else folder,  # all processes must find the same
                "--base-dir": base_dir,
                "--from": from_run,
                "--device": device,
                "--seed": seed,
            }
            flags = {
                "--resume": resume,
                "--allow-changes": allow_changes,
                "--fast": fast,
                "--profile": profile,
                "--quiet": quiet,
            }
            raise typer.Exit(launch(processes, _arguments(config, overrides or [], values, flags)))
        from mtl.console import Console

        if not (fast or output or resume or quiet or folder.name == _name(config)):
            errors().print(
                f"{RUNS / _name(config)} holds a run already; this one is {folder}\n", soft_wrap=True
            )
        with Console(quiet=quiet) as console, results_only():
            # Else torch's profiler writes lines of its own to standard error.
            os.environ.setdefault("KINETO_LOG_LEVEL", "99")
            from mtl.runs import train as run
            from mtl.training.processes import ProcessEnded

            callbacks: list[object] = [console]
            if profile:
                from mtl.training.profile import Profiler

                profiler = Profiler(folder / "profile")
                callbacks.append(profiler)
            try:
                run(
                    loaded,
                    output=folder,
                    from_run=from_run,
                    resume=resume,
                    allow_changes=allow_changes,
                    fast=fast,
                    callbacks=callbacks,
                    plugins=plugins,
                )
            except KeyboardInterrupt as error:
                if follows():
                    raise typer.Exit(getattr(error, "exit_status", 130)) from None
                if not console.completed:
                    raise
            except ProcessEnded as error:
                raise typer.Exit(error.exit_status) from None  # the other process has said why
            if profile and not quiet:
                from mtl.render.results import costs_view

                console.output.print(costs_view(profiler.costs, profiler.folder))


def follows() -> bool:
    """Return whether torchrun started this process to follow another, which shows and writes everything."""
    return int(os.environ.get("RANK", "0")) > 0 and "WORLD_SIZE" in os.environ


def _check_processes(count: int, config: str | None) -> None:
    if count < 1:
        raise UsageError(f"`--processes` must be at least 1, but is {count}")
    if config in (None, "-"):
        raise UsageError("`--processes` needs a config in a file: each process reads it")
    if "TORCHELASTIC_RUN_ID" in os.environ:
        raise UsageError("`--processes` starts processes, but torchrun has started this one; leave it out")


def _arguments(
    config: str | None, overrides: list[str], values: Mapping[str, object], flags: Mapping[str, bool]
) -> list[str]:
    """Return the arguments of this command, for the processes that it starts."""
    return [
        *("train", str(config)),
        *(word for override in overrides for word in ("--set", override)),
        *(str(word) for name, value in values.items() if value is not None for word in (name, value)),
        *(name for name, given in flags.items() if given),
    ]


@contextmanager
def _fast_folder() -> Iterator[Path]:
    """Provide a run folder that is removed at the end."""
    with TemporaryDirectory(prefix="mtl-fast-") as folder:
        yield Path(folder) / "run"


def run_folder(config: str | None, *, resume: bool) -> Path:
    """Return the default run folder, `runs/NAME`, with a number if that is taken.

    To resume, it is the newest one that was interrupted, or else the newest.
    """
    name = _name(config)
    taken = [path for path in RUNS.glob("*") if re.fullmatch(rf"{re.escape(name)}(-\d+)?", path.name)]
    taken.sort(key=lambda path: int(path.name[len(name) + 1 :] or 1))
    interrupted = [path for path in taken if is_interrupted(path)]
    if resume and not taken:
        raise UsageError(f"--resume found no run {RUNS / name} to resume; --output names another folder")
    if resume:
        chosen = (interrupted or taken)[-1]
        if len(taken) > 1:
            logger.warning("resuming %s%s", chosen, "" if interrupted else ", as none was interrupted")
        return chosen
    folder = next(path for number in count(1) if not (path := _numbered(name, number)).exists())
    if interrupted:
        logger.warning("%s was interrupted; --resume continues it. This run is %s", interrupted[-1], folder)
    return folder


def _name(config: str | None) -> str:
    return "config" if config in (None, "-") else Path(str(config)).stem


def _numbered(name: str, number: int) -> Path:
    return RUNS / (name if number == 1 else f"{name}-{number}")


def is_interrupted(folder: Path) -> bool:
    """Return whether a folder holds a run without a result."""
    return (folder / "config.json").exists() and not (folder / "result.json").exists()
