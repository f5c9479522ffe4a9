"""Long runs and many runs: nothing grows, nothing is left over, and none is touched by another."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import mtl
from mtl import Interrupted, hookimpl
from mtl.plugins import Plugins

Config = dict[str, Any]
Differences = Callable[[Path, Path], list[str]]

SOAKING = Path(__file__).parent / "harness/soaking.py"


def soak(what: str, config: Config, output: Path) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, SOAKING, json.dumps({"config": config, "output": str(output), "what": what})],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "2"},
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


@pytest.fixture
def short(tiny: Config) -> Config:
    """One step of each task an epoch."""
    for component in tiny["tasks"].values():
        for settings in component.values():
            settings["batch_size"] = 32
    return tiny


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_hundred_epochs_need_no_more_memory_than_five(short: Config, tmp_path: Path) -> None:
    short["trainer"] = {"epochs": 200, "average_decay": 0.9, "checkpoint_every_steps": 1}
    measured = soak("long", short, tmp_path)
    assert measured["memory"]["200"] <= 1.02 * measured["memory"]["5"]
    assert measured["after"] == measured["before"]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_s1_fifty_runs_in_one_process_leave_nothing_behind(short: Config, tmp_path: Path) -> None:
    short["trainer"] = {"epochs": 2}
    measured = soak("many", short, tmp_path)
    for after in measured["after"]:
        assert after == measured["before"]
    assert measured["memory"][49] <= 1.02 * measured["memory"][4]


def test_s1_runs_within_each_other_do_not_touch_each_other(
    tiny: Config, plugins: Plugins, tmp_path: Path, differences: Differences
) -> None:
    """Runs begin and end, are interrupted and resumed, between the steps of another."""
    other = {**tiny, "seed": 3, "trainer": {"max_steps": 4, "num_threads": 2, "checkpoint_every_steps": 1}}
    tiny["trainer"]["epochs"] = 1
    inner = (1, 2, 7)

    class Between:
        @hookimpl
        def mtl_step_ended(self, step: int) -> None:
            if step not in inner:
                return
            callbacks = [Interrupting()] if step % 2 else []
            try:
                mtl.train(other, output=tmp_path / f"inner-{step}", plugins=plugins, callbacks=callbacks)
            except Interrupted:
                mtl.train(other, output=tmp_path / f"inner-{step}", plugins=plugins, resume=True)

    class Interrupting:
        @hookimpl
        def mtl_step_ended(self, step: int) -> None:
            if step == 2:
                signal.raise_signal(signal.SIGINT)

    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    mtl.train(tiny, output=tmp_path / "alone", plugins=plugins)
    mtl.train(other, output=tmp_path / "inner alone", plugins=plugins)
    mtl.train(tiny, output=tmp_path / "outer", plugins=plugins, callbacks=[Between()])
    assert differences(tmp_path / "outer", tmp_path / "alone") == []
    for step in inner:
        assert differences(tmp_path / f"inner-{step}", tmp_path / "inner alone") == []
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == handlers
    assert torch.get_num_threads() == 1
