"""Configs of other programs are converted by the readers that plugins bring."""

from __future__ import annotations

import json
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from mtl import ConfigReader, Problem, hookimpl
from mtl.builtin import plugin as builtin
from mtl.config import Document
from mtl.config.load import load_config
from mtl.config.migrate import migrated
from mtl.errors import ComponentError, ConfigError
from mtl.plugins import Plugins

FOREIGN = json.dumps({"acme": {"lr": 0.1}}, indent=1)


@pytest.fixture
def reader(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module that reads Acme's configs."""
    module = ModuleType("acme_reader")

    def converts(document: Document) -> tuple[dict[str, Any], list[Problem]]:
        value = {"tasks": {}, "seed": 7}
        return value, [document.problem(("acme", "lr"), "is `seed`, 7", key=True)]

    vars(module).update(detects=lambda value: "acme" in value, converts=converts)
    monkeypatch.setitem(sys.modules, "acme_reader", module)
    return module


@pytest.fixture
def plugins(reader: ModuleType) -> Plugins:
    def mtl_config_readers() -> list[ConfigReader]:
        return [ConfigReader(name="Acme", detects="acme_reader:detects", converts="acme_reader:converts")]

    plugins = Plugins()
    plugins.register(builtin, "pytext-mtl", "0.1")
    status = plugins.register(
        SimpleNamespace(mtl_api=">=1,<2", mtl_config_readers=hookimpl(mtl_config_readers)), "acme-reader"
    )
    assert (status.state, status.config_readers) == ("ok", ("Acme",))
    return plugins


def test_a_foreign_config_is_converted_with_notes_at_their_places(plugins: Plugins) -> None:
    result = migrated(FOREIGN, plugins=plugins)
    assert json.loads(result.text) == {"tasks": {}, "seed": 7}
    assert result.notes == ("config:3:3: acme.lr: is `seed`, 7",)


def test_a_foreign_config_is_refused_by_its_name(plugins: Plugins) -> None:
    with pytest.raises(ConfigError, match=r"this is a config of Acme .*mtl config migrate"):
        load_config(FOREIGN, plugins=plugins)


def test_a_config_of_mtl_is_no_foreign_one(plugins: Plugins) -> None:
    with pytest.raises(ConfigError, match="has no setting `sead`"):
        load_config('{"tasks": {}, "sead": 1}', plugins=plugins)
    assert json.loads(migrated('{"seed": 1}', plugins=plugins).text) == {"seed": 1}


@pytest.mark.parametrize("part", ["detects", "converts"])
def test_a_reader_that_raises_is_named(plugins: Plugins, reader: ModuleType, part: str) -> None:
    def broken(value: Any) -> None:
        raise KeyError("lr")

    broken.__module__ = "acme_reader"
    setattr(reader, part, broken)
    with pytest.raises(ComponentError, match=r"broken \(acme_reader\) failed to .*KeyError: 'lr'"):
        migrated(FOREIGN, plugins=plugins)
