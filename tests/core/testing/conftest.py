"""Plants components that are wrong on purpose among those that are installed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch

from mtl import ComponentSpec, hookimpl
from mtl.components import KINDS
from mtl.plugins import Plugins, discover
from mtl.testing.checks import Check
from mtl.testing.trials import Example, all_rules, component_trial

Plant = Callable[..., Plugins]
CheckRule = Callable[..., Check]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small tensors: a second thread only waits."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def plant(monkeypatch: pytest.MonkeyPatch) -> Plant:
    """Adds a component called Planted, of the distribution acme, to all that are installed."""

    def register(kind: str, config: Any, factory: Any, summary: str = "Planted") -> Plugins:
        module = ModuleType("planted")
        vars(module).update(Config=config, factory=factory)
        monkeypatch.setitem(sys.modules, "planted", module)
        spec = ComponentSpec(
            name="Planted", config="planted:Config", factory="planted:factory", summary=summary
        )
        plugins = discover(blocked=[])
        plugin = SimpleNamespace(mtl_api=">=1,<2", **{KINDS[kind].hook: hookimpl(lambda: [spec])})
        assert plugins.register(plugin, "acme", "1.0", "acme").state == "ok"
        return plugins

    return register


@pytest.fixture
def check_rule(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CheckRule:
    """Tries one rule on the planted component."""

    def check(plugins: Plugins, kind: str, rule: str, example: Example | None = None) -> Check:
        names = {each.name for rules in (all_rules()["config"], all_rules()[kind]) for each in rules}
        assert rule in names
        provided = plugins.find(kind, "Planted")
        # The other rules are left out, for the sake of the tests' time.
        from mtl.testing import configs, trials

        monkeypatch.setattr(configs, "RULES", tuple(each for each in configs.RULES if each.name == rule))
        tried = trials.KINDS_TRIED[kind]
        chosen = trials.Tried(
            tried.bench, tuple(each for each in tried.rules if each.name == rule), tried.settings
        )
        monkeypatch.setattr(trials, "KINDS_TRIED", {**trials.KINDS_TRIED, kind: chosen})
        done = {each.name: each for each in component_trial(plugins, provided, example).run()}
        return done[rule] if rule in done else done["takes_its_settings"]

    return check
