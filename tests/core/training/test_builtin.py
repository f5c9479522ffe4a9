"""The core's own optimizers and learning-rate schedulers against torch's, by hand."""

from __future__ import annotations

import math
import subprocess
import sys
import warnings
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from mtl.builtin import config as configs
from mtl.builtin import lr_schedulers, optimizers


def steps(
    optimizer: torch.optim.Optimizer, parameter: nn.Parameter, gradients: list[torch.Tensor]
) -> torch.Tensor:
    for gradient in gradients:
        parameter.grad = gradient.clone()
        optimizer.step()
    return parameter.detach()


@pytest.mark.parametrize(
    ("name", "settings", "reference", "arguments"),
    [
        ("Adam", {}, torch.optim.Adam, {"lr": 1e-3, "weight_decay": 1e-5}),
        ("Adam", {"lr": 0.1, "betas": [0.5, 0.9], "eps": 1e-4}, torch.optim.Adam,
         {"lr": 0.1, "betas": (0.5, 0.9), "eps": 1e-4, "weight_decay": 1e-5}),
        ("AdamW", {}, torch.optim.AdamW, {"lr": 1e-3, "weight_decay": 1e-2}),
        ("SGD", {"momentum": 0.9, "nesterov": True}, torch.optim.SGD,
         {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    ],
)  # fmt: skip
def test_an_optimizer_is_torchs_own(name: str, settings: Any, reference: Any, arguments: Any) -> None:
    generator = torch.Generator().manual_seed(0)
    gradients = [torch.randn(5, 3, generator=generator) for _ in range(4)]
    ours, theirs = (nn.Parameter(torch.ones(5, 3)) for _ in range(2))
    optimizer = getattr(optimizers, name)(getattr(configs, f"{name}Config")(**settings), [ours])
    expected = steps(reference([theirs], **arguments), theirs, gradients)
    torch.testing.assert_close(steps(optimizer, ours, gradients), expected, rtol=1e-6, atol=1e-7)


NO_COMPILER = """
import sys
import torch
from mtl.builtin import config, optimizers
for name in ("Adam", "AdamW", "SGD"):
    parameter = torch.nn.Parameter(torch.ones(3))
    optimizer = getattr(optimizers, name)(getattr(config, f"{name}Config")(), [parameter])
    optimizer.zero_grad()
    parameter.square().sum().backward()
    optimizer.step()
    assert isinstance(optimizer, getattr(torch.optim, name)) and parameter.requires_grad
    assert (parameter < 1).all(), name
    optimizer.load_state_dict(optimizer.state_dict())
assert "torch._dynamo" not in sys.modules
"""


def test_no_optimizer_imports_torchs_compiler() -> None:
    done = subprocess.run([sys.executable, "-c", NO_COMPILER], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_hooks_of_a_step_run() -> None:
    parameter = nn.Parameter(torch.ones(2))
    optimizer = optimizers.Adam(configs.AdamConfig(), [parameter])
    seen: list[str] = []
    optimizer.register_step_pre_hook(lambda *_: seen.append("before"))
    optimizer.register_step_post_hook(lambda *_: seen.append("after"))
    steps(optimizer, parameter, [torch.ones(2)])
    assert seen == ["before", "after"]


def rates(name: str, total: int, **settings: Any) -> list[float]:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=2.0)
    scheduler = getattr(lr_schedulers, name)(
        getattr(configs, f"{name}Config")(**settings), optimizer, total_steps=total, higher_is_better=True
    )
    found = []
    for _ in range(total):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


@given(st.sampled_from(["Constant", "Linear", "Cosine"]), st.integers(1, 40), st.floats(0, 1))
def test_a_warm_up_share_is_a_number_of_steps(name: str, total: int, share: float) -> None:
    steps = round(share * total)
    assert rates(name, total, warmup_share=share) == rates(name, total, warmup_steps=steps)


def test_warm_up_is_given_once() -> None:
    with pytest.raises(ValueError, match="`warmup_share` and `warmup_steps` exclude each other"):
        configs.LinearConfig(warmup_steps=3, warmup_share=0.1)
    assert configs.ConstantConfig(warmup_share=0.1).uses_total_steps
    assert not configs.ConstantConfig(warmup_steps=3).uses_total_steps


def test_the_warm_up_rises_in_a_straight_line_to_the_full_rate() -> None:
    assert rates("Constant", 6, warmup_steps=3) == pytest.approx([0.5, 1.0, 1.5, 2.0, 2.0, 2.0])


def test_linear_falls_to_its_final_share_at_the_last_step() -> None:
    assert rates("Linear", 5, final_share=0.2) == pytest.approx([2.0, 1.6, 1.2, 0.8, 0.4])


def test_a_step_of_a_schedule_leaves_what_torchs_own_leaves() -> None:
    left: list[tuple[float, dict[str, Any]]] = []
    for step in (lr_schedulers._LambdaLR.step, LambdaLR.step):
        optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=2.0)
        config = configs.ConstantConfig(warmup_steps=8)
        scheduler = lr_schedulers.Constant(config, optimizer, total_steps=9, higher_is_better=True)
        for _ in range(5):
            optimizer.step()
            step(scheduler)
        state = scheduler.state_dict()
        state.pop("_get_lr_called_within_step", None)  # of torch's checks
        left.append((optimizer.param_groups[0]["lr"], state))
    assert left[0] == left[1]


def test_a_first_step_that_a_loss_scaler_leaves_out_is_no_mistake() -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=2.0)
    scheduler = lr_schedulers.Constant(
        configs.ConstantConfig(), optimizer, total_steps=9, higher_is_better=True
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scheduler.step()


def test_cosine_falls_along_half_a_cosine() -> None:
    expected = [1 + math.cos(math.pi * step / 4) for step in range(5)]
    assert rates("Cosine", 5) == pytest.approx(expected)


@pytest.mark.parametrize("name", ["Constant", "Linear", "Cosine"])
@pytest.mark.parametrize("total", [1, 2, 7])
def test_no_rate_is_negative_or_above_the_full_one(name: str, total: int) -> None:
    assert all(0 <= rate <= 2 for rate in rates(name, total, warmup_steps=4))


@pytest.mark.parametrize(("higher", "better"), [(True, 1.0), (False, -1.0)])
def test_l3_the_direction_of_a_plateau_comes_from_the_metric(higher: bool, better: float) -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    config = configs.ReduceOnPlateauConfig(patience=0, factor=0.5)
    scheduler = lr_schedulers.ReduceOnPlateau(config, optimizer, total_steps=9, higher_is_better=higher)
    for figure in (10.0, 10.0 + better, 10.0 + 2 * better):
        scheduler.step(figure)
    assert optimizer.param_groups[0]["lr"] == 1.0
    scheduler.step(10.0)
    assert optimizer.param_groups[0]["lr"] == 0.5
