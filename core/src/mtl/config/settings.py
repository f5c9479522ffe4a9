"""A config before its classes are made: a tree of settings, in step with the config classes.

A `Reader` grows it from a document, sharing merges parts of it, a `Structurer` makes the classes.
"""

from __future__ import annotations

import functools
import json
import types
import typing
from collections.abc import Hashable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, cast, get_args, get_origin

import attrs
from attrs import Factory, define, frozen

from mtl.components import FeaturesConfig
from mtl.config.dumping import json_form
from mtl.config.json_path import JSONPath
from mtl.config.values import is_supported
from mtl.errors import PluginError
from mtl.fields import REQUIRED, Component
from mtl.plugins import Provided


class Failed:
    """What stands for a value that has a problem."""


FAILED: Final = Failed()


@define(eq=False)
class Value:
    """An option's value, as in the JSON and as its type hint wants it."""

    path: JSONPath
    json: Any
    value: Any
    stated: bool


@define(eq=False)
class Items:
    """A list or dict of settings, by index or key."""

    path: JSONPath
    items: dict[Any, Settings | Value]
    stated: bool
    is_list: bool = False


@define(eq=False)
class Settings:
    """What a config says for one config class.

    `stated` is false where the config says nothing and a slot's default stands; `name` is that of a
    component as it was named, `label` what messages call these settings. `merged_into` are the
    settings of the first sharer, where there is one. `meant` holds keys that an unknown key is near to.
    """

    cls: type[Any]
    path: JSONPath
    label: str
    stated: bool
    entries: dict[str, Entry] = Factory(dict)
    provided: Provided | None = None
    name: str = ""
    merged_into: Settings | None = None
    meant: set[str] = Factory(set)

    @property
    def resolved(self) -> Settings:
        """These, or those that they were merged into."""
        return self if self.merged_into is None else self.merged_into.resolved

    @property
    def type_name(self) -> str:
        """What is here, in messages about types."""
        return str(self.provided) if self.provided else "features"

    def value(self, name: str) -> Any:
        """The value of an option; None where there is none, or none that is right."""
        entry = self.entries.get(name)
        return entry.value if isinstance(entry, Value) and entry.value is not FAILED else None

    def children(self) -> Iterator[Settings]:
        """The settings right within these."""
        for entry in self.entries.values():
            for each in entry.items.values() if isinstance(entry, Items) else [entry]:
                if isinstance(each, Settings):
                    yield each


Entry = Value | Items | Settings


def stated_json(entry: Entry) -> Any:
    """What is stated, in JSON form, components as `{"Name": {...}}`."""
    if isinstance(entry, Value):
        return entry.json
    if isinstance(entry, Items):
        values = {key: stated_json(each) for key, each in entry.items.items()}
        return list(values.values()) if entry.is_list else values
    stated = {name: stated_json(each) for name, each in entry.entries.items() if each.stated}
    return {entry.name: stated} if entry.provided and entry.provided.kind != "featurizer" else stated


@frozen
class Field:
    """A field of a config class, and its type hint without `| None`."""

    attribute: attrs.Attribute[Any]
    hint: Any
    optional: bool

    @property
    def name(self) -> str:
        """The key in the JSON."""
        return self.attribute.name

    @property
    def help(self) -> str:
        """What it is for, as a hint."""
        text: str = self.attribute.metadata.get("help", "").rstrip(".")
        return text if text[:2].isupper() else text[:1].lower() + text[1:]

    @property
    def slot(self) -> str | None:
        """The kind of component that it takes, where it is a slot."""
        return self.attribute.metadata.get("slot")

    @property
    def full_hint(self) -> Any:
        """The type hint as it was."""
        return self.hint | None if self.optional else self.hint

    @property
    def many(self) -> type | None:
        """`list` or `dict` for a field of several components or config classes."""
        origin = get_origin(self.hint)
        return origin if origin in (list, dict) and self.item is not None else None

    @property
    def item(self) -> type | None:
        """`Component` or the config class in the hint."""
        inner = get_args(self.hint)[-1:] if get_origin(self.hint) in (list, dict) else (self.hint,)
        return next((each for each in inner if isinstance(each, type) and attrs.has(each)), None)


def fields_of(cls: type[Any]) -> dict[str, Field]:
    """The fields of a config class. Raises `PluginError` for one that a config cannot have."""
    return _fields_of(cast(Hashable, cls))


@functools.cache
def _fields_of(cls: Any) -> dict[str, Field]:
    try:
        hints = typing.get_type_hints(cls)
    except Exception as error:
        raise PluginError(f"the type hints of {cls.__qualname__} cannot be read: {error}") from error
    fields = {}
    for attribute in attrs.fields(cls):
        hint = hints[attribute.name]
        rest = [each for each in get_args(hint) if each is not type(None)]
        is_optional = get_origin(hint) in (typing.Union, types.UnionType) and len(rest) < len(get_args(hint))
        field = Field(attribute, typing.Union[tuple(rest)] if is_optional else hint, is_optional)  # noqa: UP007
        if (field.item is Component) != (field.slot is not None) and cls is not FeaturesConfig:
            raise PluginError(
                f"{cls.__qualname__}.{field.name} must be a `slot` with the hint Component, or neither"
            )
        if field.item is None and not is_supported(field.hint):
            raise PluginError(
                f"{cls.__qualname__}.{field.name} has a type hint that no config can hold: {hint}"
            )
        if field.item is None:
            _check_default(cls, field)
        fields[field.name] = field
    return fields


def _check_default(cls: Any, field: Field) -> None:
    """Raises `PluginError` for a default that JSON cannot hold."""
    default = field.attribute.default
    factory = getattr(default, "factory", None)
    if default is REQUIRED or getattr(default, "takes_self", False):
        return
    try:
        json.dumps(json_form(factory() if factory else default, Path()))
    except Exception as error:
        cause = f"{type(error).__name__}: {error}"
        raise PluginError(
            f"{cls.__qualname__}.{field.name} has a default that is no JSON: {cause}"
        ) from error


def split_default(default: Any) -> tuple[str | None, dict[str, Any]]:
    """A slot's default as a component's name and its settings there."""
    if isinstance(default, str):
        return default, {}
    if isinstance(default, Mapping):
        [(name, settings)] = default.items()
        return name, dict(settings)
    return None, {}
