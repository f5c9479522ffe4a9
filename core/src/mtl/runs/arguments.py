"""Arguments of the Python functions, checked: a mistake of the caller's is a `UsageError`."""

from __future__ import annotations

import errno
import os
import reprlib
from pathlib import Path
from typing import Any, get_args

from mtl.components import Split
from mtl.errors import UsageError

DEVICES = ("auto", "cpu", "cuda")
SPLITS: tuple[Split, ...] = get_args(Split)


def shown(value: object) -> str:
    """Return a short text of any value, also of one whose `repr` fails."""
    try:
        return reprlib.repr(value)
    except Exception:
        return f"a {type(value).__name__}"


def require(name: str, value: Any, types: Any, what: str) -> None:
    """Raise `UsageError` unless an argument has one of the types; a bool is not an integer."""
    if not isinstance(value, types) or (isinstance(value, bool) and types is int):
        raise UsageError(f"`{name}` must be {what}, but is {shown(value)}")


def as_path(name: str, value: Any) -> Path:
    """Return an argument as a path. Raises `UsageError` for anything that cannot be one."""
    require(name, value, str | os.PathLike, "a path")
    try:
        path = Path(value)
        valid = b"\0" not in os.fsencode(path)
        path.lstat()
    except OSError as error:  # a path that leads nowhere is one, but not a name that no file can have
        valid = error.errno != errno.ENAMETOOLONG
    except (TypeError, ValueError):
        valid = False
    if not valid:
        raise UsageError(f"`{name}` must be a path, but is {shown(value)}")
    return path


def require_choice(name: str, value: Any, choices: tuple[str, ...]) -> None:
    """Raise `UsageError` unless an argument is one of `choices`."""
    if not isinstance(value, str) or value not in choices:
        *rest, last = choices
        raise UsageError(f"`{name}` must be {', '.join(rest)} or {last}, but is {shown(value)}")


def require_overrides(value: Any) -> None:
    """Raise `UsageError` unless an argument is a list of texts."""
    what = 'a list of texts, as in ["trainer.epochs=3"]'
    require("overrides", value, list | tuple, what)
    for each in value:
        require("overrides", each, str, what)
