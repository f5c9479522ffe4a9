"""What is installed, as JSON: `mtl plugins --json` and `mtl plugins show NAME --json`. Free of torch."""

from __future__ import annotations

import contextlib
import importlib.util
import inspect
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Union, get_args, get_origin

import attrs

from mtl.components import KINDS, FeaturesConfig
from mtl.config.dumping import json_form
from mtl.config.values import LIMITS, expected
from mtl.errors import UsageError
from mtl.fields import Component
from mtl.plugins import SHOW_INSTALLED, Plugins, Provided
from mtl.suggest import did_you_mean


def plugin_list(plugins: Plugins) -> dict[str, Any]:
    """All plugins with their states, and what is wrong with the choice of them."""
    return {"plugins": [attrs.asdict(status) for status in plugins.statuses], "warnings": plugins.warnings}


def described(plugins: Plugins, name: str) -> dict[str, Any]:
    """The plugins (by distribution or entry point) and the components that are called `name`, which
    may be `"distribution:name"`. Raises `UsageError` where nothing is."""
    found = {
        "plugins": [
            attrs.asdict(status) for status in plugins.statuses if name in (status.distribution, status.name)
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
        "keys": list(_keys(cls)),
        "declares": _declared(cls),
    }


def _file(reference: str) -> str | None:
    """The file of `module:attribute`, found without importing the module."""
    spec = importlib.util.find_spec(reference.partition(":")[0])
    return spec.origin if spec else None


def _keys(cls: type, prefix: str = "") -> Iterator[dict[str, Any]]:
    """The keys of a config class; those of a block inside it by their dotted names."""
    # What the class says itself comes before what every component of its kind takes.
    for attribute in sorted(attrs.fields(attrs.resolve_types(cls)), key=lambda each: each.inherited):
        key = prefix + attribute.name
        if attribute.type not in (Component, FeaturesConfig) and attrs.has(attribute.type):
            yield from _keys(attribute.type, f"{key}.")
            continue
        slot, limits = attribute.metadata.get("slot"), attribute.metadata.get("limits", {})
        default = _default(cls, attribute)
        yield {
            "key": key,
            "type": _type(attribute.type, KINDS[slot].label if slot else ""),
            "nullable": type(None) in get_args(attribute.type),
            "required": default is attrs.NOTHING,
            "default": None if default is attrs.NOTHING else default,
            "help": attribute.metadata.get("help", ""),
            "limits": [f"{LIMITS[name][0]} {limit:g}" for name, limit in limits.items()],
            "accepts": {
                name: json_form(value, Path())
                for name, value in attribute.metadata.get("declares", {}).items()
            },
        }


def _default(cls: type, attribute: attrs.Attribute[Any]) -> Any:
    if attribute.type is FeaturesConfig:
        return list(cls.default_features) or attrs.NOTHING  # type: ignore[attr-defined]
    if "slot" in attribute.metadata:
        default = attribute.metadata["default"]
        many = get_origin(attribute.type)
        return [] if default is attrs.NOTHING and many is list else default
    factory = getattr(attribute.default, "factory", None)
    return json_form(factory() if factory else attribute.default, Path())


def _type(hint: Any, slot: str) -> str:
    """What a type hint wants, null aside; `slot` names the kind of component that is meant."""
    if hint is Component:
        return f"a {slot}"
    if hint is FeaturesConfig:
        return "featurizers by name"
    match get_origin(hint), get_args(hint):
        case origin, arguments if origin in (Union, types.UnionType):
            return " or ".join(_type(each, slot) for each in arguments if each is not type(None))
        case origin, (item,) if origin is list:
            return f"a list, each {_type(item, slot)}"
        case origin, (_, item) if origin is dict:
            return f"by name, {_type(item, slot)}"
    return expected(hint)


def _declared(cls: type) -> dict[str, Any]:
    """What the component declares by its defaults; without what depends on its slots and required keys."""
    try:
        config = cls(**{field.alias: None for field in attrs.fields(cls) if field.default is attrs.NOTHING})
    except Exception:  # a config class may refuse what stands for a required key
        return {}
    found = {}
    for name, member in inspect.getmembers(cls):
        if isinstance(member, property):
            with contextlib.suppress(Exception):
                found[name] = json_form(getattr(config, name), Path())
    return found
