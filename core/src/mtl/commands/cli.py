"""The commands together, and how each end of a command becomes an exit status."""

from __future__ import annotations

import io
import logging
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from types import FrameType
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup
from typer.main import get_command

from mtl.commands.completion import completion
from mtl.commands.config import config_app
from mtl.commands.data import data_app
from mtl.commands.init import init
from mtl.commands.options import usage_message
from mtl.commands.plan import plan
from mtl.commands.plugins import plugins_app
from mtl.commands.predict import predict
from mtl.commands.runs import runs_app
from mtl.commands.test import test
from mtl.commands.train import train
from mtl.errors import ConfigError, Interrupted, MtlError, UsageError, is_out_of_memory
from mtl.plugin_commands import OWN_COMMANDS, plugin_commands
from mtl.render.plain import readable
from mtl.suggest import command_line, did_you_mean

INTERRUPTED = 128 + signal.SIGINT
TERMINATED = 128 + signal.SIGTERM
READER_GONE = 128 + signal.SIGPIPE


class Terminated(KeyboardInterrupt):
    """SIGTERM arrived outside a run; a run handles the signal itself and saves its state.

    A KeyboardInterrupt, so that whoever handles what a plugin raises lets it pass.
    """


class Commands(TyperGroup):
    """A group that shows whole sentences, and names the nearest command for one that it does not have."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """List the commands, each with the first paragraph of its help."""
        rows = []
        for name in self.list_commands(ctx):
            command = self.get_command(ctx, name)
            if command is not None and not command.hidden:
                rows.append((name, " ".join((command.help or "").split("\n\n")[0].split())))
        if rows:
            with formatter.section("Commands"):
                formatter.write_dl(rows)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the command that `args` begins with. Raises `UsageError` if there is none."""
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            hint = did_you_mean(args[0], self.commands) or f"`{ctx.command_path} --help` lists them"
            raise UsageError(f"`{args[0]}` is no command of `{ctx.command_path}`; {hint}")
        return super().resolve_command(ctx, args)


class CommandsWithDefault(Commands):
    """A group whose first command is meant if none is named: `mtl runs FOLDER` is `mtl runs list FOLDER`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments of the group, with the name of its first command added if it is missing."""
        if not args or (args[0] not in self.commands and args[0] != "--help"):
            args = [next(iter(self.commands)), *args]
        return super().parse_args(ctx, args)


def _version(wanted: bool) -> None:
    if wanted:
        from mtl import __version__

        print(f"mtl {__version__}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of a failure; anywhere on the line.")
    ] = False,
) -> None:
    """Train one model on several tasks with disjoint datasets."""


COMMANDS = (init, train, plan, test, predict, completion)
GROUPS = {"config": config_app, "plugins": plugins_app, "data": data_app, "runs": runs_app}


def build_app(*, with_plugins: bool) -> typer.Typer:
    """Return the command line; commands of plugins are looked for only where they can be meant."""
    app = typer.Typer(cls=Commands, add_completion=False, rich_markup_mode=None)
    app.callback()(_root)
    for command in COMMANDS:
        app.command()(command)
    for name, group in GROUPS.items():
        group.info.cls = CommandsWithDefault if name == "runs" else Commands
        app.add_typer(group, name=name)
    if with_plugins:
        _add_plugin_commands(app)
    return app


def _add_plugin_commands(app: typer.Typer) -> None:
    from mtl.plugins import discover

    for added in plugin_commands(discover()):
        if added.problem:
            _say(f"warning: {added.plugin} adds no commands: {added.problem}")
        else:
            app.registered_commands += added.app.registered_commands
            app.registered_groups += added.app.registered_groups


class StderrHandler(logging.Handler):
    """Log records as lines of the command; looks up standard error each time, as the live display
    takes it over while it runs."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one record."""
        _say(f"{record.levelname.lower()}: {record.getMessage()}")


# Threads that wait for each other by spinning, OpenMP's default, make small models many times slower on
# a machine that is busy otherwise. To be set before torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status.

    0: done. 1: the run failed. 2: the command, config or data is wrong. 130: interrupted, with the
    state saved; 143 by SIGTERM. 141: the reader of the output is gone, as in `mtl predict | head`.
    """
    for stream in (sys.stdout, sys.stderr):
        # In a locale that is not Unicode, a character that it lacks is shown by its number.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    signal.signal(signal.SIGTERM, _terminate)
    logging.getLogger("mtl").handlers = [StderrHandler()]
    try:
        own = {*OWN_COMMANDS} - {completion.__name__}
        app = build_app(with_plugins=not words or words[0] not in own)
        command = get_command(app)
        with command_line(), command.make_context("mtl", words or ["--help"]) as context:
            command.invoke(context)
        if arguments is None:
            # What is done cannot be interrupted anymore: not while the interpreter ends, either.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        sys.stdout.flush()
        return 0
    except typer.Exit as ended:
        return ended.exit_code
    except BrokenPipeError:
        # The interpreter flushes standard output once more when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return READER_GONE
    except (Exception, KeyboardInterrupt, Terminated) as error:
        if isinstance(error, KeyboardInterrupt | Terminated):
            # The process is ending as it was asked to; a second signal must not cut off its last words.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if debug:
            traceback.print_exc()
        return _report(error)


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    raise Terminated


def _report(error: BaseException) -> int:
    """Say what ended a command, and give its exit status."""
    if isinstance(error, Terminated):
        _say("terminated")
        return TERMINATED
    if isinstance(error, Interrupted):
        _say(str(error))
        return error.exit_status
    if isinstance(error, KeyboardInterrupt | typer.Abort):
        _say("interrupted")
        return INTERRUPTED
    if isinstance(error, ConfigError):
        print(readable(str(error)), file=sys.stderr)
        found = len(error.problems)
        _say(f"{found} problem{'s' if found != 1 else ''} in {error.source}")
        return error.exit_status
    if isinstance(error, MtlError):
        _say(str(error))
        return error.exit_status
    usage = usage_message(error)
    if usage is not None:
        _say(usage)
        return UsageError.exit_status
    if isinstance(error, OSError) or is_out_of_memory(error):
        _say(str(error) or "out of memory")
        return MtlError.exit_status
    what = f"{type(error).__name__}: {' '.join(str(error).split())}"
    _say(f"a bug in mtl or a plugin: {what}; --debug shows where")
    return MtlError.exit_status


def _say(message: str) -> None:
    print(f"mtl: {readable(message)}", file=sys.stderr)
