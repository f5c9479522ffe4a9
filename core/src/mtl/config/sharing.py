"""Modules with the same key are one module: merges their settings, and reports contradictions."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from attrs import Factory, define, frozen

from mtl.components import FeaturesConfig, ModuleConfig
from mtl.config.document import Document, describe
from mtl.config.dumping import json_form
from mtl.config.json_path import JSONPath, render_path
from mtl.config.settings import FAILED, Entry, Settings, Value, stated_json
from mtl.config.structure import Structurer
from mtl.errors import Problem
from mtl.fields import Component, fields_of
from mtl.suggest import did_you_mean

KEY = "shared_module_key"


@frozen
class SharedGroup:
    """The modules with one key.

    `users` are their JSON paths; the first builds the module. `owners` maps each setting that the config
    states to its JSON path, `values` each setting, nested ones with dots, to its value.
    """

    key: str
    component: str
    users: tuple[str, ...]
    owners: Mapping[str, str]
    values: Mapping[str, Any]


@define(eq=False)
class Sharing:
    """Merges the settings of modules with the same key into those of the first."""

    document: Document
    problems: list[Problem] = Factory(list)
    members: dict[str, list[Settings]] = Factory(dict)
    is_circular: bool = False
    _refused: set[int] = Factory(set)

    def merge(self, root: Settings) -> None:
        """Merge everything below `root`.

        Outer modules come first, because merging them brings together what is nested in them.
        """
        while self._merge_one(root):
            pass
        for settings in _walk(root):
            key = _key(settings)
            if key is not None:
                self.members.setdefault(key, []).append(settings)
        for nameless in self.members.pop("", ()):
            self._report((*nameless.path, KEY), f"`{KEY}` must not be empty", "omit it to share nothing")
        self._check_nesting(root, [])
        self._check_save_paths(root)

    def _report(self, path: JSONPath, message: str, hint: str) -> None:
        self.problems.append(self.document.problem(path, message, hint))

    def _merge_one(self, root: Settings) -> bool:
        first: dict[str, Settings] = {}
        for settings in _walk(root):
            key = _key(settings)
            if not key or id(settings) in self._refused:
                continue
            owner = first.setdefault(key, settings)
            if owner.resolved is not settings.resolved:
                if _same_type(owner, settings):
                    self._absorb(owner.resolved, settings.resolved, key)
                else:
                    self._refused.add(id(settings))
                    self._report_types(owner, settings, key)
                return True
        return False

    def _report_types(self, owner: Settings, other: Settings, key: str) -> None:
        message = (
            f"modules with the key {describe(key)} must be of one type, but this is {other.type_name},"
            f" and {render_path(owner.path)} is {owner.type_name}"
        )
        hint = "use different keys, or name the same component in both"
        self._report((*other.path, KEY), message, hint)

    def _absorb(self, owner: Settings, other: Settings, key: str) -> None:
        other.merged_into = owner
        if owner.cls is FeaturesConfig:
            self._absorb_names(owner, other, key)
        for name, theirs in other.entries.items():
            ours = owner.entries.get(name)
            if not theirs.stated or ours is theirs:
                continue
            if ours is None:
                owner.entries[name] = theirs
            elif isinstance(ours, Settings) and isinstance(theirs, Settings) and _same_type(ours, theirs):
                if ours.resolved is not theirs.resolved:
                    self._absorb(ours.resolved, theirs.resolved, key)
                    ours.resolved.stated = True
            elif not ours.stated:
                owner.entries[name] = theirs
            elif not _same(ours, theirs):
                self._report_values(name, ours, theirs, key)

    def _absorb_names(self, owner: Settings, other: Settings, key: str) -> None:
        """Merge featurizers: one sharer names them, or all name the same."""
        ours, theirs = (_featurizers(settings) for settings in (owner, other))
        stated = [name for name in ours if owner.entries[name].stated]
        others = [name for name in theirs if other.entries[name].stated]
        if stated and others and set(stated) != set(others):
            message = (
                f"features with the key {describe(key)} must name the same featurizers, but here they are"
                f" {', '.join(others)}, and at {render_path(owner.path)} {', '.join(stated)}"
            )
            self._report(other.path, message, "name them only once")
        elif others and not stated:
            defaults = {name: owner.entries.pop(name) for name in ours}
            owner.entries |= {name: defaults.get(name, other.entries[name]) for name in others}

    def _report_values(self, name: str, ours: Entry, theirs: Entry, key: str) -> None:
        def shown(entry: Entry) -> str:
            is_component = isinstance(entry, Settings) and entry.provided is not None
            return describe(
                entry.name if is_component and isinstance(entry, Settings) else stated_json(entry)
            )

        message = (
            f"`{name}` of the shared module {describe(key)} must be the same everywhere, but is"
            f" {shown(theirs)} here and {shown(ours)} at {render_path(ours.path)}"
        )
        self._report(theirs.path, message, "set it only once")

    def _check_nesting(self, settings: Settings, around: list[Settings]) -> None:
        """Report modules that contain themselves."""
        settings = settings.resolved
        if settings in around:
            self.is_circular = True
            message = f"the shared module {describe(_key(settings))} must not contain itself"
            self._report(settings.path, message, "use another key for the inner one")
            return
        for child in settings.children():
            self._check_nesting(child, [*around, settings])

    def _check_save_paths(self, root: Settings) -> None:
        saved: dict[str, Settings] = {}
        for settings in _walk(root):
            settings = settings.resolved
            path = settings.value("save_path")
            if path is None or not issubclass(settings.cls, ModuleConfig):
                continue
            first = saved.setdefault(os.path.normpath(path), settings)
            if first is not settings:
                message = f"`save_path` must be unique, but {render_path(first.path)} has the same"
                place = settings.entries["save_path"].path
                self._report(place, message, "name another file")

    def warnings(self) -> tuple[str, ...]:
        """Return a warning for each key that only one module has."""
        return tuple(self._alone(key, users[0]) for key, users in self.members.items() if len(users) == 1)

    def _alone(self, key: str, user: Settings) -> str:
        hint = did_you_mean(key, [other for other in self.members if other != key])
        place = self.document.problem((*user.path, KEY), f"no other module has the key {describe(key)}", hint)
        return place.render(self.document.source)

    def groups(self, structurer: Structurer, base_dir: Path) -> tuple[SharedGroup, ...]:
        """Return the keys that several modules have, once all settings are structured."""
        return tuple(
            _group(key, users, structurer.structure(users[0]), base_dir)
            for key, users in self.members.items()
            if len(users) > 1
        )


def _walk(settings: Settings) -> Iterator[Settings]:
    """Yield all settings, outer before inner; those within merged ones once."""
    seen: set[int] = set()

    def walk(each: Settings) -> Iterator[Settings]:
        yield each
        if id(each.resolved) not in seen:
            seen.add(id(each.resolved))
            for child in list(each.resolved.children()):
                yield from walk(child)

    return walk(settings)


def _key(settings: Settings) -> str | None:
    return settings.value(KEY) if issubclass(settings.cls, ModuleConfig) else None


def _featurizers(settings: Settings) -> list[str]:
    return [name for name in settings.entries if name not in fields_of(FeaturesConfig)]


def _same_type(ours: Settings, theirs: Settings) -> bool:
    if ours.provided is None or theirs.provided is None:
        return ours.cls is theirs.cls
    return ours.provided == theirs.provided


def _same(ours: Entry, theirs: Entry) -> bool:
    if isinstance(ours, Value) and isinstance(theirs, Value) and FAILED not in (ours.value, theirs.value):
        return bool(ours.value == theirs.value)
    return type(ours) is type(theirs) and bool(stated_json(ours) == stated_json(theirs))


def _group(key: str, users: list[Settings], config: Any, base_dir: Path) -> SharedGroup:
    first = users[0].resolved
    return SharedGroup(
        key=key,
        component=first.provided.spec.name if first.provided else "features",
        users=tuple(render_path(user.path) for user in users),
        owners={name: render_path(path) for name, path in _stated(first)},
        values={name: value for name, value in _flat(config, base_dir) if name != KEY},
    )


def _stated(settings: Settings, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, entry in settings.entries.items():
        if not entry.stated or (not prefix and name == KEY):
            continue
        if isinstance(entry, Settings):
            if entry.provided and entry.provided.kind != "featurizer":
                yield f"{prefix}{name}", entry.path
            yield from _stated(entry.resolved, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", entry.path


def _flat(config: Any, base_dir: Path, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for field in fields_of(type(config)).values():
        value = getattr(config, field.name)
        name = f"{prefix}{field.name}"
        if field.inline:
            for key, component in value.items():
                yield from _flat(component.config, base_dir, f"{prefix}{key}.")
        elif isinstance(value, Component):
            yield name, value.name
            yield from _flat(value.config, base_dir, f"{name}.")
        else:
            yield name, json_form(value, base_dir)
