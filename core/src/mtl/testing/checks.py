"""Checks and rules. Free of torch and of pytest."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, Literal, TypeVar

from attrs import frozen

from mtl.errors import ComponentError, MtlError, UsageError, raised

Outcome = Literal["passed", "failed", "skipped"]


@frozen
class Check:
    """One check of one subject (`representation MyEncoder`, or a distribution) and how it came out.

    `message` says of a failed one what failed and why that matters, of a skipped one what it lacks.
    """

    subject: str
    name: str
    outcome: Outcome
    message: str = ""

    @property
    def passed(self) -> bool:
        """Whether nothing is wrong; there may have been nothing to try."""
        return self.outcome != "failed"

    def __str__(self) -> str:
        return f"{self.subject}: {self.name}: {self.message or self.outcome}"


class CheckError(AssertionError):
    """Failed checks, in `checks`; the message has one line per check."""

    def __init__(self, checks: Sequence[Check]) -> None:
        self.checks = tuple(checks)
        super().__init__("\n".join(map(str, checks)))


class Failed(Exception):
    """Raised if a rule is broken; the message says how."""


class Skipped(Exception):
    """Raised if a rule does not apply; the message says what is missing."""


SubjectT = TypeVar("SubjectT")
SubjectT_contra = TypeVar("SubjectT_contra", contravariant=True)


@frozen
class Rule(Generic[SubjectT_contra]):
    """A requirement: `asks` says what in one sentence, `why` gives the reason in another."""

    name: str
    asks: str
    why: str
    attempt: Callable[[SubjectT_contra], None]

    def check(self, subject: SubjectT_contra, label: str) -> Check:
        """Check the rule. Any exception of the subject is a failed check."""
        try:
            with contextlib.redirect_stdout(sys.stderr):
                self.attempt(subject)
        except Skipped as skipped:
            return Check(label, self.name, "skipped", str(skipped))
        except Failed as failed:
            return Check(label, self.name, "failed", f"{failed}; {self.why}")
        except UsageError as error:  # what it is tried on is wrong, and for other rules as well
            return Check(label, self.name, "failed", told(error))
        except (Exception, SystemExit) as error:
            return Check(label, self.name, "failed", f"{told(error)}; {self.why}")
        return Check(label, self.name, "passed")


def rule(why: str) -> Callable[[Callable[[SubjectT], None]], Rule[SubjectT]]:
    """Make a rule of a function: its name is the check's, its docstring what is asked."""

    def decorate(function: Callable[[SubjectT], None]) -> Rule[SubjectT]:
        asks = " ".join((function.__doc__ or "").split())
        return Rule(function.__name__, asks, why, function)

    return decorate


def told(error: BaseException) -> str:
    """Format an exception in one line; for an exception in a component, with its location."""
    if isinstance(error, ComponentError) and error.__cause__ is not None:
        return raised(error.__cause__)
    if isinstance(error, MtlError):
        return f"{type(error).__name__}: {' '.join(str(error).split())}"
    return raised(error)


def require(checks: Iterable[Check]) -> list[Check]:
    """Return the checks. Raises `CheckError` with those that failed."""
    __tracebackhide__ = True
    done = list(checks)
    failed = [check for check in done if not check.passed]
    if failed:
        raise CheckError(failed)
    return done


def equal_json(left: Any, right: Any, tolerance: float = 1e-4) -> bool:
    """Return whether two JSON values are equal, up to rounding of numbers."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, int | float) and isinstance(right, int | float):
        return left == right or abs(left - right) <= tolerance * max(1.0, abs(left), abs(right))
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(equal_json(left[k], right[k], tolerance) for k in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(equal_json, left, right, [tolerance] * len(left)))
    return bool(left == right)
