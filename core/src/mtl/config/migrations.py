"""Brings configs written for older versions of plugins up to date."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from attrs import Factory, define

from mtl.components import Migration
from mtl.config.document import Document, describe
from mtl.config.json_path import JSONPath, render_path
from mtl.errors import PluginError, Problem
from mtl.fields import fields_of
from mtl.plugins import Plugins, Provided
from mtl.suggest import listed


class _Refused(Exception):
    """A setting that cannot be migrated in this config."""


@define(eq=False)
class Migrator:
    """Rewrites a document in place while it is read, outer components first.

    `changes` holds what was rewritten, `refused` what cannot be, each at its place in the text.
    """

    plugins: Plugins
    document: Document
    changes: list[Problem] = Factory(list)
    refused: list[Problem] = Factory(list)

    def settings(self, provided: Provided, settings: dict[str, Any], path: JSONPath) -> None:
        """Apply a component's migrations to its settings at `path`, in the order of their list.

        Raises `PluginError` for a migration that would remove a current setting.
        """
        for migration in provided.load_migrations():
            if migration.old not in settings:
                continue
            if not callable(migration.new) and migration.old in fields_of(provided.load_config()):
                raise PluginError(
                    f"{provided}: `{migration.old}` is a current setting, so its migration must be a function"
                )
            try:
                self._apply(provided, migration, settings, path)
            except _Refused as refused:
                problem = self.document.problem(
                    (*path, migration.old), str(refused), migration.note, key=True
                )
                self.refused.append(problem)
                settings.pop(migration.old)

    def default(self, provided: Provided, settings: Mapping[str, Any], path: JSONPath) -> Mapping[str, Any]:
        """Migrate the settings that another plugin's slot gives the component by default.

        Raises `PluginError` if they cannot be migrated.
        """
        if not any(migration.old in settings for migration in provided.load_migrations()):
            return settings
        beside = Migrator(self.plugins, Document({}, self.document.source))
        migrated = copy.deepcopy(dict(settings))
        beside.settings(provided, migrated, ())
        if beside.refused:
            raise PluginError(f"the default at {render_path(path)}: {beside.refused[0].message}")
        for change in beside.changes:
            message = f"a plugin's default is out of date: {change.message}"
            self.changes.append(self.document.problem(path, message, change.hint))
        return migrated

    def today(self, kind: str, name: str | None) -> str | None:
        """Return the current name of a component that a plugin's default names."""
        renamed = self.plugins.renamed(kind, name) if name else None
        return renamed.spec.name if renamed else name

    def _name(self, kind: str, name: str, path: JSONPath) -> str:
        """Return the current name of the component `name`; `path` is where the config names it."""
        provided = self.plugins.renamed(kind, name)
        if provided is None:
            return name
        distribution = name.rpartition(":")[0]
        now = f"{distribution}:{provided.spec.name}" if distribution else provided.spec.name
        message = f"`{name}` is now called `{now}` ({_author(provided)})"
        self.changes.append(self.document.problem(path, message, key=True))
        return now

    def value(self, kind: str, name: str, path: JSONPath) -> str:
        """Rename the component that the string at `path` names, and return its current name."""
        now = self._name(kind, name, path)
        if now != name:
            within = self.document.value
            for part in path[:-1]:
                within = within[part]
            within[path[-1]] = now
        return now

    def key(self, kind: str, within: dict[str, Any], name: str, path: JSONPath) -> str:
        """Rename the component that a key of the object at `path` names, and return its current name."""
        now = self._name(kind, name, (*path, name))
        if now != name and now in within:
            message = f"`{name}` is now called `{now}`, but both are set"
            self.refused.append(self.document.problem((*path, name), message, f"keep `{now}`", key=True))
            within.pop(name)
        elif now != name:
            _replace(within, name, {now: within[name]})
            self._moved((*path, name), (*path, now))
        return now

    def _apply(
        self, provided: Provided, migration: Migration, settings: dict[str, Any], path: JSONPath
    ) -> None:
        old = migration.old
        value = settings[old]
        written = _written(provided, migration, value)
        if written == {old: value}:
            return
        simple = {key: each for key, each in written.items() if "." not in key}
        taken = [key for key in simple if key in settings and key != old]
        if taken:
            raise _Refused(f"`{old}` is now `{taken[0]}`, but both are set")
        rest = copy.deepcopy({key: each for key, each in settings.items() if key != old})
        places: list[tuple[str, ...]] = [(key,) for key in simple]
        for key, each in written.items():
            if "." in key:
                places.append(self._put(provided.load_config(), rest, tuple(key.split(".")), each))
        self.changes.append(
            self.document.problem((*path, old), _said(provided, migration, written), migration.note, key=True)
        )
        _replace(settings, old, simple)
        settings.update(rest)
        for place in places:
            self._moved((*path, old), (*path, *place))

    def _put(
        self, cls: type[Any] | None, settings: dict[str, Any], path: tuple[str, ...], value: Any
    ) -> tuple[str, ...]:
        """Write `value` below the settings of `cls`, and return its path."""
        key, *rest = path
        if not rest:
            if key in settings:
                raise _Refused(f"`{key}` has replaced it, but both are set")
            settings[key] = value
            return (key,)
        field = fields_of(cls).get(key) if cls else None
        if field is not None and field.slot is not None:
            name, *rest = rest
            default = self.today(field.slot, field.slot_default[0])
            inner, place = _slot(settings, key, name, is_default=name == default)
            cls = self.plugins.find(field.slot, name).load_config()
            return (*place, *self._put(cls, inner, tuple(rest), value))
        inner = settings.setdefault(key, {})
        if not isinstance(inner, dict):
            raise _Refused(f"`{'.'.join(path)}` has replaced it, but `{key}` is {describe(inner)}")
        return (key, *self._put(field.item if field else None, inner, tuple(rest), value))

    def _moved(self, old: JSONPath, new: JSONPath) -> None:
        self.document.moved[new] = self.document.original(old)


