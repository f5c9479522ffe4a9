"""The fields of config classes: how they are declared, and the one table of them. Free of torch."""

from __future__ import annotations

import enum
import functools
import json
import operator
import types
import typing
from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path, PosixPath, PurePath
from typing import TYPE_CHECKING, Any, Literal, NewType, Self, TypeVar, Union, cast, dataclass_transform

import attrs
from attrs import field, frozen

from mtl.errors import PluginError

if TYPE_CHECKING:
    import polars as pl

    from mtl.components import ComponentSpec

InputPath = NewType("InputPath", Path)
"""A file to read. Relative to `base_dir` in the JSON, absolute once read; it must exist."""


class InputPaths(tuple[Path, ...]):
    """Files to read: in the JSON one path, or a list of paths; a path may be a glob such as
    `parts/*.tsv`, which stands for the files that it matches, sorted. Else as `InputPath`."""

    def __new__(cls, *paths: Path) -> Self:
        """Make it of these paths."""
        return super().__new__(cls, paths)


OutputPath = NewType("OutputPath", Path)
"""A file to write. Relative to `base_dir` in the JSON, absolute once read."""


class TablePath(PosixPath):
    """What stands for rows given in Python where a path is wanted: its name tells their content, and `frame`
    holds them, None if they are not there anymore."""

    PREFIX = "table:"
    frame: pl.DataFrame | None = None


class FolderOrName(str):
    """A folder to read or, if there is no such folder, a name, such as a model's on a hub. A folder is
    relative to `base_dir` in the JSON and absolute once read."""


REQUIRED: Any = attrs.NOTHING
"""The default of an option or slot that a config must state."""

T = TypeVar("T")
Class = type[Any]

# --- how a config class declares its fields ---------------------------------------------------------


def option(
    default: Any = REQUIRED,
    help: str = "",
    *,
    minimum: float | None = None,
    above: float | None = None,
    maximum: float | None = None,
    below: float | None = None,
) -> Any:
    """Declare a field of a config class: its default, its help and its range.

    A mutable default is given as `attrs.Factory(list)`. The type hint is one of `int`, `float`,
    `bool`, `str`, `Literal[...]`, `X | None`, `list[X]`, `dict[str, X]`, `FolderOrName`, `InputPath`,
    `InputPaths`, `OutputPath`, an enum or another config class.
    """
    limits = {"minimum": minimum, "above": above, "maximum": maximum, "below": below}
    limits = {name: limit for name, limit in limits.items() if limit is not None}
    return field(default=default, metadata={"help": help, "limits": limits})


def slot(
    kind: str,
    default: str | Mapping[str, Mapping[str, Any]] | Sequence[Any] | None = REQUIRED,
    help: str = "",
    **declares: Any,
) -> Any:
    """Declare a field that takes any installed component of `kind`, held as a `Component`.

    `default` is a component's name, or `{"Name": {settings}}` if this slot's default differs
    from the component's own; `None` leaves the slot empty. `declares` are attributes that the
    component's config must have with these values, as in
    `slot("representation", "MyEncoder", output=Output.SEQUENCE)`; a component that does not is refused
    before data is read.

    The type hint says how many: `Component`, `Component | None`, `list[Component]` or
    `dict[str, Component]`. A list is empty by default, or holds the components that `default` lists,
    and must then name at least one; so must a dict without a default.
    """
    metadata = {"help": help, "slot": kind, "default": default, "declares": declares}
    return field(default=None, metadata=metadata) if default is None else field(metadata=metadata)


def inline_slots(kind: str, help: str = "") -> Any:
    """Declare a `dict[str, Component]` whose names are keys of the block itself, beside its options."""
    metadata = {"help": help, "slot": kind, "default": REQUIRED, "declares": {}, "inline": True}
    return field(factory=dict, metadata=metadata)


@frozen
class Component:
    """A component in a slot, and its settings.

    `path` is the JSON path of its settings, or of the slot if the config does not name it.
    """

    kind: str
    name: str
    spec: ComponentSpec = field(repr=False)
    config: Any
    path: str = field(default="", eq=False)


# Without field specifiers a type checker takes `option(1)` for a default, as it is.
@dataclass_transform(kw_only_default=True, frozen_default=True)
def configclass(cls: type[T]) -> type[T]:
    """Make a config class: frozen, keyword-only attrs. Its docstring is its help."""
    return attrs.define(frozen=True, kw_only=True, slots=True)(cls)


