"""Make what a config names: the only place where a component's factory is called."""

from __future__ import annotations

from typing import Any

from mtl.errors import component_errors
from mtl.fields import Component


def instantiate(component: Component, *arguments: Any, **keywords: Any) -> Any:
    """Call a component's factory with its config and the arguments.

    Raises `ComponentError`, which names the component and its JSON path, if the factory raises.
    """
    factory = component.spec.load_factory()
    with component_errors(factory, f"to make {component.path}"):
        return factory(component.config, *arguments, **keywords)
