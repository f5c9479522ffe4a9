"""Builds the modules of a run, those with the same key once."""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from attrs import field, frozen
from torch import nn

from mtl.components import FeatureWidth, ModuleConfig
from mtl.components.instantiate import instantiate
from mtl.errors import ConfigError, Problem, component_errors
from mtl.fields import Component
from mtl.weights import note_input


@frozen
class Owner:
    """The component of a module's config, and the key under which its state is saved."""

    key: str
    component: Component


@frozen
class BuiltModule:
    """A module of the run, its config and shapes; `users` are JSON paths, of which the first built it."""

    module: nn.Module
    config: ModuleConfig
    shapes: Mapping[str, Any]
    users: list[str] = field(factory=list)


class Builder:
    """Builds the modules of one run, each key once.

    Called with the component of a slot and the required shapes:
    `build(config.lstm, input_dim=100)`.

    `owners` are the components of the run by the `id` of their configs. `states` are those of the modules
    of a model that is loaded, `started` those of modules whose weights come from another run, by the `id` of
    their configs.
    """

    def __init__(
        self,
        owners: Mapping[int, Sequence[Owner]] = MappingProxyType({}),
        states: Mapping[str, Mapping[str, Any]] | None = None,
        started: Mapping[int, Mapping[str, Any]] = MappingProxyType({}),
    ) -> None:
        self._owners = owners
        self._started = started
        self._states = states
        self._shared: dict[int, BuiltModule] = {}
        self._common: dict[Hashable, dict[str, nn.Parameter]] = {}
        self.built: list[BuiltModule] = []

    @property
    def is_loading(self) -> bool:
        """Whether the weights of the whole run will be loaded."""
        return self._states is not None

    def gets_weights(self, config: ModuleConfig) -> bool:
        """Return whether the module of this config will get weights, so that it need not find any itself."""
        return self.is_loading or id(config) in self._started

    def frozen_parameters(self, key: Hashable) -> dict[str, nn.Parameter]:
        """Return the parameters by name that modules of this run have in common, none of which trains them.

        The first module that asks finds none and adds its own; the others take these instead of theirs.
        """
        return self._common.setdefault(key, {})

    def module_state(self, config: ModuleConfig) -> Mapping[str, Any] | None:
        """Return what `state()` of the module of this config returned when it was saved; None if it was not.

        Any module may have a method `state()` that returns, as JSON, what is needed to build it again
        besides config and shapes: it is saved with the model.
        """
        for owner in self._owners.get(id(config), ()):
            if self._states is not None and owner.key in self._states:
                return owner.component.spec.migrate_state(self._states[owner.key])
            if self._states is None and self._started.get(id(config)):
                return owner.component.spec.migrate_state(self._started[id(config)])
        return None

    def state_of(self, config: ModuleConfig) -> Mapping[str, Any]:
        """Return the state of the module of this config, empty if it has none."""
        states = self.states()
        owners = self._owners.get(id(config), ())
        return next((states[owner.key] for owner in owners if owner.key in states), {})

    def states(self) -> dict[str, dict[str, Any]]:
        """Return the state of each module that has one, by the names of its config.

        Raises `ComponentError` for a state that is not JSON, or of a config that is not the run's.
        """
        found: dict[str, dict[str, Any]] = {}
        for built in self.built:
            if not hasattr(type(built.module), "state"):
                continue
            with component_errors(built.module, "to save its state"):
                state: dict[str, Any] = built.module.state()  # type: ignore[operator]
                json.dumps(state, allow_nan=False)
                if not isinstance(state, dict):
                    raise TypeError(f"`state()` must return a dict, but returns {state!r}")
                owners = self._owners.get(id(built.config), ())
                if state and not owners:
                    raise ValueError("its config is not in the config of the run")
            found |= {owner.key: state for owner in owners}
        return found

    def renamed_weights(self) -> list[tuple[nn.Module, Mapping[str, str]]]:
        """Return the modules whose tensors had other names in an older version, and those names."""
        pairs = [
            (built.module, owners[0].component.spec.load_renamed_weights())
            for built in self.built
            if (owners := self._owners.get(id(built.config)))
        ]
        return [(module, renamed) for module, renamed in pairs if renamed]

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
            note_input(known.module, shapes.get("input_dim"))
            self.built.append(known)
            if config.shared_module_key:
                self._shared[id(config)] = known
        elif known.shapes != shapes or not _same_columns(known.shapes, shapes):
            raise ConfigError([Problem(path, _misfit(config.shared_module_key, known, shapes))])
        known.users.append(path)
        return known.module


def _same_columns(*shapes: Mapping[str, Any]) -> bool:
    first, second = (each.get("input_dim") for each in shapes)
    return not (isinstance(first, FeatureWidth) and isinstance(second, FeatureWidth)) or first.fits(second)


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
