"""The shared modules of one run: modules with one key are one module."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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
    shapes: Mapping[str, Any]
    users: list[str] = field(factory=list)


class Builder:
    """Builds the modules of one run, each key once.

    Called with the component in a slot and the shapes that its place asks for:
    `build(config.lstm, input_dim=100)`.
    """

    def __init__(self) -> None:
        self._shared: dict[int, BuiltModule] = {}
        self.built: list[BuiltModule] = []

    def __call__(
        self, component: Component, *, output_names: Sequence[str] | None = None, **shapes: int
    ) -> nn.Module:
        """Return the module for this component: a new one, or the one that its key already names.

        `output_names` are the names of a decoder's outputs, such as labels, if they have names; with them
        its weights can be loaded for other labels.

        Raises `ConfigError` if the shapes or names of two sharers do not fit, `ComponentError` if its
        factory raises.
        """
        named = {} if output_names is None else {"output_names": tuple(output_names)}

        def make() -> nn.Module:
            module: nn.Module = instantiate(component, self, **shapes, **named)
            return module

        return self.module(component.config, component.path, make, **shapes, **named)

    def module(
        self, config: ModuleConfig, path: str, make: Callable[[], nn.Module], **shapes: Any
    ) -> nn.Module:
        """Return what `make` gives, or the module that the config's key already names.

        `path` is for messages. Raises `ConfigError` if the shapes of two sharers do not fit.
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
        return ", ".join(f"{name}={_shown(value)}" for name, value in values.items())

    return (
        f"shared module {key!r} does not fit: {described(shapes)} here,"
        f" {described(known.shapes)} at {known.users[0]}"
    )


def _shown(value: Any) -> str:
    if not isinstance(value, tuple):
        return str(value)
    return f"{', '.join(map(repr, value[:5]))}{', …' if len(value) > 5 else ''} ({len(value):,})"
