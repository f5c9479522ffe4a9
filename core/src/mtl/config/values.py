"""The values of options: from JSON to Python by type, strictly. Free of plugins and of slots."""

from __future__ import annotations

import glob
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Union

import cattrs
from attrs import frozen

from mtl.config.document import describe
from mtl.config.json_path import JSONPath
from mtl.fields import LIMITS, FolderOrName, InputPath, InputPaths, OutputPath, TablePath, Type
from mtl.suggest import did_you_mean, listed

LARGEST_INTEGER = 2**63 - 1
"""The largest that torch and NumPy hold."""


@frozen
class Mistake:
    """What is wrong with a value, and where within it."""

    path: JSONPath
    message: str
    hint: str = ""


class _Misfit(ValueError):
    """A value that its type does not take."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


def _misfit(wanted: Type, value: Any, hint: str = "") -> _Misfit:
    return _Misfit(f"must be {expected(wanted)}, but is {describe(value)}", hint)


class Converter:
    """Converts JSON values; relative paths start at `base_dir`. Without `check_paths` the files need not
    exist. `tables` are rows given in Python, by the names that stand for them."""

    def __init__(
        self, base_dir: Path, check_paths: bool = True, tables: Mapping[str, TablePath] | None = None
    ) -> None:
        self.base_dir = base_dir
        self.tables = tables or {}
        self.check_paths = check_paths
        self._converter = cattrs.Converter(detailed_validation=True)
        hooks: Mapping[Any, Callable[[Any], Any]] = {
            **_SCALARS,
            InputPath: lambda value: _input_path(value, base_dir, check=check_paths),
            InputPaths: self._input_paths,
            FolderOrName: lambda value: _folder_or_name(value, base_dir),
            OutputPath: lambda value: _path(value, base_dir),
        }
        for kind, hook in hooks.items():
            self._converter.register_structure_hook(kind, _ignoring_type(hook))
        self._on(lambda wanted: wanted.origin is Any, lambda value, _: value)
        self._on(lambda wanted: wanted.origin in hooks, lambda value, wanted: self._as(value, wanted.origin))
        self._on(lambda wanted: wanted.origin is Literal, _one_of)
        self._on(lambda wanted: wanted.origin in (list, dict), self._items)
        self._on(lambda wanted: wanted.origin is Union, self._any_of)

    def _on(self, fits: Callable[[Type], bool], hook: Callable[[Any, Type], Any]) -> None:
        """Structure the types that fit by `hook`."""
        self._converter.register_structure_hook_func(
            lambda wanted: isinstance(wanted, Type) and fits(wanted), hook
        )

    def convert(self, value: Any, wanted: Type, limits: Mapping[str, float]) -> tuple[Any, list[Mistake]]:
        """Return the value as `wanted`, and all that is wrong with it."""
        try:
            converted = self._as(value, wanted)
        except (_Misfit, cattrs.IterableValidationError) as error:
            return None, list(_mistakes(error, ()))
        return converted, list(_beyond(converted, limits, ()))

    def _as(self, value: Any, wanted: Any) -> Any:
        return self._converter.structure(value, wanted)

    def _each(self, pairs: Iterable[tuple[Any, Any]], convert: Callable[[Any], Any]) -> dict[Any, Any]:
        """Convert each value. Raises `IterableValidationError` with every item that cannot be."""
        converted: dict[Any, Any] = {}
        errors: list[Exception] = []
        for key, value in pairs:
            try:
                converted[key] = convert(value)
            except (_Misfit, cattrs.IterableValidationError) as error:
                error.__notes__ = [cattrs.IterableValidationNote(f"At {key!r}", key, Any)]
                errors.append(error)
        if errors:
            raise cattrs.IterableValidationError("While structuring items", errors, list)
        return converted

    def _input_paths(self, value: Any) -> InputPaths:
        """Return the files of one path or glob, or of a list of them."""
        if not isinstance(value, list):
            return InputPaths(*self._matching(value))
        if not value:
            raise _misfit(Type(InputPaths), value)
        found: list[Path] = []

        def add(each: Any) -> None:
            matching = self._matching(each)
            twice = next((file for file in matching if file in found), None)
            if twice is not None:
                raise _Misfit(f"must name each file once, but {twice} is named before")
            found.extend(matching)

        self._each(enumerate(value), add)
        return InputPaths(*found)

    def _matching(self, value: Any) -> list[Path]:
        if isinstance(value, str) and value.startswith(TablePath.PREFIX):
            if value in self.tables or not self.check_paths:
                return [self.tables.get(value, TablePath(value))]
            raise _Misfit(f"must be a file, but {value} stands for rows that were given in Python")
        path = _path(value, self.base_dir)
        if not self.check_paths or not glob.has_magic(value) or path.exists():
            return [_input_path(value, self.base_dir, check=self.check_paths)]
        pattern = f"{glob.escape(str(self.base_dir))}/{value}"
        found = sorted(glob.glob(str(value) if Path(value).is_absolute() else pattern, recursive=True))
        files = [each for each in found if Path(each).is_file()]
        if not files:
            hint = _base_dir_hint(value, self.base_dir)
            raise _Misfit(f"must match a file, but no file matches {path}", hint)
        return [_input_path(each, self.base_dir, check=True) for each in files]

    def _items(self, value: Any, wanted: Type) -> Any:
        if not isinstance(value, wanted.origin):
            raise _misfit(wanted, value)
        [item] = wanted.members
        pairs = value.items() if wanted.origin is dict else enumerate(value)
        converted = self._each(pairs, lambda each: self._as(each, item))
        return converted if wanted.origin is dict else list(converted.values())

    def _any_of(self, value: Any, wanted: Type) -> Any:
        others = [each for each in wanted.members if each.origin is not type(None)]
        if value is None and len(others) < len(wanted.members):
            return None
        errors: list[_Misfit | cattrs.IterableValidationError] = []
        for member in others:
            try:
                return self._as(value, member)
            except (_Misfit, cattrs.IterableValidationError) as error:
                errors.append(error)
        first = errors[0]
        if not isinstance(first, _Misfit) or others[0].origin in (InputPath, InputPaths):
            raise first  # it says more: which of the items, or what is wrong with the file
        raise _misfit(wanted, value, first.hint)


def _ignoring_type(hook: Callable[[Any], Any]) -> Callable[[Any, Any], Any]:
    return lambda value, _: hook(value)


def _mistakes(error: Exception, path: JSONPath) -> Iterator[Mistake]:
    """Yield what is wrong, and where, from the errors of cattrs."""
    if isinstance(error, cattrs.IterableValidationError):
        for inner, note in error.group_exceptions()[0]:
            yield from _mistakes(inner, (*path, note.index))
    elif isinstance(error, _Misfit):
        yield Mistake(path, str(error), error.hint)


def _beyond(value: Any, limits: Mapping[str, float], path: JSONPath) -> Iterator[Mistake]:
    """Yield a mistake for each number in `value`, at any depth, that lies outside the limits."""
    if isinstance(value, (list, dict)):
        for key, each in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _beyond(each, limits, (*path, key))
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        inside = all(LIMITS[name].allows(value, limit) for name, limit in limits.items())
        if not inside:
            yield Mistake(path, f"must be {' and '.join(in_words(limits))}, but is {describe(value)}")


def in_words(limits: Mapping[str, float]) -> list[str]:
    """Return limits as messages say them: "at least 1"."""
    return [f"{LIMITS[name].words} {describe(limit)}" for name, limit in limits.items()]


def expected(wanted: Type) -> str:
    """Return what a type takes, in words."""
    if wanted.origin is Union:
        return listed(expected(each) for each in wanted.members)
    if wanted.origin is Literal:
        return listed(describe(each) for each, _ in wanted.choices)
    return _WORDS.get(wanted.origin, "any value")


_WORDS: Mapping[Any, str] = {
    bool: "true or false",
    int: "an integer",
    float: "a number",
    str: "a string",
    list: "a list",
    dict: "an object",
    type(None): "null",
    FolderOrName: "a folder or a name",
    InputPath: "the path of a file",
    InputPaths: "the path of a file or a list of paths",
    OutputPath: "the path of a file",
}


def _boolean(value: Any) -> bool:
    if type(value) is not bool:
        hints = {"true": "write true", "false": "write false"}
        raise _misfit(Type(bool), value, hints.get(str(value).lower(), ""))
    return value


def _integer(value: Any) -> int:
    if type(value) is not int:
        raise _misfit(Type(int), value, _number_hint(value, int))
    if abs(value) > LARGEST_INTEGER:
        raise _misfit(Type(int), value, "out of range for a 64-bit integer")
    return value


def _number(value: Any) -> float:
    if type(value) not in (int, float):
        raise _misfit(Type(float), value, _number_hint(value, float))
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise _Misfit(f"must be a finite number, but is {describe(value)}")
    return number


def _number_hint(value: Any, wanted: type) -> str:
    """Return how to write the number that was probably meant."""
    if type(value) is float and value.is_integer():
        return f"write {int(value)}"
    if isinstance(value, str):
        try:
            return f"write {describe(wanted(value))} without quotes"
        except ValueError:
            return ""
    return ""


def _string(value: Any) -> str:
    if type(value) is not str:
        raise _misfit(Type(str), value, f'write "{value}"' if type(value) in (int, float) else "")
    return value


def _null(value: Any) -> None:
    if value is not None:
        raise _misfit(Type(type(None)), value)


_SCALARS: Mapping[Any, Callable[[Any], Any]] = {
    bool: _boolean,
    int: _integer,
    float: _number,
    str: _string,
    type(None): _null,
}


def _path(value: Any, base_dir: Path) -> Path:
    if type(value) is not str or not value or "\0" in value:
        raise _misfit(Type(InputPath), value)
    return base_dir / value


def _folder_or_name(value: Any, base_dir: Path) -> FolderOrName:
    folder = _path(value, base_dir)
    return FolderOrName(folder if folder.is_dir() else value)


def _input_path(value: Any, base_dir: Path, *, check: bool) -> Path:
    path = _path(value, base_dir)
    if not check:
        return path
    hint = _base_dir_hint(value, base_dir)
    try:
        if not path.exists():
            raise _Misfit(f"must be a file, but {path} does not exist", hint)
        if not path.is_file():
            what = "a folder" if path.is_dir() else "a pipe or device"
            raise _Misfit(f"must be a regular file, but {path} is {what}", hint)
        with path.open("rb"):
            pass
    except OSError as error:
        raise _Misfit(
            f"must be a readable file, but {path} cannot be read: {error.strerror}", hint
        ) from error
    return path


def _base_dir_hint(value: str, base_dir: Path) -> str:
    return "" if Path(value).is_absolute() else f"relative paths start at {base_dir}, the `base_dir`"


def _one_of(value: Any, wanted: Type) -> Any:
    for each, meant in wanted.choices:
        if type(value) is type(each) and value == each:  # 1 equals true in Python
            return meant
    texts = [each for each, _ in wanted.choices if isinstance(each, str)]
    raise _misfit(wanted, value, did_you_mean(value, texts) if isinstance(value, str) else "")
