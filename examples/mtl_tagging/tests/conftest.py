from __future__ import annotations

from pathlib import Path

import mtl
import pytest

CONFIG = Path(__file__).parents[1] / "config.json"


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the run folder of config.json."""
    return mtl.train(CONFIG, output=tmp_path_factory.mktemp("runs") / "first", device="cpu").folder
