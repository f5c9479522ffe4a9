"""The values of options: JSON to Python by type hint, strictly. Free of plugins and of slots."""

from __future__ import annotations

import enum
import math
import types
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import cattrs
from attrs import frozen
from cattrs.cols import list_structure_factory
from cattrs.gen import make_mapping_structure_fn

from mtl.config.document import describe
from mtl.config.json_path import JSONPath
from mtl.fields import InputPath, OutputPath
from mtl.suggest import did_you_mean, listed

LARGEST_INTEGER = 2**63 - 1
"""What torch and NumPy hold."""


class Misfit(ValueError):
    """A value that is not what its type hint wants."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


def _misfit(wanted: Any, value: Any, hint: str = "") -> Misfit:
    return Misfit(f"must be {expected(wanted)}, but is {describe(value)}", hint)


@frozen
class Mistake:
    """What is wrong with a value, and where within it."""

    path: JSONPath
    message: str
    hint: str


def make_converter(base_dir: Path, *, check_paths: bool) -> cattrs.Converter:
    """A converter that takes nothing for anything else; paths start at `base_dir`."""
    converter = cattrs.Converter(detailed_validation=True)
    hooks: dict[Any, Callable[[Any, Any], Any]] = {
        bool: _boolean,
        int: _integer,
        float: _number,
        str: _string,
        type(None): _null,
        InputPath: lambda value, _: _input_path(value, base_dir, check=check_paths),
        OutputPath: lambda value, _: _path(value, base_dir),
    }
    for hint, hook in hooks.items():
        converter.register_structure_hook(hint, _unless_enum(hook))
    converter.register_structure_hook_factory(lambda hint: hint is Any, lambda _: lambda value, _: value)
    converter.register_structure_hook_factory(_is(Literal), _literal_hook)
    converter.register_structure_hook_factory(_is(Union, types.UnionType), _union_hook)
    converter.register_structure_hook_factory(_is(list), _list_hook)
    converter.register_structure_hook_factory(_is(dict), _dict_hook)
    converter.register_structure_hook(enum.Enum, _enum)
    return converter


def _unless_enum(hook: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """For an enum that is also a string or an integer: cattrs gives to the hook of those."""
    return lambda value, hint: (_enum if isinstance(hint, enum.EnumMeta) else hook)(value, hint)


def convert(
    converter: cattrs.Converter, value: Any, hint: Any, limits: Mapping[str, float]
) -> tuple[Any, list[Mistake]]:
    """The value as `hint` wants it, and all that is wrong with it."""
    try:
        converted = converter.structure(value, hint)
    except (Misfit, cattrs.IterableValidationError) as error:
        return None, list(_mistakes(error, ()))
    return converted, list(_beyond(converted, limits, ()))


def _mistakes(error: Exception, path: JSONPath) -> Iterator[Mistake]:
    if isinstance(error, cattrs.IterableValidationError):
        for inner, note in error.group_exceptions()[0]:
            yield from _mistakes(inner, (*path, note.index))
    elif isinstance(error, Misfit):
        yield Mistake(path, str(error), error.hint)
    else:
        raise error


LIMITS: Mapping[str, tuple[str, Callable[[float, float], bool]]] = {
    "minimum": ("at least", lambda value, limit: value >= limit),
    "above": ("above", lambda value, limit: value > limit),
    "maximum": ("at most", lambda value, limit: value <= limit),
    "below": ("below", lambda value, limit: value < limit),
}
"""The ranges that `option` can set, in words."""


def _beyond(value: Any, limits: Mapping[str, float], path: JSONPath) -> Iterator[Mistake]:
    """The numbers in `value`, at any depth, that lie outside the range."""
    if isinstance(value, (list, dict)):
        for key, each in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _beyond(each, limits, (*path, key))
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        inside = all(LIMITS[name][1](value, limit) for name, limit in limits.items())
        if not inside:
            wanted = " and ".join(f"{LIMITS[name][0]} {describe(limit)}" for name, limit in limits.items())
            yield Mistake(path, f"must be {wanted}, but is {describe(value)}", "")


def expected(hint: Any) -> str:
    """What a type hint wants, in words."""
    origin = get_origin(hint) or hint
    if origin in (Union, types.UnionType):
        return listed(expected(each) for each in get_args(hint))
    if origin is Literal:
        return listed(describe(each) for each in get_args(hint))
    if isinstance(hint, enum.EnumMeta):
        return listed(describe(each) for each in _values(hint))
    return {
        bool: "true or false",
        int: "an integer",
        float: "a number",
        str: "a string",
        list: "a list",
        dict: "an object",
        type(None): "null",
        InputPath: "the path of a file",
        OutputPath: "the path of a file",
    }.get(origin, str(hint))


def _is(*origins: Any) -> Callable[[Any], bool]:
    return lambda hint: (get_origin(hint) or hint) in origins


def _boolean(value: Any, _: Any) -> bool:
    if type(value) is not bool:
        hints = {"true": "write true", "false": "write false"}
        raise _misfit(bool, value, hints.get(str(value).lower(), ""))
    return value


def _integer(value: Any, _: Any) -> int:
    if type(value) is not int:
        raise _misfit(int, value, _number_hint(value, int))
    if abs(value) > LARGEST_INTEGER:
        raise _misfit(int, value, "a computer holds integers of 64 bits")
    return value


def _number(value: Any, _: Any) -> float:
    if type(value) not in (int, float):
        raise _misfit(float, value, _number_hint(value, float))
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise Misfit(f"must be a finite number, but is {describe(value)}")
    return number


def _number_hint(value: Any, wanted: type) -> str:
    """How the number that was meant is written."""
    if type(value) is float and value.is_integer():
        return f"write {int(value)}"
    if isinstance(value, str):
        try:
            return f"write {describe(wanted(value))} without quotes"
        except ValueError:
            return ""
    return ""


def _string(value: Any, _: Any) -> str:
    if type(value) is not str:
        raise _misfit(str, value, f'write "{value}"' if type(value) in (int, float) else "")
    return value


def _null(value: Any, _: Any) -> None:
    if value is not None:
        raise _misfit(type(None), value)


def _path(value: Any, base_dir: Path) -> Path:
    if type(value) is not str or not value or "\0" in value:
        raise _misfit(InputPath, value)
    return base_dir / value


def _input_path(value: Any, base_dir: Path, *, check: bool) -> Path:
    path = _path(value, base_dir)
    if not check:
        return path
    hint = "" if Path(value).is_absolute() else f"relative paths start at {base_dir}, the `base_dir`"
    try:
        if not path.exists():
            raise Misfit(f"must be a file, but {path} does not exist", hint)
        if not path.is_file():
            what = "a folder" if path.is_dir() else "none, such as a pipe or a device"
            raise Misfit(f"must be a regular file, but {path} is {what}", hint)
        with path.open("rb"):
            pass
    except OSError as error:
        raise Misfit(f"must be a file to read, but {path} cannot be read: {error.strerror}", hint) from error
    return path


def _literal_hook(hint: Any) -> Callable[[Any, Any], Any]:
    return lambda value, _: _one_of(value, [(each, each) for each in get_args(hint)], hint)


def _enum(value: Any, hint: Any) -> Any:
    return _one_of(value, [(each, hint(each)) for each in _values(hint)], hint)


def _values(hint: Any) -> list[Any]:
    return [each.value for each in hint]


def _one_of(value: Any, allowed: list[tuple[Any, Any]], hint: Any) -> Any:
    for each, meant in allowed:
        if type(value) is type(each) and value == each:  # 1 equals true in Python
            return meant
    texts = [each for each, _ in allowed if isinstance(each, str)]
    raise _misfit(hint, value, did_you_mean(value, texts) if isinstance(value, str) else "")


def _union_hook(hint: Any, converter: cattrs.Converter) -> Callable[[Any, Any], Any]:
    members = get_args(hint)
    others = [each for each in members if each is not type(None)]

    def structure(value: Any, _: Any) -> Any:
        if value is None and len(others) < len(members):
            return None
        errors: list[Misfit | cattrs.IterableValidationError] = []
        for member in others:
            try:
                return converter.structure(value, member)
            except (Misfit, cattrs.IterableValidationError) as error:
                errors.append(error)
        if isinstance(errors[0], cattrs.IterableValidationError) or others[0] is InputPath:
            raise errors[0]  # it says more: which of the items, or what is wrong with the file
        raise _misfit(hint, value, errors[0].hint)

    return structure


def _list_hook(hint: Any, converter: cattrs.Converter) -> Callable[[Any, Any], Any]:
    structure = list_structure_factory(hint, converter)
    return lambda value, _: structure(_checked(list, value), hint)


def _dict_hook(hint: Any, converter: cattrs.Converter) -> Callable[[Any, Any], Any]:
    structure = make_mapping_structure_fn(hint, converter)
    return lambda value, _: structure(_checked(dict, value), hint)


def _checked(wanted: type, value: Any) -> Any:
    if not isinstance(value, wanted):
        raise _misfit(wanted, value)
    return value


def is_supported(hint: Any) -> bool:
    """Whether an option can have this type hint."""
    origin = get_origin(hint) or hint
    if origin is Literal:
        return True
    if origin in (Union, types.UnionType, list, dict):
        members = get_args(hint)
        return all(map(is_supported, members)) and (origin is not dict or (not members or members[0] is str))
    plain = (bool, int, float, str, type(None), InputPath, OutputPath, Any)
    return origin in plain or isinstance(hint, enum.EnumMeta)
