"""`mtl init`"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mtl.commands.options import results_only
from mtl.errors import UsageError
from mtl.render.plain import escaped, readable

if TYPE_CHECKING:
    from mtl.plugins import Plugins
    from mtl.starting import TaskFiles

SPLITS: tuple[Any, ...] = ("train", "eval", "test")
EXAMPLE = "Reviews=TASK:train.tsv,dev.tsv"


def init(
    output: Annotated[
        str,
        typer.Argument(
            metavar="OUTPUT",
            help="The config to write: YAML, TOML or JSON by its ending; `-` prints YAML.",
        ),
    ],
    tasks: Annotated[
        list[str] | None,
        typer.Option(
            "--task",
            metavar="NAME=TASK:TRAIN[,EVAL[,TEST]]",
            help=f"A task and its files, as in {EXAMPLE}; without NAME= it is called like its component;"
            " repeatable.",
            show_default=False,
        ),
    ] = None,
    columns: Annotated[
        list[str] | None,
        typer.Option(
            "--columns",
            metavar="TASK.COLUMN=NAME",
            help="The name or position of a task's column in the files, as in Reviews.text=body; repeatable.",
            show_default=False,
        ),
    ] = None,
    share: Annotated[
        bool, typer.Option("--share/--no-share", help="Let the tasks share features and a representation.")
    ] = True,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
) -> None:
    """Write a complete, commented config for the tasks and files that you name.

    The beginnings of the files are read to choose their data sources. Files are relative to the working
    folder. The config has every setting with its default; it is valid and trains as it is.
    """
    if not tasks:
        raise UsageError(f"`--task` is needed, as in `--task {EXAMPLE}`; `mtl plugins` lists the tasks")
    path = Path(output)
    if output != "-" and path.exists() and not force:
        raise UsageError(f"{path}: exists already; `--force` replaces it")
    from mtl.config.source import Format
    from mtl.files import write_text
    from mtl.plugins import discover
    from mtl.starting import starting_config

    with results_only():
        plugins = discover()
        named = _named(tasks, columns or [], plugins)
        made = starting_config(
            named,
            plugins=plugins,
            format=Format.YAML if output == "-" else Format.of(path),
            folder=Path() if output == "-" else path.parent,
            share=share,
        )
    for note in made.notes:
        print(readable(note), file=sys.stderr)
    if output == "-":
        print(escaped(made.text), end="")
        return
    write_text(path, made.text)
    print(f"{readable(output)} is written; `mtl plan {readable(output)}` shows what it does")


def _named(tasks: list[str], columns: list[str], plugins: Plugins) -> list[TaskFiles]:
    from attrs import evolve

    found: dict[str, TaskFiles] = {}
    for argument in tasks:
        task = _task(argument, plugins)
        if task.name in found:
            raise UsageError(f"`--task {argument}`: there are two tasks called {task.name}; use NAME=")
        found[task.name] = task
    for argument in columns:
        place, equals, name = argument.partition("=")
        task_name, dot, column = place.rpartition(".")
        if not (equals and dot and column and name):
            raise UsageError(f"`--columns` must be TASK.COLUMN=NAME, but is `{argument}`")
        if task_name not in found:
            raise UsageError(f"`--columns {argument}`: no task is called `{task_name}` ({', '.join(found)})")
        position = int(name) if name.isdecimal() else name
        task = found[task_name]
        found[task_name] = evolve(task, columns={**task.columns, column: position})
    return list(found.values())


def _task(argument: str, plugins: Plugins) -> TaskFiles:
    from mtl.starting import TaskFiles

    name, equals, rest = argument.partition("=")
    rest = rest if equals else name
    component, colon, files = rest.partition(":")
    if colon and not plugins.knows("task", component) and ":" in files:  # distribution:Name
        second, _, files = files.partition(":")
        component = f"{component}:{second}"
    paths = [path for path in files.split(",") if path]
    if not colon or not paths or len(paths) > len(SPLITS):
        raise UsageError(
            f"`--task` must be NAME=TASK:TRAIN[,EVAL[,TEST]], but is `{argument}`, as in {EXAMPLE}"
        )
    plugins.find("task", component)
    name = name if equals else component.rpartition(":")[2]
    return TaskFiles(name, component, dict(zip(SPLITS, map(Path, paths), strict=False)))
