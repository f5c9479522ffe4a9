"""Whatever a component's factory raises, the component and its place are named (H1)."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from mtl.components import KINDS, ComponentSpec
from mtl.components.instantiate import instantiate
from mtl.errors import ComponentError, PluginError, UsageError
from mtl.fields import Component, configclass


@configclass
class Config:
    """No settings."""


def component(kind: str, factory: str, path: str = "") -> Component:
    spec = ComponentSpec(name="Acme", config=f"{__name__}:Config", factory=factory)
    return Component(kind, "Acme", spec, Config(), path)


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module whose factory raises the module's `error`."""
    module = ModuleType("acme_broken")

    def make(*arguments: Any, **keywords: Any) -> object:
        raise module.error

    vars(module).update(make=make, error=KeyError("width"))
    make.__module__ = "acme_broken"
    monkeypatch.setitem(sys.modules, "acme_broken", module)
    return module


@pytest.mark.parametrize("kind", KINDS)
def test_h1_a_raising_factory_is_named_with_its_place(kind: str, broken: ModuleType) -> None:
    with pytest.raises(ComponentError) as caught:
        instantiate(component(kind, "acme_broken:make", "tasks.SENT.Acme"), 1, input_dim=2)
    assert str(caught.value).startswith(
        "make (acme_broken) failed to instantiate tasks.SENT.Acme: KeyError: 'width' (test_instantiate.py:"
    )


@pytest.mark.parametrize("kind", KINDS)
def test_h1_a_factory_that_cannot_be_imported_is_named_with_its_place(kind: str) -> None:
    with pytest.raises(PluginError) as caught:
        instantiate(component(kind, "acme_nowhere:make", "tasks.SENT.Acme"))
    label = KINDS[kind].label
    assert str(caught.value).startswith(f"tasks.SENT.Acme: the {label} 'Acme': acme_nowhere:make cannot")


def test_a_component_without_a_path_is_named_by_its_kind(broken: ModuleType) -> None:
    with pytest.raises(ComponentError, match=r"failed to instantiate dataset 'Acme': KeyError"):
        instantiate(component("dataset", "acme_broken:make"))


def test_expected_failures_pass_as_they_are(broken: ModuleType, tmp_path: Path) -> None:
    for error in (UsageError("`size` must be even"), MemoryError()):
        vars(broken)["error"] = error
        with pytest.raises(type(error)) as caught:
            instantiate(component("task", "acme_broken:make", "tasks.SENT.Acme"))
        assert caught.value is error
