"""A plugin that was written for an older version of the plugin API goes on working."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

import mtl.plugins
from mtl import hookspecs
from mtl.components import ComponentSpec
from mtl.hookspecs import deprecated, hookimpl, hookspec
from mtl.plugins import Plugins, PluginStatus


def plugin(api: str, *hooks: Callable[..., Any]) -> ModuleType:
    module = ModuleType("acme_plugin")
    module.mtl_api = api  # type: ignore[attr-defined]
    for hook in hooks:
        setattr(module, hook.__name__, hookimpl(hook))
    return module


def mtl_tasks() -> list[ComponentSpec]:
    return [ComponentSpec(name="Old", config="acme:Config", factory="acme:Factory")]


@pytest.fixture
def grown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Version 1.1 of the API: a hook has a new argument, one argument and one hook are deprecated."""

    @hookspec
    @deprecated(since="1.1", instead="take `metrics`", argument="result")
    def mtl_run_ended(result: Any, metrics: Any, seconds: float) -> None:
        raise NotImplementedError

    @hookspec
    @deprecated(since="1.1", instead="implement `mtl_run_ended`")
    def mtl_checkpoint_saved(path: str, step: int) -> None:
        raise NotImplementedError

    monkeypatch.setattr(hookspecs, "mtl_run_ended", mtl_run_ended)
    monkeypatch.setattr(hookspecs, "mtl_checkpoint_saved", mtl_checkpoint_saved)
    monkeypatch.setattr(mtl.plugins, "API_VERSION", "1.1")


def registered(module: ModuleType) -> tuple[Plugins, PluginStatus]:
    plugins = Plugins()
    return plugins, plugins.register(module, "acme-mtl", "2.0")


@pytest.mark.usefixtures("grown")
@pytest.mark.parametrize("api", [">=1,<2", "~=1.0", ">=1.0,<2"])
def test_a_plugin_for_an_older_minor_version_works(api: str) -> None:
    heard = []

    def mtl_run_ended(metrics: Any) -> None:
        heard.append(metrics)

    plugins, status = registered(plugin(api, mtl_tasks, mtl_run_ended))
    assert (status.state, status.api) == ("ok", api)
    assert list(plugins.available("task")) == ["Old"]
    plugins.manager.hook.mtl_run_ended(result={}, metrics={"accuracy": 1}, seconds=2.5)
    assert heard == [{"accuracy": 1}]
    assert plugins.warnings == []


@pytest.mark.usefixtures("grown")
def test_a_deprecated_hook_is_called_and_its_plugin_named() -> None:
    heard = []

    def mtl_checkpoint_saved(step: int) -> None:
        heard.append(step)

    plugins, status = registered(plugin("~=1.0", mtl_checkpoint_saved))
    assert status.state == "ok"
    plugins.manager.hook.mtl_checkpoint_saved(path="x", step=3)
    assert heard == [3]
    assert plugins.warnings == [
        "acme_plugin of acme-mtl 2.0: `mtl_checkpoint_saved` is deprecated since plugin API 1.1:"
        " implement `mtl_run_ended`"
    ]


@pytest.mark.usefixtures("grown")
def test_a_deprecated_argument_names_only_who_takes_it() -> None:
    def takes(result: Any) -> None: ...

    def takes_not(seconds: float) -> None: ...

    takes.__name__ = takes_not.__name__ = "mtl_run_ended"
    assert registered(plugin("~=1.0", takes_not))[0].warnings == []
    (warning,) = registered(plugin("~=1.0", takes))[0].warnings
    assert "the argument `result` of `mtl_run_ended` is deprecated since plugin API 1.1" in warning
    assert "take `metrics`" in warning


@pytest.mark.usefixtures("grown")
def test_a_plugin_that_is_refused_is_not_warned_of() -> None:
    def mtl_checkpoint_saved(step: int) -> None: ...

    plugins, status = registered(plugin(">=2", mtl_checkpoint_saved))
    assert status.state == "incompatible"
    assert plugins.warnings == []


def test_a_plugin_for_a_newer_version_is_refused_with_both() -> None:
    _, status = registered(plugin(">=1.1,<2", mtl_tasks))
    assert status.state == "incompatible"
    assert status.cause == f"it is for plugin API >=1.1,<2, but this is {mtl.plugins.API_VERSION}"


def test_a_component_spec_of_the_first_version_is_whole() -> None:
    (spec,) = mtl_tasks()
    assert spec.load_migrations() == ()
    assert spec.formerly == ()
