"""Plugins with made-up parts, and configs over files that exist."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from mtl.builtin import plugin as builtin
from mtl.config.load import LoadedConfig, load_config
from mtl.errors import ConfigError, Problem
from mtl.plugins import Plugins


@pytest.fixture(scope="session")
def parts() -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("acme_parts", Path(__file__).with_name("acme_parts.py"))
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["acme_parts"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["acme_parts"]


@pytest.fixture(scope="session")
def plugins(parts: ModuleType) -> Plugins:
    plugins = Plugins()
    for status in (
        plugins.register(parts, "acme-parts", "1.2"),
        plugins.register(builtin, "pytext-mtl", "0.1"),
    ):
        assert status.state == "ok", status.cause
    return plugins


@pytest.fixture(scope="session")
def base_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base").resolve()
    (folder / "rows.txt").write_text("a row\n")
    (folder / "words.txt").write_text("a\n")
    return folder


@pytest.fixture
def config(base_dir: Path) -> dict[str, Any]:
    """Two tasks that share nothing."""
    return {
        "base_dir": str(base_dir),
        "tasks": {
            "sort": {"SortTask": {"data": {"train_path": "rows.txt"}}},
            "guess": {"GuessTask": {"data": {"train_path": "rows.txt"}}},
        },
    }


Load = Callable[..., LoadedConfig]
Refused = Callable[..., list[Problem]]


@pytest.fixture
def load(plugins: Plugins) -> Load:
    def load(source: str | Path | Mapping[str, Any], *overrides: str, **options: Any) -> LoadedConfig:
        return load_config(source, plugins=plugins, overrides=overrides, **options)

    return load


@pytest.fixture
def refused(load: Load) -> Refused:
    """The problems of a config that is not valid."""

    def refused(source: str | Path | Mapping[str, Any], *overrides: str, **options: Any) -> list[Problem]:
        with pytest.raises(ConfigError) as caught:
            load(source, *overrides, **options)
        assert caught.value.problems
        return list(caught.value.problems)

    return refused
