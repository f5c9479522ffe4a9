"""How a plugin announces a component, and how old settings of it become new ones."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any

from attrs import field, frozen

from mtl.errors import PluginError


@frozen(kw_only=True)
class ComponentSpec:
    """One component as its plugin announces it: a name and where its two halves are.

    `config` and `factory` are `"module:attribute"`; neither is imported until it is needed, and one
    that cannot be imported is a `PluginError` then. `migrations`, written alike, is a list of
    `Migration`s, oldest first, and `formerly` the names that the component had: with them a config
    that was written for an older version of the plugin still runs.

    With the other two a model that an older version has saved can still be loaded. `state_migrations`,
    written alike, are `Migration`s of the keys that `state()` returns; `renamed_weights` is a dict of the
    names that parameters, or modules with all that is in them, had in the component's module, and of those
    that they have now.
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
        """The config class."""
        return _load(self.config)

    def load_factory(self) -> Any:
        """The factory."""
        return _load(self.factory)

    def load_migrations(self) -> Any:
        """The migrations; none where the component names none."""
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
    """What became of one setting of a component.

    `new` is the setting that took the place of `old`: its key, or the path below the component with
    the names of components in it (`pooling.SelfAttention.attn_dim`); or a function of the old value
    that gives the new settings by such paths, for a value that was split or is written otherwise;
    None where nothing is left of it. A function that leaves a value of today as it is, under `old`,
    may change what is written for a setting that keeps its key. It raises `ValueError` for a value
    that never was right.

    `since` is the version of the distribution that brought the change, `note` what its users should
    know beyond that.
    """

    old: str
    new: str | Callable[[Any], Mapping[str, Any]] | None = None
    since: str = field(kw_only=True)
    note: str = field(default="", kw_only=True)


def _load(reference: str) -> Any:
    """Raises `PluginError`, whatever a plugin's module does when it is imported."""
    module, _, attribute = reference.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (Exception, SystemExit) as error:
        raise PluginError(f"{reference} cannot be loaded: {type(error).__name__}: {error}") from error
