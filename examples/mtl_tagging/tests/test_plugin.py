"""What mtl asks of every plugin and of each kind of component."""

from __future__ import annotations

from pathlib import Path

from mtl.testing import check_distribution

CONFIG = Path(__file__).parents[1] / "config.json"


def test_it_keeps_the_rules() -> None:
    check_distribution("mtl-tagging", config=CONFIG)
