"""The shared modules of one run: modules with one key are one module."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from attrs import field, frozen
from torch import nn

from mtl.components import ModuleConfig
from mtl.components.instantiate import instantiate
from mtl.errors import ConfigError, Problem
from mtl.fields import Component


@frozen
class BuiltModule:
    """A module of the run, with what it was built from; `users` are JSON paths, the first built it."""

    module: nn.Module
    config: ModuleConfig
    shapes: Mapping[str, int]
    users: list[str] = field(factory=list)


class Builder:
    """Builds the modules of one run, each key once.

    Called with the component in a slot and the shapes that its place asks for:
    `build(config.lstm, input_dim=100)`.
    """

    def __init__(self) -> None:
        self._shared: dict[int, BuiltModule] = {}
        self.built: list[BuiltModule] = []

    def __call__(self, component: Component, **shapes: int) -> nn.Module:
        """The module for this component: a new one, or the one that its key already names.

        Raises `ConfigError` where the shapes of two sharers do not fit, `ComponentError` where its
        factory fails.
        """

        def make() -> nn.Module:
            module: nn.Module = instantiate(component, self, **shapes)
            return module

        return self.module(component.config, component.path, make, **shapes)

    def module(
        self, config: ModuleConfig, path: str, make: Callable[[], nn.Module], **shapes: int
    ) -> nn.Module:
        """What `make` gives, or the module that the config's key already names; `path` is for messages.

        Raises `ConfigError` where the shapes of two sharers do not fit.
        """
        # Sharers hold one config object.
        known = self._shared.get(id(config)) if config.shared_module_key else None
        if known is None:
            known = BuiltModule(make(), config, shapes)
            self.built.append(known)
            if config.shared_module_key:
                self._shared[id(config)] = known
        elif known.shapes != shapes:
            raise ConfigError([Problem(path, _misfit(config.shared_module_key, known, shapes))])
        known.users.append(path)
        return known.module


def _misfit(key: str | None, known: BuiltModule, shapes: Mapping[str, int]) -> str:
    def described(values: Mapping[str, Any]) -> str:
        return ", ".join(f"{name}={value}" for name, value in values.items())

    return (
        f"shared module {key!r} does not fit: {described(shapes)} here,"
        f" {described(known.shapes)} at {known.users[0]}"
    )
