"""The only place where a component's factory is called."""

from __future__ import annotations

from typing import Any

from mtl.components.kinds import KINDS
from mtl.errors import PluginError, component_errors
from mtl.fields import Component


def instantiate(component: Component, *arguments: Any, **keywords: Any) -> Any:
    """Call a component's factory with its config and the arguments.

    Raises `ComponentError` if the factory raises, `PluginError` if it cannot be imported; both name the
    component and its JSON path.
    """
    name = f"{KINDS[component.kind].label} {component.name!r}"
    place = component.path or name
    try:
        factory = component.spec.load_factory()
    except PluginError as error:
        raise PluginError(f"{place}: the {name}: {error.reason}", error.hint) from error
    with component_errors(factory, f"to instantiate {place}"):
        return factory(component.config, *arguments, **keywords)
