"""Installed plugins as JSON: `mtl plugins --json` and `mtl plugins show NAME --json`. Free of torch."""

from __future__ import annotations

import contextlib
import importlib.util
import inspect
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Union

import attrs

from mtl.components import KINDS, FeaturesConfig
from mtl.config.dumping import json_form
from mtl.config.values import expected, in_words
from mtl.errors import UsageError
from mtl.fields import REQUIRED, Component, Type, fields_of, placeholder
from mtl.plugins import SHOW_INSTALLED, Plugins, Provided
from mtl.suggest import did_you_mean, with_article


def plugin_list(plugins: Plugins, commands: Mapping[str, Sequence[str]]) -> list[dict[str, Any]]:
    """Return all plugins: their states and what they provide.

    `commands` are the names of the commands that each adds, by `distribution:entry point`.
    """
    return [
        {
            **attrs.asdict(status),
            "commands": list(commands.get(f"{status.distribution}:{status.name}", ())),
        }
        for status in plugins.statuses
    ]


def described(plugins: Plugins, commands: Mapping[str, Sequence[str]], name: str) -> dict[str, Any]:
    """Return the plugins (by distribution or entry point) and the components that are called `name`,
    which may be `"distribution:name"`. Raises `UsageError` if there are none."""
    found = {
        "plugins": [
            each for each in plugin_list(plugins, commands) if name in (each["distribution"], each["name"])
        ],
        "components": [_component(each) for each in _components(plugins, name)],
    }
    if not any(found.values()):
        known = [each for kind in KINDS for each in plugins.available(kind)]
        known += [status.distribution for status in plugins.statuses]
        raise UsageError(
            f"nothing installed is called `{name}`; {did_you_mean(name, known) or SHOW_INSTALLED}"
        )
    return found


def _components(plugins: Plugins, name: str) -> Iterator[Provided]:
    distribution, _, plain = name.rpartition(":")
    for kind in KINDS:
        for provided in plugins.available(kind).get(plain, ()):
            if distribution in ("", provided.distribution):
                yield provided


def _component(provided: Provided) -> dict[str, Any]:
    cls = provided.load_config()
    return {
        "name": provided.spec.name,
        "kind": provided.kind,
        "distribution": provided.distribution,
        "version": provided.version,
        "summary": provided.spec.summary,
        "help": inspect.getdoc(cls) or "",
        "config": {"class": provided.spec.config, "file": inspect.getsourcefile(cls)},
        "factory": {"class": provided.spec.factory, "file": _file(provided.spec.factory)},
        "keys": list(_keys(cls, common=KINDS[provided.kind].common_keys)),
        "declares": _declared(cls),
    }


def _file(reference: str) -> str | None:
    """Return the file of `module:attribute`, without importing the module."""
    spec = importlib.util.find_spec(reference.partition(":")[0])
    return spec.origin if spec else None


def _keys(cls: type, prefix: str = "", common: Collection[str] = ()) -> Iterator[dict[str, Any]]:
    """Yield the keys of a config class; those of blocks within it by dotted names."""
    # Its own keys come before those that every component of its kind has.
    for field in sorted(fields_of(cls).values(), key=lambda each: each.name in common):
        if field.item not in (None, Component, FeaturesConfig) and field.many is None:
            yield from _keys(field.item, f"{prefix}{field.name}.")
            continue
        yield {
            "key": prefix + field.name,
            "type": _type(field.type, KINDS[field.slot].label if field.slot else ""),
            "nullable": field.optional,
            "required": field.required,
            "default": None if field.default is REQUIRED else field.default,
            "help": field.help,
            "limits": in_words(field.limits),
            "accepts": {name: json_form(value, Path()) for name, value in field.declares.items()},
        }


def _type(wanted: Type, slot: str) -> str:
    """Return what a type takes, in words; `slot` is the kind of a component."""
    if wanted.origin is Component:
        return with_article(slot)
    if wanted.origin is FeaturesConfig:
        return "featurizers by name"
    if wanted.origin is list:
        return f"a list, each {_type(wanted.members[0], slot)}"
    if wanted.origin is dict:
        return f"by name, {_type(wanted.members[0], slot)}"
    if wanted.origin is Union:
        return " or ".join(_type(each, slot) for each in wanted.members)
    if wanted.item is not None:
        return "an object"
    return expected(wanted)


def _declared(cls: type) -> dict[str, Any]:
    """Return what the component declares by its defaults; without what depends on its slots and required
    keys."""
    try:
        config = placeholder(cls)
    except Exception:  # a config class may refuse what stands for a required key
        return {}
    found = {}
    for name, member in inspect.getmembers(cls):
        if isinstance(member, property):
            with contextlib.suppress(Exception):
                found[name] = _declaration(getattr(config, name))
    return found


def _declaration(value: Any) -> Any:
    """Return a declared value as JSON."""
    if isinstance(value, tuple):
        return [json_form(each, Path()) for each in value]
    if isinstance(value, frozenset):
        return sorted(json_form(each, Path()) for each in value)
    return json_form(value, Path())
