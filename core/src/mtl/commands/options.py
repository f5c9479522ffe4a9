"""Arguments that several commands share, and the messages for wrong ones."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer
from typer.exceptions import TyperException

from mtl.errors import UsageError
from mtl.render.plain import escaped

if TYPE_CHECKING:
    from mtl.config.load import LoadedConfig
    from mtl.plugins import Plugins

ConfigArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="CONFIG",
        help="A JSON, YAML or TOML file; `-` or nothing reads JSON from standard input.",
        show_default=False,
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="PATH=VALUE",
        help="Override a setting, as in trainer.epochs=3; repeatable.",
        show_default=False,
    ),
]
BaseDirOption = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR", help="Resolve relative paths here instead of `base_dir`.", show_default=False
    ),
]
FromOption = Annotated[
    Path | None,
    typer.Option(
        "--from",
        metavar="RUN",
        help="Start from the vocabularies, labels and weights of another run.",
        show_default=False,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.", show_default=False)]


def one_of(option: str, *choices: str) -> Callable[[str], str]:
    """Return a parser for an option that takes one of `choices`."""

    def parse(value: str) -> str:
        if value not in choices:
            raise UsageError(
                f"`{option}` must be {', '.join(choices[:-1])} or {choices[-1]}, but is `{value}`"
            )
        return value

    return parse


def whole_number(option: str) -> Callable[[str], int]:
    """Return a parser for an option that takes a non-negative integer."""

    def parse(value: str) -> int:
        if not value.isdecimal():
            raise UsageError(f"`{option}` must be a non-negative integer, but is `{value}`")
        return int(value)

    return parse


DeviceOption = Annotated[
    str | None,
    typer.Option(
        metavar="auto|cpu|cuda",
        parser=one_of("--device", "auto", "cpu", "cuda"),
        help="Override the config's `device`.",
        show_default=False,
    ),
]


def usage_message(error: BaseException) -> str | None:
    """Return the message for a mistake on the command line; None for any other error."""
    if not isinstance(error, TyperException):
        return None
    facts: dict[str, Any] = vars(error)
    # The exception classes of the parser are private to typer; their names and attributes say enough.
    match type(error).__name__:
        case "MissingParameter":
            message = f"{facts['param'].metavar} is missing"
        case "NoSuchOption":
            near = " or ".join(f"`{name}`" for name in sorted(facts["possibilities"] or ()))
            message = f"no such option `{facts['option_name']}`" + (f"; did you mean {near}?" if near else "")
        case "NoArgsIsHelpError":
            return error.format_message()
        case "BadOptionUsage":
            message = f"`{facts['option_name']}` needs a value"
        case _:
            message = error.format_message().rstrip(".")
            message = message[:1].lower() + message[1:]
    context = facts.get("ctx")
    return f"{message} (`{context.command_path if context else 'mtl'} --help` says more)"


def read_config(argument: str | None) -> Any:
    """Return the config that a command was given: its path, or the text of standard input."""
    if argument not in (None, "-"):
        return Path(argument)
    from mtl.config.document import MAXIMUM_SIZE
    from mtl.config.source import decode

    say_waiting("a config (JSON)")
    return decode(sys.stdin.buffer.read(MAXIMUM_SIZE + 1), "standard input")


def load(
    argument: str | None,
    overrides: list[str] | None = None,
    base_dir: Path | None = None,
    run: Path | None = None,
) -> tuple[LoadedConfig, Plugins]:
    """Read and check a config and discover the plugins; `run` is the folder of a run to resume.

    A command passes the result on, so that mistakes are reported before torch is imported, which takes
    seconds.
    """
    source = read_config(argument)
    from mtl.config.load import load_config
    from mtl.plugins import discover
    from mtl.provenance import plugins_of_run

    with results_only():
        plugins = discover()
        plugins = plugins_of_run(run, plugins) if run else plugins
        resumed = run if run and run.is_dir() else None
        loaded = load_config(
            source, plugins=plugins, overrides=overrides or (), base_dir=base_dir, resumed=resumed
        )
        return loaded, plugins


def choose_task(task: str | None, names: Sequence[str]) -> str:
    """Return the task of an option, or a run's only one. Raises `UsageError` if it is not clear which."""
    if task is None and len(names) > 1:
        raise UsageError(f"`--task` is needed, one of: {', '.join(names)}")
    if task is not None and task not in names:
        raise UsageError(f"`--task` must be one of {', '.join(names)}, but is `{task}`")
    return task or names[0]


def results_only() -> AbstractContextManager[object]:
    """Redirect what a plugin prints to standard error: standard output is for results."""
    return contextlib.redirect_stdout(sys.stderr)


def say_waiting(what: str) -> None:
    """Say on a terminal what the command waits for."""
    if sys.stdin.isatty():
        print(f"mtl: waiting for {what} on standard input; Ctrl-D ends it", file=sys.stderr)


def print_json(value: Any, *, indent: int | None = 2, file: TextIO | None = None) -> None:
    """Print JSON on standard output, or to `file`; in ASCII if the encoding there is not Unicode."""
    encoding = getattr(file or sys.stdout, "encoding", None) or "utf-8"
    ascii_only = not encoding.lower().startswith("utf")
    print(escaped(json.dumps(value, indent=indent, ensure_ascii=ascii_only)), file=file)
