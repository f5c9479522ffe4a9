"""From settings to config classes, with the checks that need several settings."""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from attrs import Factory, define

from mtl.components import (
    KINDS,
    ColumnSpec,
    ColumnType,
    DataSourceConfig,
    FeaturesConfig,
    ModuleConfig,
    RepresentationConfig,
    TaskConfig,
)
from mtl.config.document import Document
from mtl.config.json_path import JSONPath, parse_path, render_path
from mtl.config.settings import FAILED, Entry, Items, Settings, Value
from mtl.config.walk import components
from mtl.errors import PluginError, Problem
from mtl.fields import Component, Field, fields_of, placeholder
from mtl.plugins import Plugins, Provided
from mtl.suggest import listed


@define(eq=False)
class Structurer:
    """Instantiates the config classes; `problems` collects mistakes. Settings that were merged give
    one object for all their users.

    `resolved` are configs that a run has resolved before: what they hold may not be there to read anymore.
    """

    plugins: Plugins
    document: Document
    resolved: Sequence[ModuleConfig] = ()
    problems: list[Problem] = Factory(list)
    _made: dict[int, Any] = Factory(dict)

    def structure(self, settings: Settings) -> Any:
        """Return an instance of the settings' class, or `FAILED`."""
        settings = settings.resolved
        if id(settings) not in self._made:
            self._made[id(settings)] = (
                self._features(settings) if settings.cls is FeaturesConfig else self._make(settings)
            )
        return self._made[id(settings)]

    def _make(self, settings: Settings) -> Any:
        values: dict[str, Any] = {}
        for field in fields_of(settings.cls).values():
            entry = settings.entries.get(field.name)
            if entry is not None:
                values[field.name] = self._value(entry)
                if field.slot is not None and not self._fits(field, entry, values[field.name]):
                    values[field.name] = FAILED
            elif field.must_be_passed:
                values[field.name] = FAILED
                self._report_missing(settings, field)
        return self._instance(settings, values)

    def _value(self, entry: Entry) -> Any:
        if isinstance(entry, Value):
            return entry.value
        if isinstance(entry, Items):
            values = {key: self._value(each) for key, each in entry.items.items()}
            if any(value is FAILED for value in values.values()):
                return FAILED
            return list(values.values()) if entry.is_list else values
        made = self.structure(entry)
        if made is FAILED or entry.provided is None:
            return made
        return Component(
            kind=entry.provided.kind,
            name=entry.name,
            spec=entry.provided.spec,
            config=made,
            path=render_path(entry.path),
        )

    def _features(self, settings: Settings) -> Any:
        values = {
            name: self._value(entry) for name, entry in settings.entries.items() if isinstance(entry, Value)
        }
        featurizers = {
            entry.provided.spec.name if isinstance(entry, Settings) and entry.provided else name: self._value(
                entry
            )
            for name, entry in settings.entries.items()
            if name not in fields_of(FeaturesConfig)
        }
        failed = any(value is FAILED for value in featurizers.values())
        return self._instance(settings, {**values, "featurizers": FAILED if failed else featurizers})

    def _instance(self, settings: Settings, values: dict[str, Any]) -> Any:
        if any(value is FAILED for value in values.values()):
            return FAILED
        aliases = {field.name: field.alias for field in fields_of(settings.cls).values()}
        try:
            made = settings.cls(**{aliases[name]: value for name, value in values.items()})
        except ValueError as error:
            self._report_refused(settings, str(error))
            return FAILED
        except Exception as error:
            if settings.provided is None:
                raise
            raise _defect(settings.path, settings.provided, "config class", error) from error
        if isinstance(made, ModuleConfig):
            made = self._resolve(settings, made)
        if isinstance(made, FeaturesConfig):
            self._report(settings, made.check())
        if isinstance(made, DataSourceConfig):
            self._report(settings, made.check())
        if isinstance(made, TaskConfig) and settings.provided is not None:
            self._check_task(settings, settings.provided, made)
        return made

    def _resolve(self, settings: Settings, made: ModuleConfig) -> Any:
        """Return a module's config with the values that are found elsewhere, or `FAILED`."""
        try:
            return made.resolve()
        except (ValueError, OSError) as error:
            for known in self.resolved:
                if _fills(known, made):
                    return known
            self._report_refused(settings, str(error))
            return FAILED
        except Exception as error:
            if settings.provided is None:
                raise
            raise _defect(settings.path, settings.provided, "`resolve`", error) from error

    def _report(self, settings: Settings, problems: Iterable[Problem]) -> None:
        """Report problems whose paths are relative to `settings`."""
        for problem in problems:
            path = _path_within(settings, problem.path)
            self.problems.append(self.document.problem(path, problem.message, problem.hint))

    def _check_task(self, settings: Settings, provided: Provided, made: TaskConfig) -> None:
        try:
            self._report(settings, made.check())
            self._check_units(settings, made)
        except Exception as error:
            raise _defect(settings.path, provided, "`check`", error) from error
        try:
            columns = made.columns
        except Exception as error:
            raise _defect(settings.path, provided, "`columns`", error) from error
        data = settings.entries["data"]
        if isinstance(data, Settings) and data.provided is not None:
            self._check_column_types(data, data.provided, made, columns)
            self._report(data, _misfits_of_division(made, columns))

    def _check_units(self, settings: Settings, made: TaskConfig) -> None:
        """Report the task and each of its representations that does not accept its features' unit."""
        unit = made.features.unit
        named = ", ".join(component.path for component in made.features.featurizers.values())
        takers: dict[str, Any] = {render_path(settings.path): made}
        takers |= {
            each.path: each.config
            for each in components(made)
            if isinstance(each.config, RepresentationConfig)
        }
        for place, config in takers.items():
            if unit not in config.accepts:
                message = (
                    f"features must have one vector per {listed(each.value for each in config.accepts)} here,"
                    f" but {named} has one per {unit.value}"
                )
                self.problems.append(self.document.problem(parse_path(place), message))

    def _check_column_types(
        self, data: Settings, provided: Provided, made: TaskConfig, columns: Iterable[ColumnSpec]
    ) -> None:
        """Report the columns of a task whose type its data source cannot give."""
        try:
            given = made.data.config.column_types
        except Exception as error:
            raise _defect(data.path, provided, "`column_types`", error) from error
        for column in columns:
            if column.type not in given:
                kinds = listed(kind.value for kind in ColumnType if kind in given)
                message = (
                    f"the column `{column.name}` must be {column.type.value}, but {made.data.name} gives"
                    f" only {kinds}"
                )
                hint = self._sources_of(column.type)
                self.problems.append(self.document.problem(data.path, message, hint))

    def _sources_of(self, wanted: ColumnType) -> str:
        return self._fitting("data_source", "column_types", lambda given: wanted in given)

    def _report_refused(self, settings: Settings, message: str) -> None:
        """Report a config class's error; at the setting that its message begins with, if it does."""
        named = re.match(r"`(\w+)", message)
        field = fields_of(settings.cls).get(named[1]) if named else None
        path = (*settings.path, field.name) if field and field.name in settings.entries else settings.path
        hint = field.hint if field else f"settings of {settings.label}"
        self.problems.append(self.document.problem(path, message, hint))

    def _report_missing(self, settings: Settings, field: Field) -> None:
        if field.name in settings.meant:  # the unknown key that is near to it has been reported
            return
        if not settings.path:
            message, hint = "the config has no tasks", 'as {"tasks": {"NAME": {"COMPONENT": {...}}}}'
        else:
            message, hint = f"`{field.name}` is missing", field.hint
        self.problems.append(self.document.problem((*settings.path, field.name), message, hint))

    # --- what a slot asks for --------------------------------------------------------------------

    def _fits(self, field: Field, entry: Entry, value: Any) -> bool:
        """Return whether the components in a slot declare what it requires; report each that does not."""
        before = len(self.problems)
        pairs: Iterable[tuple[Any, Any]] = [(entry, value)]
        if isinstance(entry, Items) and value is not FAILED:
            pairs = zip(entry.items.values(), value if entry.is_list else value.values(), strict=True)
        for each, component in pairs:
            if isinstance(component, Component) and isinstance(each, Settings) and each.provided:
                for attribute, wanted in field.declares.items():
                    try:
                        self._check_attribute(field, each.path, component, attribute, wanted)
                    except PluginError:
                        raise
                    except Exception as error:
                        raise _defect(each.path, each.provided, f"`{attribute}`", error) from error
        return len(self.problems) == before

    def _check_attribute(
        self, field: Field, path: JSONPath, component: Component, attribute: str, wanted: Any
    ) -> None:
        accepted = wanted if isinstance(wanted, (tuple, list, set, frozenset)) else (wanted,)
        try:
            declared = getattr(component.config, attribute)
        except (AttributeError, NotImplementedError) as error:
            raise PluginError(f"{component.name}: its config does not say its `{attribute}`") from error
        if declared not in accepted:
            kind = KINDS[component.kind].a_label
            message = (
                f"`{field.name}` needs {kind} with {attribute} {listed(map(_word, accepted))},"
                f" but {component.name} has {attribute} {_word(declared)}"
            )
            hint = self._fitting(component.kind, attribute, lambda value: value in accepted)
            is_named = path[-1] == component.name
            self.problems.append(self.document.problem(path, message, hint, key=is_named))

    def _fitting(self, kind: str, attribute: str, fits: Callable[[Any], bool]) -> str:
        """Name the installed components that declare, by their defaults, what is asked for."""
        names = []
        for name, provided in self.plugins.available(kind).items():
            try:
                settings = placeholder(provided[0].load_config())
                if fits(getattr(settings, attribute)):
                    names.append(name)
            except Exception:  # one that is broken, or needs settings to say, is not proposed
                continue
        return (
            f"these fit: {', '.join(names)}"
            if names
            else "no installed one fits; `mtl plugins` shows what is installed"
        )


