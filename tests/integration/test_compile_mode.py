"""How the models are compiled is passed on, and changes no loss beyond rounding."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from torch import nn

import mtl
from mtl.errors import ConfigError

Config = dict[str, Any]
MODES = (None, "default", "reduce-overhead", "max-autotune")
needs_a_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


@pytest.fixture
def stream(config: Config) -> Config:
    """A language model over windows of one length, so that shapes of batches repeat."""
    task = config["tasks"].pop("LM")
    task["LMTask"] |= {"rows": "stream", "max_tokens": 8, "features": {}, "representation": {"dropout": 0.0}}
    config["tasks"] = {"LM": task}
    config.pop("target_task", None)
    return config


def trainer(**settings: Any) -> Config:
    return {"max_steps": 6, "report_every_steps": 1, **settings}


@pytest.mark.parametrize("mode", MODES)
def test_the_mode_is_torchs(stream: Config, tmp_path: Path, mode: str | None) -> None:
    stream["trainer"] = trainer(compile=True, compile_mode=mode)
    with mock.patch.object(nn.Module, "compile") as compiled:
        mtl.train(stream, output=tmp_path / "run")
    compiled.assert_called_once_with(dynamic=True, mode=mode)


def test_a_mode_without_compiling_is_refused(stream: Config, tmp_path: Path) -> None:
    stream["trainer"] = trainer(compile_mode="reduce-overhead")
    with pytest.raises(ConfigError, match="`compile_mode` 'reduce-overhead' needs `compile` true"):
        mtl.train(stream, output=tmp_path / "run")


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("c++") is None, reason="torch.compile needs a C++ compiler")
@pytest.mark.filterwarnings("ignore")  # what torch's compiler warns of is its own business
@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=needs_a_gpu)])
def test_each_mode_gives_the_same_losses(stream: Config, tmp_path: Path, device: str) -> None:
    losses = {}
    # Trying kernels takes minutes on a CPU.
    for mode in (None, "reduce-overhead") if device == "cpu" else (None, "reduce-overhead", "max-autotune"):
        stream |= {"device": device, "trainer": trainer(compile=mode is not None, compile_mode=mode)}
        mtl.train(stream, output=tmp_path / str(mode))
        lines = map(json.loads, (tmp_path / str(mode) / "metrics.jsonl").read_text().splitlines())
        losses[mode] = [line["loss"] for line in lines if line["kind"] in ("train", "eval")]
    assert len(losses[None]) > 6
    for found in losses.values():
        assert found == pytest.approx(losses[None], rel=1e-4)