# --- what a type hint takes ----------------------------------------------------------------------

SCALARS = (bool, int, float, str, type(None), FolderOrName, InputPath, InputPaths, OutputPath, Any)


@frozen
class Type:
    """A type hint, interpreted.

    `origin` is one of `SCALARS`, `Literal` (enums too), `Union`, `list`, `dict`, `Component` or a config
    class. `members` are the types of a union, or the one of a container's items; `choices` maps each
    literal's JSON to its value.
    """

    origin: Any
    members: tuple[Type, ...] = ()
    choices: tuple[tuple[Any, Any], ...] = ()

    @property
    def item(self) -> type[Any] | None:
        """`Component` or the config class that this is, or that a list or dict holds."""
        inner = self.members[0].origin if self.origin in (list, dict) else self.origin
        return inner if _is_config_class(inner) else None


def read_hint(hint: Any) -> Type:
    """Interpret a type hint. Raises `TypeError` for one that no JSON value fits."""
    origin, inner = typing.get_origin(hint) or hint, typing.get_args(hint)
    if origin is Literal:
        return Type(Literal, choices=tuple((each, each) for each in inner))
    if isinstance(hint, enum.EnumMeta):
        members: list[enum.Enum] = list(hint)
        return Type(Literal, choices=tuple((each.value, each) for each in members))
    if origin in (Union, types.UnionType):
        return Type(Union, tuple(_without_config_classes(read_hint(each)) for each in inner))
    if origin is dict and inner and inner[0] is not str:
        raise TypeError("the keys of a dict must be str")
    if origin in (list, dict):
        item = read_hint(inner[-1]) if inner else Type(Any)
        return Type(origin, (item if _is_config_class(item.origin) else _without_config_classes(item),))
    if any(origin is each for each in SCALARS) or _is_config_class(origin):
        return Type(origin)
    raise TypeError(f"{hint} is not supported")


def _is_config_class(origin: Any) -> bool:
    return isinstance(origin, type) and attrs.has(origin)


def _without_config_classes(inner: Type) -> Type:
    if inner.item is not None:
        raise TypeError("a config class must stand alone, in a list or in a dict")
    return inner


# --- the table of fields -------------------------------------------------------------------------


@frozen
class Limit:
    """A limit that `option` can set: in words, its test and its JSON Schema keyword."""

    words: str
    allows: Callable[[float, float], bool]
    keyword: str


LIMITS: Mapping[str, Limit] = {
    "minimum": Limit("at least", operator.ge, "minimum"),
    "above": Limit("above", operator.gt, "exclusiveMinimum"),
    "maximum": Limit("at most", operator.le, "maximum"),
    "below": Limit("below", operator.lt, "exclusiveMaximum"),
}


@frozen
class Field:
    """A field of a config class: one key of its JSON.

    `type` is its type without null, which it also takes if it is `optional`. `default` is the JSON that
    an absent key stands for: `REQUIRED` if there is none, None if it depends on other fields. `slot` is the
    kind of component that it takes, `declares` what such a component must declare.
    """

    name: str
    alias: str
    type: Type
    optional: bool
    default: Any
    help: str
    limits: Mapping[str, float]
    slot: str | None
    declares: Mapping[str, Any]
    inline: bool
    _python_default: Any

    @property
    def hint(self) -> str:
        """Its help as the hint of an error."""
        text = self.help.rstrip(".")
        return text if text[:2].isupper() else text[:1].lower() + text[1:]

    @property
    def full_type(self) -> Type:
        """Its type, null included."""
        if not self.optional:
            return self.type
        members = self.type.members if self.type.origin is Union else (self.type,)
        return Type(Union, (*members, Type(type(None))))

    @property
    def many(self) -> Class | None:
        """`list` or `dict` for a field of several components or config classes."""
        return self.type.origin if self.type.origin in (list, dict) and self.item else None

    @property
    def item(self) -> Class | None:
        """`Component` or the config class in its type."""
        return self.type.item

    @property
    def required(self) -> bool:
        """Whether the JSON must have the key. An absent block is one without keys."""
        if self.item in (None, Component) or self.many or self.optional:
            return self.default is REQUIRED
        names_slots = any(each.inline for each in fields_of(cast(Any, self.item)).values())
        return names_slots and self.default is REQUIRED

    @property
    def slot_default(self) -> tuple[str | None, dict[str, Any]]:
        """The name of a slot's default component, and its settings there."""
        if isinstance(self.default, str):
            return self.default, {}
        if isinstance(self.default, Mapping) and self.default:
            [(name, settings)] = self.default.items()
            return name, dict(settings)
        return None, {}

    @property
    def must_be_passed(self) -> bool:
        """Whether the class cannot be called without it."""
        return self._python_default is REQUIRED

    def default_value(self) -> Any:
        """Return a default of the config class, as a new value."""
        factory = getattr(self._python_default, "factory", None)
        return factory() if factory else self._python_default


