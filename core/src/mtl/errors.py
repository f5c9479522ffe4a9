"""The expected failures and their messages.

Every expected failure is an `MtlError`: a command shows its message, never a traceback, and exits with its
`exit_status`. Anything else is a bug and keeps its traceback.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

from attrs import frozen

PROBLEMS_SHOWN = 50
"""Mistakes that the message of a `ConfigError` lists; its `problems` holds all of them."""


class MtlError(Exception):
    """An expected failure of a run: exit status 1."""

    exit_status: ClassVar[int] = 1

    def _render_traceback_(self) -> list[str]:
        """Return what IPython and notebooks show: the message, as the command does."""
        return [f"{type(self).__name__}: {self}"]


class UsageError(MtlError):
    """The command, the config or the data is wrong: exit status 2."""

    exit_status: ClassVar[int] = 2


class DataError(UsageError):
    """A data file cannot be used; the message names file and line."""


class PluginError(UsageError):
    """A component cannot be used: no plugin provides it, two do, or its plugin is broken.

    `reason` is the message without its `hint`.
    """

    def __init__(self, reason: str, hint: str = "") -> None:
        self.reason = reason
        self.hint = hint
        super().__init__(f"{reason} ({hint})" if hint else reason)


class Interrupted(KeyboardInterrupt):
    """A signal ended the run; its state is saved. The exit status is 128 plus the signal's number.

    Not an `MtlError`, so that `except Exception` does not swallow Ctrl-C.
    """

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.exit_status = 128 + signal_number

    def _render_traceback_(self) -> list[str]:
        """Return what IPython and notebooks show: the message alone."""
        return [f"Interrupted: {self}"]


class StopRun(Exception):
    """Raised by a callback to end the run after the step; the message is the reason.

    The run completes with a last evaluation and the test, and `result.json` gives the reason.
    """


class ComponentError(MtlError):
    """A component raised an exception; the message names the component, its module and what it was doing."""


@contextmanager
def component_errors(component: object, doing: str) -> Iterator[None]:
    """Turn an exception of `component` into a `ComponentError`: it failed `doing`, as in "to read the rows".

    Expected failures pass unchanged, as does a lack of memory, for which the component is not to blame.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, MtlError) or is_out_of_memory(error):
            raise
        kind = component if hasattr(component, "__name__") else type(component)
        raise ComponentError(
            f"{kind.__name__} ({kind.__module__}) failed {doing}: {raised(error)}; --debug shows more"
        ) from error


def raised(error: BaseException) -> str:
    """Return an exception in one line, with the place outside mtl's core and torch that raised it."""
    text = f"{type(error).__name__}: {' '.join(str(error).split())}"
    core = str(Path(__file__).parent)
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith(core) and "/torch/" not in frame.filename
    ]
    return f"{text} ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else text


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an allocation failed: Python's, or torch's on a CPU or GPU."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and ("out of memory" in text or "can't allocate memory" in text)
    )


@frozen
class Problem:
    """One mistake in a config.

    `path` is the JSON path (`tasks.SST2.MyTask.data`), `message` what is wrong and
    what would be right, `hint` the nearest names or a command that helps.
    """

    path: str
    message: str
    hint: str = ""
    line: int | None = None
    column: int | None = None

    def render(self, source: str) -> str:
        """Return `source:line:column: path: message (hint)`, without the parts that are unknown."""
        position = [str(number) for number in (self.line, self.column) if number is not None]
        head = ": ".join(part for part in (":".join([source, *position]), self.path) if part)
        return f"{head}: {self.message}" + (f" ({self.hint})" if self.hint else "")


class ConfigError(UsageError):
    """All mistakes of a config, in the order of their lines."""

    def __init__(self, problems: Iterable[Problem], source: str = "config") -> None:
        self.problems = tuple(sorted(problems, key=lambda p: (p.line or 0, p.column or 0)))
        self.source = source
        lines = [problem.render(source) for problem in self.problems[:PROBLEMS_SHOWN]]
        left_out = len(self.problems) - len(lines)
        super().__init__("\n".join([*lines, *([f"{source}: and {left_out:,} more"] if left_out else [])]))
