"""A resumed run equals the uninterrupted one to the bit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import mtl
from mtl import hookimpl
from mtl.errors import UsageError

Config = dict[str, Any]


class Killed(BaseException):
    """Stands for SIGKILL: nothing is cleaned up by mtl itself."""


class KillAfter:
    def __init__(self, step: int) -> None:
        self.step = step

    @hookimpl
    def mtl_step_ended(self, step: int) -> None:
        if step == self.step:
            raise Killed


def checkpoint(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(max((folder / "checkpoints").iterdir()) / "tensors.safetensors")


TRAINERS: list[Config] = [
    {},
    {"accumulate_batches": 3, "optimizer": "AdamW", "lr_scheduler": {"Cosine": {"warmup_steps": 3}}},
    {"lr_scheduler": {"ReduceOnPlateau": {"patience": 0}}, "evaluate_every_steps": 5},
    {"optimizer": {"SGD": {"momentum": 0.9}}, "early_stop_after": 2, "max_clip_norm": 1.0},
]


@pytest.mark.parametrize("trainer", TRAINERS)
@pytest.mark.parametrize(
    "schedule",
    ["RoundRobin", {"Proportional": {"epoch": "all"}}, {"Sequential": {"epoch": "steps", "epoch_steps": 7}}],
)
def test_l4_resumed_equals_uninterrupted(
    config: Config,
    trainer: Config,
    schedule: Any,
    tmp_path: Path,
    read_metrics: Callable[[Path], list[Config]],
) -> None:
    config["schedule"] = schedule
    config["trainer"] |= {"checkpoint_every_steps": 3, **trainer}
    whole = mtl.train(config, output=tmp_path / "whole").data
    for killed_at in (2, 7, whole["steps"] - 1):
        with pytest.raises(Killed):
            mtl.train(
                config, output=tmp_path / "killed", watchers=[KillAfter(killed_at)], resume=killed_at != 2
            )
    resumed = mtl.train(config, output=tmp_path / "killed", resume=True).data

    assert read_metrics(tmp_path / "killed") == read_metrics(tmp_path / "whole")
    left, right = checkpoint(tmp_path / "killed"), checkpoint(tmp_path / "whole")
    assert left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)
    assert resumed["best"] == whole["best"]
    for task, figures in whole["tasks"].items():
        timeless = {name: value for name, value in figures.items() if not name.endswith("_per_second")}
        assert {name: resumed["tasks"][task][name] for name in timeless} == timeless


def test_checkpoints_of_different_steps_differ(config: Config, tmp_path: Path) -> None:
    config["trainer"] |= {"checkpoint_every_steps": 1, "keep_checkpoints": 2}
    mtl.train(config, output=tmp_path / "run")
    older, newer = sorted((tmp_path / "run/checkpoints").iterdir())
    left, right = (load_file(path / "tensors.safetensors") for path in (older, newer))
    assert any(not torch.equal(left[name], right[name]) for name in left)


def test_resuming_a_completed_run_gives_its_result(config: Config, tmp_path: Path) -> None:
    first = mtl.train(config, output=tmp_path / "run").data
    assert mtl.train(config, output=tmp_path / "run", resume=True).data == first


def test_resuming_with_more_epochs_extends_the_run(config: Config, tmp_path: Path) -> None:
    first = mtl.train(config, output=tmp_path / "run").data
    config["trainer"]["epochs"] = 3
    assert mtl.train(config, output=tmp_path / "run", resume=True).data["steps"] == first["steps"] * 3 // 2


def test_resuming_with_another_config_is_refused_with_the_difference(config: Config, tmp_path: Path) -> None:
    mtl.train(config, output=tmp_path / "run")
    config["seed"] = 5
    with pytest.raises(UsageError, match="seed: 0 before, 5 now"):
        mtl.train(config, output=tmp_path / "run", resume=True)


def test_a_damaged_checkpoint_is_reported_and_the_one_before_used(
    config: Config, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config["trainer"] |= {"checkpoint_every_steps": 4, "keep_checkpoints": 3}
    whole = mtl.train(config, output=tmp_path / "whole").data
    with pytest.raises(Killed):
        mtl.train(config, output=tmp_path / "run", watchers=[KillAfter(whole["steps"] - 1)])
    newest = max((tmp_path / "run/checkpoints").iterdir()) / "tensors.safetensors"
    damaged = bytearray(newest.read_bytes())
    damaged[-1] ^= 1
    newest.write_bytes(damaged)
    assert mtl.train(config, output=tmp_path / "run", resume=True).data["best"] == whole["best"]
    assert "is not what was written" in caplog.text


def test_resuming_a_folder_without_a_run_is_refused(config: Config, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not a run folder"):
        mtl.train(config, output=tmp_path / "nothing", resume=True)
