"""How a plugin announces its components, their migrations and its config readers."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any

from attrs import field, frozen

from mtl.errors import PluginError


@frozen(kw_only=True)
class ComponentSpec:
    """A component as its plugin announces it: its name, its config class and its factory.

    `config` and `factory` are `"module:attribute"`, imported when they are needed; if that fails, it is a
    `PluginError` then. `migrations`, written the same way, is a list of `Migration`s, oldest first, and
    `formerly` lists former names of the component: with them a config written for an older version of the
    plugin still runs.

    With the other two, models that an older version saved can still be loaded. `state_migrations` is a list
    of `Migration`s of the keys that `state()` returns; `renamed_weights` is a dict from former to current
    names of parameters, or of modules with everything within them, in the component's module.
    """

    name: str
    config: str
    factory: str
    summary: str = ""
    migrations: str = ""
    state_migrations: str = ""
    renamed_weights: str = ""
    formerly: tuple[str, ...] = ()

    def load_config(self) -> Any:
        """Import and return the config class."""
        return _load(self.config)

    def load_factory(self) -> Any:
        """Import and return the factory."""
        return _load(self.factory)

    def load_migrations(self) -> Any:
        """Import and return the migrations, if there are any."""
        return _load(self.migrations) if self.migrations else ()

    def load_renamed_weights(self) -> Mapping[str, str]:
        """Import and return `renamed_weights`."""
        renamed: Mapping[str, str] = _load(self.renamed_weights) if self.renamed_weights else {}
        return renamed

    def migrate_state(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """Return what `state()` of an older version would return today.

        Raises `PluginError` if both an old key and its successor are there, or a migration refuses a value.
        """
        migrated = dict(state)
        for migration in _load(self.state_migrations) if self.state_migrations else ():
            if migration.old not in migrated:
                continue
            written = self._written(migration, migrated.pop(migration.old))
            both = written.keys() & migrated.keys()
            if both:
                raise PluginError(
                    f"{self.name}: `{migration.old}` of its state is `{min(both)}` since {migration.since},"
                    " but it has both"
                )
            migrated |= written
        return migrated

    def _written(self, migration: Migration, value: Any) -> Mapping[str, Any]:
        if not callable(migration.new):
            return {} if migration.new is None else {migration.new: value}
        try:
            return migration.new(value)
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            reason = f"{type(error).__name__}: {error}"
            raise PluginError(
                f"{self.name}: `{migration.old}` of its state cannot be migrated: {reason}"
            ) from error


@frozen
class Baseline:
    """A simple model that `mtl data check --baseline` scores: its name and how it does that.

    `scores`, written `"module:attribute"` and imported when needed, is called with the columns of a task and
    its training and evaluation rows as polars tables. It returns the metrics on the evaluation rows by name,
    or None for a task that the model does not fit.
    """

    name: str
    scores: str

    def load_scores(self) -> Any:
        """Import and return `scores`."""
        return _load(self.scores)


@frozen(kw_only=True)
class ConfigReader:
    """How a plugin converts the configs of another program, which `name` names.

    Both functions are written `"module:attribute"` and imported when needed. `detects(value)` returns
    whether a config, as JSON, is one of that program. `converts(document)` takes it as an
    `mtl.config.Document` and returns mtl's config, as JSON, and a list of `Problem`s that say what became
    of each part.
    """

    name: str
    detects: str
    converts: str

    def load_detects(self) -> Any:
        """Import and return `detects`."""
        return _load(self.detects)

    def load_converts(self) -> Any:
        """Import and return `converts`."""
        return _load(self.converts)


@frozen
class Migration:
    """A change to one setting of a component.

    `new` is the setting that replaced `old`: its key, or its path below the component, names of components
    included (`pooling.MyPooling.dim`); or a function of the old value that returns the new
    settings by such paths, for a value that was split or changed its form; or None if the setting was
    removed. A function may keep the key: it then returns values that are up to date unchanged, under
    `old`. It raises `ValueError` for a value that was never valid.

    `since` is the version of the distribution that made the change, `note` what else its users should
    know.
    """

    old: str
    new: str | Callable[[Any], Mapping[str, Any]] | None = None
    since: str = field(kw_only=True)
    note: str = field(default="", kw_only=True)


def _load(reference: str) -> Any:
    """Import `module:attribute`. Raises `PluginError`, whatever the module raises."""
    module, _, attribute = reference.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (Exception, SystemExit) as error:
        raise PluginError(f"{reference} cannot be loaded: {type(error).__name__}: {error}") from error
