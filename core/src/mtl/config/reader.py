"""Reads a document by the fields of the config classes.

It finds the mistakes that can be seen in one place: unknown keys and components, values of the wrong type.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import attrs
from attrs import Factory, define, frozen

from mtl.components import KINDS, FeaturesConfig
from mtl.config.document import Document, describe
from mtl.config.json_path import JSONPath, render_path
from mtl.config.migrations import Migrator
from mtl.config.run_config import RunConfig
from mtl.config.settings import FAILED, Entry, Items, Settings, Value
from mtl.config.values import Converter
from mtl.errors import PluginError, Problem
from mtl.fields import Field, fields_of
from mtl.plugins import Plugins, Provided
from mtl.suggest import did_you_mean, nearest, nearest_or_all

_ABSENT: Any = object()


@define(eq=False)
class Reader:
    """Reads a document into settings; `problems` collects its mistakes."""

    plugins: Plugins
    document: Document
    converter: Converter
    problems: list[Problem] = Factory(list)
    migrator: Migrator = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.migrator = Migrator(self.plugins, self.document)

    def report(self, path: JSONPath, message: str, hint: str = "", *, key: bool = False) -> None:
        """Add a problem."""
        self.problems.append(self.document.problem(path, message, hint, key=key))

    def read(self) -> Settings:
        """Read the whole config."""
        value = dict(self.document.value)
        schema = value.pop("$schema", "")
        if not isinstance(schema, str):
            message = f"`$schema` must be a string, but is {describe(schema)}"
            self.report(("$schema",), message, "the address of a schema, for editors")
        single = value.pop("task", _ABSENT)
        if single is not _ABSENT and "tasks" in value:
            self.report(
                ("task",),
                "a config must have either `tasks` or `task`, but has both",
                "move all tasks to `tasks`",
                key=True,
            )
        settings = self.settings(
            RunConfig, value, {}, (), "the config", stated=True, extra_keys=("task", "$schema")
        )
        if single is not _ABSENT and "tasks" not in value:
            settings.entries["tasks"] = self._single_task(single)
        return settings

    def _single_task(self, value: Any) -> Items:
        task = self.slot("task", value, _ABSENT, (None, {}), ("task",), optional=False)
        name = task.provided.spec.name if isinstance(task, Settings) and task.provided else "task"
        return Items(("task",), {name: task}, stated=True)

    def settings(
        self,
        cls: type[Any],
        value: Mapping[str, Any],
        default: Mapping[str, Any],
        path: JSONPath,
        label: str,
        *,
        stated: bool,
        provided: Provided | None = None,
        name: str = "",
        extra_keys: tuple[str, ...] = (),
        is_default: bool = False,
    ) -> Settings:
        """Read the settings of `cls` in `value`, over those of a slot's default."""
        settings = Settings(cls, path, label, stated, provided=provided, name=name)
        fields = fields_of(cls)
        for key in [key for key in value if key not in fields]:
            self._unknown_key(settings, key, [*fields, *extra_keys], is_default=is_default)
        for key in [key for key in default if key not in fields]:
            raise PluginError(f"the default at {render_path(path)} sets `{key}`, which {label} does not have")
        for field in fields.values():
            entry = self._entry(
                cls,
                field,
                value.get(field.name, _ABSENT),
                default.get(field.name, _ABSENT),
                (*path, field.name),
            )
            if entry is not None:
                settings.entries[field.name] = entry
        return settings

    def _unknown_key(self, settings: Settings, key: str, known: list[str], *, is_default: bool) -> None:
        settings.meant.update(nearest(key, known))
        kind = settings.provided.kind if settings.provided else None
        if kind and key in self.plugins.available(kind) and (beside := self._overridden(settings.path, key)):
            inside = render_path((*settings.path, key, beside))
            self.report((*settings.path, beside), f"`{beside}` must be within {key}", f"as in `{inside}=...`")
            return
        if kind and key in self.plugins.available(kind):
            hint = f'`{key}` is {KINDS[kind].a_label}: name it alone, as {{"{key}": {{...}}}}'
        else:
            hint = nearest_or_all(key, known, "settings")
        subject = f"{settings.label}, the default here," if is_default else settings.label
        self.report((*settings.path, key), f"{subject} has no setting `{key}`", hint, key=True)

    def _overridden(self, path: JSONPath, key: str) -> str | None:
        """Return a key beside `key` that an override wrote."""
        written = (each[len(path)] for each in self.document.origins if each[:-1] == path)
        return next((str(part) for part in written if part != key), None)

    def _entry(self, cls: type[Any], field: Field, value: Any, default: Any, path: JSONPath) -> Entry | None:
        stated = value is not _ABSENT
        if stated and value is None and field.optional:
            return Value(path, None, None, stated)
        if field.slot is not None:
            return self._slot_entry(field, value, default, path)
        if field.item is FeaturesConfig:
            return self._features(cls, value, default, path)
        if field.item is not None:
            return self._class_entry(field, value, default, path)
        if stated or default is not _ABSENT:
            return self._option(field, value if stated else default, path, stated=stated)
        return None

    def _option(self, field: Field, value: Any, path: JSONPath, *, stated: bool) -> Value:
        converted, mistakes = self.converter.convert(value, field.full_type, field.limits)
        for mistake in mistakes:
            name = "".join(f"[{each}]" if isinstance(each, int) else f".{each}" for each in mistake.path)
            self.report(
                (*path, *mistake.path), f"`{field.name}{name}` {mistake.message}", mistake.hint or field.hint
            )
        return Value(path, value, FAILED if mistakes else converted, stated)

    def _class_entry(self, field: Field, value: Any, default: Any, path: JSONPath) -> Entry | None:
        cls = cast(type[Any], field.item)
        stated = value is not _ABSENT
        if field.many is not None:
            if not stated and default is _ABSENT:
                return None
            items = self._items(field, value if stated else default, path)
            if items is None:
                return Value(path, value, FAILED, stated)
            return Items(
                path,
                {
                    key: self._object(cls, each, {}, (*path, key), field.name, stated)
                    for key, each in items.items()
                },
                stated,
                field.many is list,
            )
        if not stated and field.optional and default in (_ABSENT, None):
            return None
        return self._object(
            cls,
            value if stated else {},
            {} if default is _ABSENT else default,
            path,
            f"`{field.name}`",
            stated,
        )

    def _object(
        self, cls: type[Any], value: Any, default: Mapping[str, Any], path: JSONPath, label: str, stated: bool
    ) -> Settings | Value:
        if not isinstance(value, dict):
            self.report(path, f"{label} must be an object, but is {describe(value)}", _list_settings(cls))
            return Value(path, value, FAILED, stated)
        return self.settings(cls, value, default, path, label, stated=stated)

    def _items(self, field: Field, value: Any, path: JSONPath) -> dict[Any, Any] | None:
        """Return a list or object by index or key; None, with a problem, for anything else."""
        if field.many is list and isinstance(value, list):
            return dict(enumerate(value))
        if field.many is dict and isinstance(value, dict):
            return value
        what = "a list" if field.many is list else "an object"
        self.report(path, f"`{field.name}` must be {what}, but is {describe(value)}", field.hint)
        return None

    # --- slots -----------------------------------------------------------------------------------

    def _slot_entry(self, field: Field, value: Any, default: Any, path: JSONPath) -> Entry | None:
        kind = cast(str, field.slot)
        if field.many is None:
            return self.slot(kind, value, default, field.slot_default, path, optional=field.optional)
        stated = value is not _ABSENT
        needs_one = (bool(field.default) and isinstance(field.default, list)) or field.required
        if isinstance(field.default, list) and default is _ABSENT:
            default = field.default
        if not stated and default is _ABSENT:
            return None if field.required else Items(path, {}, stated=False, is_list=field.many is list)
        items = self._items(field, value if stated else default, path)
        if items is None:
            return Value(path, value, FAILED, stated)
        if not items and needs_one:
            message = f"`{field.name}` must name at least one {KINDS[kind].label}, but is empty"
            self.report(path, message, self._must_name(kind))
        return Items(
            path,
            {
                key: self.slot(kind, each, _ABSENT, field.slot_default, (*path, key), optional=False)
                for key, each in items.items()
            },
            stated,
            field.many is list,
        )

    def slot(
        self,
        kind: str,
        value: Any,
        default: Any,
        slot_default: tuple[str | None, dict[str, Any]],
        path: JSONPath,
        *,
        optional: bool,
    ) -> Settings | Value:
        """Read the component in a slot.

        `default` is what an outer slot's default gives it, in place of its own `slot_default`.
        """
        name, settings = slot_default
        name = self.migrator.today(kind, name)
        if default is not _ABSENT and default is not None:
            try:
                chosen = self._choose(kind, default, name, path)
            except _Unfit as unfit:
                raise PluginError(f"the default at {render_path(path)} is invalid: {unfit}") from unfit
            now = self.migrator.today(kind, chosen.name)
            settings = {**(settings if now == name else {}), **chosen.settings}
            name = now
        if value is _ABSENT:
            if name is None and not optional:
                self.report(path, f"`{path[-1]}` is missing", self._must_name(kind))
            if name is None or (default is None and optional):
                return Value(path, None, None if optional else FAILED, stated=False)
            return self._component(kind, _Choice(name, {}, path, is_default=True), settings, stated=False)
        try:
            chosen = self._up_to_date(kind, value, self._choose(kind, value, name, path), path)
        except _Unfit as unfit:
            self.report(unfit.path, str(unfit), unfit.hint, key=unfit.path != path)
            return Value(path, value, FAILED, stated=True)
        return self._component(kind, chosen, settings if chosen.name == name else {}, stated=bool(value))

    def _up_to_date(self, kind: str, value: Any, chosen: _Choice, path: JSONPath) -> _Choice:
        """Return the choice by its current name, which is also written into the document."""
        if chosen.is_default:
            return chosen
        if isinstance(value, dict):
            name = self.migrator.key(kind, value, chosen.name, path)
            return attrs.evolve(chosen, name=name, path=(*path, name))
        return attrs.evolve(chosen, name=self.migrator.value(kind, chosen.name, path))

    def _component(
        self, kind: str, chosen: _Choice, default: Mapping[str, Any], *, stated: bool
    ) -> Settings | Value:
        try:
            provided = self.plugins.find(kind, chosen.name)
            default = self.migrator.default(provided, default, chosen.path)
            self.migrator.settings(provided, chosen.settings, chosen.path)
            return self.settings(
                provided.load_config(),
                chosen.settings,
                default,
                chosen.path,
                provided.spec.name,
                stated=stated,
                provided=provided,
                name=chosen.name,
                is_default=chosen.is_default,
            )
        except PluginError as error:
            hint = "; ".join(filter(None, [chosen.hint, error.hint]))
            self.report(chosen.path, error.reason, hint, key=chosen.path[-1] == chosen.name)
            return Value(chosen.path, None, FAILED, stated)

    def _choose(self, kind: str, value: Any, default: str | None, path: JSONPath) -> _Choice:
        """Return the component that a slot's value names. Raises `_Unfit` for a value that names none."""
        if isinstance(value, str):
            return _Choice(value, {}, path)
        if not isinstance(value, dict):
            raise _Unfit(
                path,
                f"`{path[-1]}` must name {KINDS[kind].a_label}, but is {describe(value)}",
                self._must_name(kind),
            )
        keys = self._keys(kind, default)
        if len(value) == 1:
            [(name, settings)] = value.items()
            known = name.rpartition(":")[2] in self.plugins.available(kind)
            if name not in keys and (known or isinstance(settings, dict) or default is None):
                if not isinstance(settings, dict):
                    message = f"the settings of {name} must be an object, but are {describe(settings)}"
                    raise _Unfit((*path, name), message, f'"{name}" alone takes all defaults')
                return _Choice(name, settings, (*path, name), hint=did_you_mean(name, keys))
        if default is None:
            raise _Unfit(
                path,
                f"`{path[-1]}` must name one {KINDS[kind].label}, but has {len(value)} keys",
                self._must_name(kind),
            )
        return _Choice(default, value, path, is_default=True)

    def _keys(self, kind: str, name: str | None) -> list[str]:
        """Return the settings of a component, old ones included.

        None of one that cannot be loaded, which is reported when it is used.
        """
        if name is None:
            return []
        try:
            provided = self.plugins.find(kind, name)
            old = [migration.old for migration in provided.load_migrations()]
            return [*fields_of(provided.load_config()), *old]
        except PluginError:
            return []

    def _must_name(self, kind: str) -> str:
        names = list(self.plugins.available(kind))
        label = KINDS[kind].label
        if not names:
            return f"no {label} is installed; `mtl plugins` lists what is"
        return f'as {{"{names[0]}": {{...}}}}; installed: {", ".join(names)}'

    # --- features --------------------------------------------------------------------------------

    def _features(self, cls: type[Any], value: Any, default: Any, path: JSONPath) -> Settings | Value:
        """Read a task's features: module settings, with featurizers by name beside them."""
        stated = value is not _ABSENT
        own = value if stated else {}
        if not isinstance(own, dict):
            message = f"`{path[-1]}` must be an object, but is {describe(own)}"
            self.report(path, message, self._must_name("featurizer"))
            return Value(path, own, FAILED, stated)
        below = default if isinstance(default, Mapping) else {}
        below = {self.migrator.today("featurizer", key): each for key, each in below.items()}
        options = {name: field for name, field in fields_of(FeaturesConfig).items() if not field.inline}
        settings = Settings(FeaturesConfig, path, "features", bool(own))
        for name, field in options.items():
            entry = self._entry(
                FeaturesConfig, field, own.get(name, _ABSENT), below.get(name, _ABSENT), (*path, name)
            )
            if entry is not None:
                settings.entries[name] = entry
        for name in [key for key in own if key not in options]:
            self.migrator.key("featurizer", own, name, path)
        named = [key for key in own if key not in options]
        usual = [key for key in below if key not in options] or [
            self.migrator.today("featurizer", name) for name in getattr(cls, "default_features", ())
        ]
        for name in named or usual:
            settings.entries[name] = self._featurizer(
                name, own.get(name, {}), below.get(name, {}), (*path, name), list(options), stated=name in own
            )
        if not named and not usual:
            self.report(
                path, f"`{path[-1]}` must name at least one featurizer", self._must_name("featurizer")
            )
        return settings

    def _featurizer(
        self,
        name: str,
        value: Any,
        default: Mapping[str, Any],
        path: JSONPath,
        options: list[str],
        *,
        stated: bool,
    ) -> Settings | Value:
        hint = did_you_mean(name, options)
        if isinstance(value, dict) or name.rpartition(":")[2] not in self.plugins.available("featurizer"):
            settings = value if isinstance(value, dict) else {}
            return self._component(
                "featurizer", _Choice(name, settings, path, hint=hint), default, stated=stated
            )
        self.report(
            path,
            f"the settings of {name} must be an object, but are {describe(value)}",
            "{} takes all defaults",
        )
        return Value(path, value, FAILED, stated)


def _list_settings(cls: type[Any]) -> str:
    return f"settings: {', '.join(fields_of(cls))}"


@frozen
class _Choice:
    """The component that a slot's value names, its settings and their path."""

    name: str
    settings: dict[str, Any]
    path: JSONPath
    hint: str = ""
    is_default: bool = False


class _Unfit(Exception):
    """A slot's value that names no component."""

    def __init__(self, path: JSONPath, message: str, hint: str) -> None:
        super().__init__(message)
        self.path = path
        self.hint = hint
