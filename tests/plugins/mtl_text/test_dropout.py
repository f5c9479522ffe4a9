"""Dropout by sixteen random bits an element: torch's, and cheaper."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from mtl_text.dropout import Dropout


def masked(p: float, shape: tuple[int, ...], seed: int) -> torch.Tensor:
    torch.manual_seed(seed)
    return Dropout(p)(torch.ones(shape))


@settings(max_examples=40)
@given(st.floats(0.0, 1.0), st.integers(0, 2**31))
def test_it_drops_as_often_as_it_says_and_keeps_the_expectation(p: float, seed: int) -> None:
    values = masked(p, (40_001,), seed)
    rate = round(p * 65_536) / 65_536
    scales = {0.0} if rate == 1.0 else {0.0, torch.tensor(1 / (1 - rate)).item()}
    assert set(values.unique().tolist()) <= {*scales, 1.0} if p else torch.equal(values, torch.ones(40_001))
    # Five standard deviations of a binomial share.
    assert abs((values == 0).double().mean().item() - rate) < 5 * math.sqrt(rate * (1 - rate) / 40_001) + 1e-9
    assert not rate < 1 or values.mean().item() == pytest.approx(1, abs=0.05 / (1 - rate))


@given(
    st.lists(st.integers(0, 7), max_size=3), st.sampled_from([torch.float32, torch.bfloat16, torch.float64])
)
def test_it_takes_any_shape_and_type(shape: list[int], dtype: torch.dtype) -> None:
    values = torch.ones(shape, dtype=dtype)
    dropped = Dropout(0.5)(values)
    assert dropped.shape == values.shape and dropped.dtype == dtype


def test_elements_are_dropped_independently_of_their_neighbors() -> None:
    kept = (masked(0.5, (4, 100_000), 0).flatten() != 0).double()
    for distance in (1, 2, 3, 4, 5, 100_000):
        correlation = torch.corrcoef(torch.stack([kept[:-distance], kept[distance:]]))[0, 1].item()
        assert abs(correlation) < 0.01, distance


def test_the_gradient_has_the_mask_of_the_output() -> None:
    torch.manual_seed(0)
    values = torch.ones(1000, requires_grad=True)
    dropped = Dropout(0.3)(values)
    dropped.sum().backward()
    assert torch.equal(values.grad if values.grad is not None else values, dropped.detach())


def test_it_follows_the_seed_and_rests_in_evaluation() -> None:
    assert torch.equal(masked(0.4, (9, 9), 1), masked(0.4, (9, 9), 1))
    assert not torch.equal(masked(0.4, (9, 9), 1), masked(0.4, (9, 9), 2))
    values = torch.randn(5)
    assert Dropout(0.9).eval()(values) is values
    assert isinstance(Dropout(0.1), nn.Dropout)
