"""A plugin with migrations, and configs of its older versions."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from mtl.builtin import plugin as builtin
from mtl.config.load import LoadedConfig, load_config
from mtl.errors import ConfigError, Problem
from mtl.plugins import Plugins

Load = Callable[..., LoadedConfig]


@pytest.fixture(scope="session")
def migrating_parts() -> Iterator[ModuleType]:
    path = Path(__file__).with_name("migrating_parts.py")
    spec = importlib.util.spec_from_file_location("migrating_parts", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["migrating_parts"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["migrating_parts"]


@pytest.fixture(scope="session")
def plugins(migrating_parts: ModuleType) -> Plugins:
    plugins = Plugins()
    for status in (
        plugins.register(migrating_parts, "acme-parts", "3.1"),
        plugins.register(builtin, "pytext-mtl", "0.1"),
    ):
        assert status.state == "ok", status.cause
    return plugins


@pytest.fixture
def load(plugins: Plugins) -> Load:
    def load(source: Any, *overrides: str) -> LoadedConfig:
        return load_config(source, plugins=plugins, overrides=overrides, check_paths=False)

    return load


@pytest.fixture
def refused(load: Load) -> Callable[..., list[Problem]]:
    def refused(source: Any, *overrides: str) -> list[Problem]:
        with pytest.raises(ConfigError) as caught:
            load(source, *overrides)
        return list(caught.value.problems)

    return refused


@pytest.fixture
def text() -> Callable[..., str]:
    """A config of one task as JSON text with a key a line, around the representation given."""

    def text(representation: Any, **task: Any) -> str:
        settings = {"data": {"train_path": "rows.txt"}, "representation": representation, **task}
        return json.dumps({"tasks": {"sort": {"Sort": settings}}}, indent=1)

    return text