def _slot(
    settings: dict[str, Any], key: str, name: str, *, is_default: bool
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the settings of the component `name` in a slot, and their path; an empty slot is filled."""
    value = settings.get(key)
    if value is None or value == name:
        value = settings[key] = {name: {}}
    if isinstance(value, dict):
        inner = value.get(name)
        if isinstance(inner, dict):
            return inner, (key, name)
        names_another = len(value) == 1 and isinstance(next(iter(value.values())), dict)
        if is_default and not names_another:
            return value, (key,)
    raise _Refused(f"it now belongs to {name} in `{key}`, but `{key}` is {describe(value)}")


def _replace(settings: dict[str, Any], key: str, by: Mapping[str, Any]) -> None:
    """Replace a setting in place by others, so that their order in the file is kept."""
    before = list(settings.items())
    settings.clear()
    for name, value in before:
        settings.update(by if name == key else {name: value})


def _written(provided: Provided, migration: Migration, value: Any) -> Mapping[str, Any]:
    """Return the settings, by path, that replace the old one."""
    if migration.new is None:
        return {}
    if isinstance(migration.new, str):
        return {migration.new: value}
    try:
        written = migration.new(copy.deepcopy(value))
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        why = f"{type(error).__name__}: {error}"
        raise _Refused(
            f"`{migration.old}` is {describe(value)}, which cannot be migrated"
            f" ({_author(provided)} says {why})"
        ) from error
    if not isinstance(written, Mapping):
        raise PluginError(f"{provided}: its migration of `{migration.old}` must return settings by name")
    return written


def _said(provided: Provided, migration: Migration, written: Mapping[str, Any]) -> str:
    version = f"{provided.distribution} {migration.since}"
    old = f"`{migration.old}` of {provided.spec.name}"
    if not written:
        return f"{old} was removed in {version}"
    if migration.old in written and len(written) == 1:
        return f"{old} is {describe(written[migration.old])} as of {version}"
    return f"{old} is {listed((f'`{key}`' for key in written), last='and')} as of {version}"


def _author(provided: Provided) -> str:
    return f"{provided.distribution} {provided.version}"
