"""Balancers in real runs: two tasks over one LSTM, in joint steps."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import mtl
from mtl import Balancer, ComponentSpec, configclass, hookimpl
from mtl.errors import UsageError
from mtl.plugins import Plugins, discover
from mtl_balance import plugin as mtl_balance

Config = dict[str, Any]
Differences = Callable[[Path, Path], list[str]]

NAMES = [spec.name for spec in mtl_balance.mtl_balancers()]


@configclass
class PlainSumConfig:
    """The plain sum, through `combine`."""


class PlainSum(Balancer[PlainSumConfig]):
    combines = True

    def factor(self, task: str, loss: Any) -> float:
        return self.tasks[task]


class PlainSumPlugin:
    mtl_api = ">=1,<2"

    @hookimpl
    def mtl_balancers(self) -> list[ComponentSpec]:
        here = f"{__name__}:PlainSum"
        return [ComponentSpec(name="PlainSum", config=f"{here}Config", factory=here, summary="The plain sum")]


@pytest.fixture
def with_plain_sum() -> Plugins:
    found = discover()
    assert found.register(PlainSumPlugin(), "test", "1.0").state == "ok"
    return found


def balanced(tiny: Config, balancer: str, **trainer: Any) -> Config:
    trainer = {**tiny["trainer"], **trainer}
    return {**tiny, "schedule": "Joint", "balancer": balancer, "trainer": trainer}


def weights_of(folder: Path) -> bytes:
    (file,) = (folder / "model").glob("*.safetensors")
    return file.read_bytes()


@pytest.mark.parametrize("name", NAMES)
def test_every_balancer_trains(name: str, tiny: Config, plugins: Plugins, tmp_path: Path) -> None:
    result = mtl.train(balanced(tiny, name), output=tmp_path, plugins=plugins).data
    assert result["status"] == "completed"
    losses = [result["tasks"][task]["eval"]["loss"] for task in tiny["tasks"]]
    assert all(math.isfinite(loss) for loss in losses)


@pytest.mark.parametrize("name", ["UPGrad", "GradNorm"])
def test_in_half_precision_and_of_several_batches(
    name: str, tiny: Config, plugins: Plugins, tmp_path: Path
) -> None:
    config = balanced(tiny, name, precision="bf16", accumulate_batches=2)
    result = mtl.train(config, output=tmp_path, plugins=plugins).data
    assert math.isfinite(result["tasks"]["LM"]["eval"]["loss"])


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_plain_sum_is_static_weights(
    precision: str, tiny: Config, with_plain_sum: Plugins, tmp_path: Path
) -> None:
    """Bit for bit: what is combined are the gradients themselves."""
    tiny["task_weights"] = {"SST2": 1, "LM": 0.5}
    for name in ("PlainSum", "StaticWeights"):
        config = balanced(tiny, name, precision=precision, accumulate_batches=2)
        mtl.train(config, output=tmp_path / name, plugins=with_plain_sum)
    assert weights_of(tmp_path / "PlainSum") == weights_of(tmp_path / "StaticWeights")


class StopAfter:
    def __init__(self, step: int) -> None:
        self.step = step

    @hookimpl
    def mtl_step_ended(self, step: int) -> None:
        if step == self.step:
            raise KeyboardInterrupt


@pytest.mark.parametrize(
    "name", ["Uncertainty", "DynamicWeightAverage", "RandomLossWeighting", "GradNorm", "GradVac", "GradDrop"]
)
def test_a_resumed_run_is_the_one_that_was_not_stopped(
    name: str, tiny: Config, plugins: Plugins, tmp_path: Path, differences: Differences
) -> None:
    config = balanced(tiny, name, checkpoint_every_steps=3)
    if name == "DynamicWeightAverage":
        config["balancer"] = {name: {"period": 2}}
    mtl.train(config, output=tmp_path / "whole", plugins=plugins)
    with pytest.raises(KeyboardInterrupt):
        mtl.train(config, output=tmp_path / "resumed", plugins=plugins, callbacks=[StopAfter(5)])
    mtl.train(config, output=tmp_path / "resumed", plugins=plugins, resume=True)
    assert differences(tmp_path / "whole", tmp_path / "resumed") == []


@pytest.mark.parametrize("name", ["Uncertainty", "DynamicWeightAverage", "RandomLossWeighting"])
def test_loss_weights_need_no_joint_steps(name: str, tiny: Config, plugins: Plugins, tmp_path: Path) -> None:
    config = {**balanced(tiny, name), "schedule": "RoundRobin"}
    assert mtl.train(config, output=tmp_path, plugins=plugins).data["status"] == "completed"


def test_what_combines_needs_them(tiny: Config, plugins: Plugins, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"`balancer` UPGrad combines .* set `schedule` to Joint"):
        mtl.train({**balanced(tiny, "UPGrad"), "schedule": "RoundRobin"}, output=tmp_path, plugins=plugins)
