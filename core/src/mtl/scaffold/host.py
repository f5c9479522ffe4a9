"""The installed task that shows a new component at work: core names none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from attrs import frozen

from mtl.config.json_path import JSONPath
from mtl.config.load import load_config
from mtl.errors import MtlError, UsageError
from mtl.fields import Component, Field, fields_of
from mtl.plugins import Plugins
from mtl.scaffold.rows import COLUMNS

PARTS_OF_A_TASK = ("data_source", "representation", "decoder")
"""The kinds of component that the host has slots for."""
TASK = "Reviews"
"""The name of the task in an example."""


@frozen
class Host:
    """An installed task that reads the example rows."""

    plugins: Plugins
    task: Component

    @property
    def defaults(self) -> dict[str, str]:
        """The names of its default components, by kind."""
        config = self.task.config
        slots = ((field.slot, getattr(config, field.name)) for field in fields_of(type(config)).values())
        names = {
            kind: each.name for kind, each in slots if kind in PARTS_OF_A_TASK and isinstance(each, Component)
        }
        return {**names, "featurizer": self.features[0]} if self.features else names

    @property
    def features(self) -> tuple[str, ...]:
        """The names of its default featurizers."""
        return tuple(self.task.config.default_features)

    def distributions(self, kinds: Mapping[str, str]) -> list[str]:
        """Return the distributions of components, given by kind and name."""
        found = (self.plugins.find(kind, name).distribution for kind, name in kinds.items())
        return sorted(set(found))

    def slot(self, kind: str, declares: Mapping[str, Any]) -> JSONPath:
        """Return the path of the outermost slot that a component which `declares` this fits.

        Raises `UsageError` if there is none.
        """
        for path, field in _slots(self.task):
            wanted = field.declares.items()
            if field.slot == kind and all(declares.get(name) == value for name, value in wanted):
                return path
        raise UsageError(f"{self.task.name}, which would show the {kind}, has no slot for one")


def _slots(component: Component) -> Iterator[tuple[JSONPath, Field]]:
    """Yield the slots of one component each within another, outer before inner."""
    level: list[tuple[JSONPath, Any]] = [((), component.config)]
    while level:
        inner: list[tuple[JSONPath, Any]] = []
        for path, config in level:
            for field in fields_of(type(config)).values():
                if field.slot is None or field.many:
                    continue
                yield (*path, field.name), field
                held = getattr(config, field.name)
                if held is not None:
                    inner.append(((*path, field.name, held.name), held.config))
        level = inner


def find_host(plugins: Plugins) -> Host:
    """Return the installed task that reads the example rows, the first by distribution and name.

    Raises `UsageError` if there is none.
    """
    provided = [each for several in plugins.available("task").values() for each in several]
    for each in sorted(provided, key=lambda each: (each.distribution, each.spec.name)):
        is_alone = len(plugins.available("task")[each.spec.name]) == 1
        name = each.spec.name if is_alone else f"{each.distribution}:{each.spec.name}"
        source = {"tasks": {TASK: {name: {"data": {"train_path": "train.tsv"}}}}}
        try:
            task = load_config(source, plugins=plugins, check_paths=False).config.tasks[TASK]
            host = Host(plugins, task)
            fits = {column.name for column in task.config.columns} == set(COLUMNS)
            if fits and {*PARTS_OF_A_TASK, "featurizer"} <= host.defaults.keys():
                return host
        except MtlError:  # a broken task, or one that needs more settings
            continue
    columns = " and ".join(f"`{name}`" for name in COLUMNS)
    raise UsageError(
        f"no installed task can show a new component at work; install a plugin with one that reads {columns}"
    )
