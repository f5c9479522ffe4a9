"""What can go wrong and how it is said.

Every expected failure is an `MtlError`: the command shows its message, never a traceback, and
ends with its `exit_status`. Anything else is a bug and keeps its traceback.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

from attrs import frozen

PROBLEMS_SHOWN = 50
"""Mistakes of a config that its message names; `ConfigError.problems` has them all."""


class MtlError(Exception):
    """An expected failure of a run: exit status 1."""

    exit_status: ClassVar[int] = 1


class UsageError(MtlError):
    """The command, the config or the data is wrong: exit status 2."""

    exit_status: ClassVar[int] = 2


class DataError(UsageError):
    """A file of data cannot be used as it is; the message names file and line."""


class PluginError(UsageError):
    """A component cannot be used: nobody provides it, two do, or its plugin is broken.

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


class StopRun(Exception):
    """Raised by a callback to end the run after the step; the message is the reason.

    The run completes with a last evaluation and the test, and `result.json` gives the reason.
    """


class ComponentError(MtlError):
    """A component failed while it was used; the message names it, its module and what it did."""


@contextmanager
def component_errors(component: object, doing: str) -> Iterator[None]:
    """Turn what `component` raises inside into a `ComponentError`: it failed "to read the rows", say,
    which is what `doing` says.

    Expected failures pass as they are, and so does a lack of memory, which is nobody's fault.
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
    """An exception in a line, with the place outside of mtl's core and of torch that it comes from."""
    text = f"{type(error).__name__}: {' '.join(str(error).split())}"
    core = str(Path(__file__).parent)
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith(core) and "/torch/" not in frame.filename
    ]
    return f"{text} ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else text


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocation failed: Python's, or torch's on a CPU or a GPU."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and ("out of memory" in text or "can't allocate memory" in text)
    )


@frozen
class Problem:
    """One mistake in a config.

    `path` is the JSON path (`tasks.SST2.DocClassificationTask.data`), `message` what was wrong and
    what would be right, `hint` the nearest names or the command that helps.
    """

    path: str
    message: str
    hint: str = ""
    line: int | None = None
    column: int | None = None

    def render(self, source: str) -> str:
        """`source:line:column: path: message (hint)`, without the parts that are not known."""
        position = [str(number) for number in (self.line, self.column) if number is not None]
        head = ": ".join(part for part in (":".join([source, *position]), self.path) if part)
        return f"{head}: {self.message}" + (f" ({self.hint})" if self.hint else "")


class ConfigError(UsageError):
    """All mistakes of a config at once, in the order of their lines."""

    def __init__(self, problems: Iterable[Problem], source: str = "config") -> None:
        self.problems = tuple(sorted(problems, key=lambda p: (p.line or 0, p.column or 0)))
        self.source = source
        lines = [problem.render(source) for problem in self.problems[:PROBLEMS_SHOWN]]
        left_out = len(self.problems) - len(lines)
        super().__init__("\n".join([*lines, *([f"{source}: and {left_out:,} more"] if left_out else [])]))
