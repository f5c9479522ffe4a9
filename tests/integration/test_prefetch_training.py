"""Batches that are made ready on a thread change nothing but the time, and the lines say where that goes."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import mtl
from mtl.data.prefetch import Prefetcher
from mtl.training.loader import BatchLoader
from mtl.training.state import TIMED

Config = dict[str, Any]


@pytest.fixture
def prefetching(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Make batches ready on a CPU, too; gives the numbers of those asked for, a list for each epoch."""
    begun: list[int] = []
    before = Prefetcher.start

    def start(self: Prefetcher[Any]) -> None:
        begun.append(len(self.places))
        before(self)

    made = BatchLoader.__attrs_post_init__

    def switched_on(self: BatchLoader) -> None:
        made(self)
        self.prefetches = True

    monkeypatch.setattr(BatchLoader, "__attrs_post_init__", switched_on)
    monkeypatch.setattr(Prefetcher, "start", start)
    return begun


def settings(config: Config) -> Config:
    """Epochs of accumulated batches, within which a task stops early."""
    for task in config["tasks"].values():
        for each in task.values():
            each |= {"early_stop_after": 1, "accumulate_batches": 2}
    config["trainer"] = {"epochs": 3, "report_every_steps": 2, "evaluate_every_steps": 3}
    return config


def test_the_same_run(
    config: Config,
    tmp_path: Path,
    differences: Callable[[Path, Path], list[str]],
    request: pytest.FixtureRequest,
) -> None:
    mtl.train(settings(config), output=tmp_path / "in-turn")
    begun = request.getfixturevalue("prefetching")
    mtl.train(settings(config), output=tmp_path / "ahead")
    assert begun and begun[0] > 4
    assert '"kind": "stopped"' in (tmp_path / "ahead/metrics.jsonl").read_text(), "places are passed over"
    assert differences(tmp_path / "in-turn", tmp_path / "ahead") == []
    assert not [thread for thread in threading.enumerate() if thread.name == "mtl-prefetch"]


def test_the_shares_of_the_time_are_in_each_line(config: Config, tmp_path: Path) -> None:
    config["trainer"] = {"epochs": 2, "report_every_steps": 3}
    mtl.train(config, output=tmp_path / "run")
    lines = map(json.loads, (tmp_path / "run/metrics.jsonl").read_text().splitlines())
    shares = [line["time"] for line in lines if line["kind"] == "train"]
    assert len(shares) > 4
    for each in shares:
        assert tuple(each) == TIMED
        assert sum(each.values()) == pytest.approx(1, abs=0.001)
        assert each["forward"] > 0 and each["backward"] > 0
    assert any(each["eval"] > 0 for each in shares)