def fields_of(cls: type[Any]) -> Mapping[str, Field]:
    """Return the fields of a config class by name. Raises `PluginError` for one that JSON cannot express."""
    return _fields_of(cast(Hashable, cls))


@functools.cache
def _fields_of(cls: Any) -> dict[str, Field]:
    try:
        hints = typing.get_type_hints(cls)
    except Exception as error:
        raise PluginError(f"the type hints of {cls.__qualname__} cannot be read: {error}") from error
    return {each.name: _field(cls, each, hints[each.name]) for each in attrs.fields(cls)}


def _field(cls: type[Any], attribute: attrs.Attribute[Any], hint: Any) -> Field:
    metadata = attribute.metadata
    is_union = typing.get_origin(hint) in (Union, types.UnionType)
    rest = tuple(each for each in typing.get_args(hint) if each is not type(None))
    is_optional = is_union and len(rest) < len(typing.get_args(hint))
    try:
        read = read_hint(Union[rest] if is_optional else hint)  # noqa: UP007
    except TypeError as error:
        message = (
            f"{cls.__qualname__}.{attribute.name} has a type hint that JSON cannot express: {hint} ({error})"
        )
        raise PluginError(message) from None
    if (read.item is Component) != ("slot" in metadata):
        raise PluginError(
            f"{cls.__qualname__}.{attribute.name} must be a `slot` with the hint Component, or neither"
        )
    return Field(
        name=attribute.name,
        alias=str(attribute.alias),
        type=read,
        optional=is_optional,
        default=(
            _slot_default(metadata["default"], read, optional=is_optional)
            if "slot" in metadata
            else _default(cls, attribute, read)
        ),
        help=metadata.get("help", ""),
        limits=metadata.get("limits", {}),
        slot=metadata.get("slot"),
        declares=metadata.get("declares", {}),
        inline=metadata.get("inline", False),
        python_default=attribute.default,
    )


def _slot_default(default: Any, read: Type, *, optional: bool) -> Any:
    if default is not REQUIRED:
        return default
    return [] if read.origin is list else None if optional else REQUIRED


def _default(cls: type[Any], attribute: attrs.Attribute[Any], read: Type) -> Any:
    """Return the default of an option as JSON. Raises `PluginError` if it is not JSON."""
    default = attribute.default
    if read.item is not None:
        # A class says in `default_features` which components its block `features` names by default.
        usual = list(getattr(cls, f"default_{attribute.name}", ()))
        factory = getattr(default, "factory", None)
        return usual or ({} if factory and read.origin is not list else [] if factory else default)
    if default is REQUIRED or getattr(default, "takes_self", False):
        return REQUIRED if default is REQUIRED else None
    factory = getattr(default, "factory", None)
    try:
        value = option_json(factory() if factory else default)
        json.dumps(value)
    except Exception as error:
        cause = f"{type(error).__name__}: {error}"
        raise PluginError(
            f"{cls.__qualname__}.{attribute.name} has a default that is not JSON: {cause}"
        ) from error
    return value


def option_json(value: Any, base_dir: Path = Path()) -> Any:
    """Return an option's value as JSON; paths below `base_dir` become relative to it."""
    if isinstance(value, dict):
        return {key: option_json(each, base_dir) for key, each in value.items()}
    if isinstance(value, InputPaths) and len(value) == 1:
        return option_json(value[0], base_dir)
    if isinstance(value, (list, tuple)):
        return [option_json(each, base_dir) for each in value]
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, PurePath):
        return str(value.relative_to(base_dir) if value.is_relative_to(base_dir) else value)
    return value


def placeholder(cls: type[Any]) -> Any:
    """Return an instance of a config class for what it declares by its defaults; required fields hold None.

    Raises whatever the class raises for those.
    """
    return cls(**{each.alias: None for each in fields_of(cls).values() if each.must_be_passed})
