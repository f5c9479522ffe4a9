"""The checks of mtl.testing."""

from __future__ import annotations

from pathlib import Path

from mtl.testing import check_distribution

CONFIG = Path(__file__).parents[1] / "config.json"


def test_the_plugin_passes_the_checks() -> None:
    check_distribution("mtl-tagging", config=CONFIG)
