"""A config before its classes are instantiated: a tree of settings that mirrors them.

A `Reader` builds it from a document, sharing merges parts of it, a `Structurer` instantiates the classes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from attrs import Factory, define

from mtl.config.json_path import JSONPath
from mtl.plugins import Provided


class Failed:
    """The placeholder of a value that has a problem."""


FAILED: Final = Failed()


@define(eq=False)
class Value:
    """An option's value, as in the JSON and converted to its type."""

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
    """The settings of one config class.

    `stated` is false if the config omits them and a default applies; `name` is that of a component as the
    config gives it, `label` the name of these settings in messages. `merged_into` are the settings of the
    first sharer, if there is one. `meant` holds keys that resemble an unknown key.
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
        """These settings, or those that they were merged into."""
        return self if self.merged_into is None else self.merged_into.resolved

    @property
    def type_name(self) -> str:
        """Their type in messages."""
        return str(self.provided) if self.provided else "features"

    def value(self, name: str) -> Any:
        """Return the value of an option; None if it is absent or invalid."""
        entry = self.entries.get(name)
        return entry.value if isinstance(entry, Value) and entry.value is not FAILED else None

    def children(self) -> Iterator[Settings]:
        """Yield the settings directly within these."""
        for entry in self.entries.values():
            for each in entry.items.values() if isinstance(entry, Items) else [entry]:
                if isinstance(each, Settings):
                    yield each


Entry = Value | Items | Settings


def stated_json(entry: Entry) -> Any:
    """Return what is stated as JSON, components as `{"Name": {...}}`."""
    if isinstance(entry, Value):
        return entry.json
    if isinstance(entry, Items):
        values = {key: stated_json(each) for key, each in entry.items.items()}
        return list(values.values()) if entry.is_list else values
    stated = {name: stated_json(each) for name, each in entry.entries.items() if each.stated}
    return {entry.name: stated} if entry.provided and entry.provided.kind != "featurizer" else stated