def _misfits_of_division(made: TaskConfig, columns: Iterable[ColumnSpec]) -> Iterator[Problem]:
    """Yield the columns by which rows are divided into splits and that cannot be used for it."""
    data = made.data.config
    types = {column.name: column.type for column in columns}
    for key in ("stratify_by", "group_by"):
        name = getattr(data, key)
        if name is None:
            continue
        if name == "line":
            yield Problem(key, f"`{key}` must name a column, but `line` is the number of the row")
        elif types.get(name) is ColumnType.FLOAT:
            message = (
                f"`{key}` must name a column of values that occur several times, but `{name}` is a number"
            )
            yield Problem(key, message)
        elif name not in types and ColumnType.TEXT not in data.column_types:
            yield Problem(
                key, f"`{key}` must name a column that {made.data.name} gives as text, not `{name}`"
            )


def _defect(path: JSONPath, provided: Provided, part: str, error: Exception) -> PluginError:
    """Return an error of a config class: its plugin's mistake, not the user's."""
    return PluginError(
        f"{render_path(path)}: {provided}: its {part} failed: {type(error).__name__}: {error}",
        f"a defect of {provided.distribution}",
    )


def _word(value: Any) -> str:
    return f"`{value.value if isinstance(value, enum.Enum) else value}`"


def _path_within(settings: Settings, text: str) -> JSONPath:
    """Return the document's path for one relative to `settings`.

    Authors of components write it without the names of components.
    """
    try:
        relative = parse_path(text)
    except ValueError:
        return (*settings.path, text) if text else settings.path
    entry: Any = settings.resolved
    path = settings.path
    for part in relative:
        inside: dict[Any, Any] = {}
        if isinstance(entry, (Items, Settings)):
            inside = entry.items if isinstance(entry, Items) else entry.entries
        entry = inside.get(part)
        path = (*path, part) if entry is None else entry.path
    return path


def _fills(known: ModuleConfig, config: ModuleConfig) -> bool:
    """Return whether `known` differs from `config` only in values that `config` lacks."""
    fields = fields_of(type(config))
    return type(known) is type(config) and all(
        getattr(config, name) in (None, getattr(known, name)) for name in fields
    )
