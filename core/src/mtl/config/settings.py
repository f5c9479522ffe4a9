"""A config before its classes are made: a tree of settings, in step with the config classes.

A `Reader` grows it from a document, sharing merges parts of it, a `Structurer` makes the classes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from attrs import Factory, define

from mtl.config.json_path import JSONPath
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
