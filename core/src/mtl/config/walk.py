"""The one walk over a config: everything in it, with its JSON path."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs
from attrs import frozen

from mtl.config.json_path import JSONPath
from mtl.fields import Component, Field, fields_of


@frozen
class Node:
    """A part of a config: a component, a config object, a list, a dict or a value.

    `path` is where `dump` writes it. `owner` is the config object that has it as the value of `field`;
    neither is there for items of a list or dict and for the settings of a component.
    """

    path: JSONPath
    value: Any
    owner: Any = None
    field: Field | None = None


def walk(value: Any, path: JSONPath = ()) -> Iterator[Node]:
    """Yield a config or part of one, and all that it contains, outer before inner."""
    return _walk(Node(path, value))


def _walk(node: Node) -> Iterator[Node]:
    yield node
    for inner in parts(node):
        yield from _walk(inner)


def parts(node: Node) -> Iterator[Node]:
    """Yield what stands right within a node."""
    value, path = node.value, node.path
    if isinstance(value, Component):
        is_key = node.field is not None and node.field.inline
        yield Node(path if is_key else (*path, value.name), value.config)
    elif attrs.has(type(value)):
        for field in fields_of(type(value)).values():
            inner = getattr(value, field.name)
            if field.inline:
                yield from (Node((*path, each.name), each, value, field) for each in inner.values())
            else:
                yield Node((*path, field.name), inner, value, field)
    elif isinstance(value, dict):
        yield from (Node((*path, key), each) for key, each in value.items())
    elif isinstance(value, (list, tuple)):
        yield from (Node((*path, index), each) for index, each in enumerate(value))


def components(value: Any) -> Iterator[Component]:
    """Yield all components of a config, those within others included."""
    return (node.value for node in walk(value) if isinstance(node.value, Component))


def slots_within(config: Any) -> Iterator[Component]:
    """Yield the components in a config's own slots, those of its blocks included."""

    def within(node: Node) -> Iterator[Component]:
        for inner in parts(node):
            if isinstance(inner.value, Component):
                yield inner.value
            else:
                yield from within(inner)

    return within(Node((), config))
