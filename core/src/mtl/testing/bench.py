"""An installed component to check, with its config. Free of torch."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from attrs import frozen

from mtl.components import KINDS
from mtl.config import source as documents
from mtl.config.reader import Reader
from mtl.config.sharing import Sharing
from mtl.config.structure import Structurer
from mtl.config.values import Converter
from mtl.errors import ConfigError
from mtl.fields import REQUIRED, Component, configclass, slot
from mtl.plugins import Plugins, Provided


@frozen(slots=False)
class Bench:
    """A component to try, with the settings and, in `folder`, the files to try it with."""

    plugins: Plugins
    provided: Provided
    settings: Mapping[str, Any]
    folder: Path

    @property
    def kind(self) -> str:
        """The component's kind."""
        return self.provided.kind

    @property
    def name(self) -> str:
        """The component's name in a config, qualified if two distributions provide it."""
        plain = self.provided.spec.name
        is_alone = len(self.plugins.available(self.kind)[plain]) == 1
        return plain if is_alone else f"{self.provided.distribution}:{plain}"

    @property
    def label(self) -> str:
        """The component in messages."""
        return f"{KINDS[self.kind].label} {self.provided.spec.name}"

    @cached_property
    def component(self) -> Component:
        """The component with its settings. Raises `ConfigError` where these are not right."""
        return self.configured(self.settings)

    @property
    def config(self) -> Any:
        """The component's config."""
        return self.component.config

    @cached_property
    def factory(self) -> Callable[..., Any]:
        """The component's factory."""
        made: Callable[..., Any] = self.provided.load_factory()
        return made

    def configured(self, settings: Mapping[str, Any]) -> Component:
        """Return the component with other settings, read as a run's config is read; `kind.NAME` is where
        they stand in messages. Raises `ConfigError`."""
        return read_component(self.plugins, self.kind, self.name, settings, self.folder)


def read_component(
    plugins: Plugins, kind: str, name: str, settings: Mapping[str, Any], folder: Path
) -> Component:
    """Return a component alone, from its settings as JSON. Raises `ConfigError`."""
    document = documents.from_value({kind: {name: dict(settings)}})
    reader = Reader(plugins, document, Converter(folder, check_paths=False))
    read = reader.settings(_alone(kind), document.value, {}, (), "the config", stated=True)
    sharing, structurer = Sharing(document), Structurer(plugins, document)
    sharing.merge(read)
    made = structurer.structure(read)
    problems = [*document.problems, *reader.problems, *sharing.problems, *structurer.problems]
    if problems:
        raise ConfigError(dict.fromkeys(problems))
    component: Component = getattr(made, kind)
    return component


@functools.cache
def _alone(kind: str) -> type[Any]:
    """Return a config class with one slot only."""
    contents = {"__annotations__": {kind: Component}, kind: slot(kind, REQUIRED, "What is tried.")}
    return configclass(type("Alone", (), contents))
