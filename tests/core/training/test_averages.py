"""Averaged weights against the formula, and in a run."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from mtl.training.averages import WeightAverages


@given(decay=st.floats(0.01, 0.999), steps=st.integers(1, 30), seed=st.integers(0, 5))
def test_the_average_follows_its_formula(decay: float, steps: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    model = nn.Linear(3, 2).double()
    averages = WeightAverages.of(model, decay)
    expected = model.weight.detach().clone()
    for step in range(1, steps + 1):
        with torch.no_grad():
            model.weight.copy_(torch.randn(2, 3, generator=generator, dtype=torch.float64))
        averages.update(step)
        kept = min(decay, (1 + step) / (10 + step))
        expected = kept * expected + (1 - kept) * model.weight.detach()
    torch.testing.assert_close(averages.averages["weight"], expected)


def test_in_place_and_back_leaves_both_as_they_were() -> None:
    model = nn.Linear(3, 2)
    averages = WeightAverages.of(model, 0.9)
    with torch.no_grad():
        model.weight.add_(1.0)
    trained, averaged = model.weight.detach().clone(), averages.averages["weight"].clone()
    storage = model.weight.data_ptr()
    with averages.in_place():
        assert torch.equal(model.weight, averaged) and model.weight.data_ptr() == storage
    assert torch.equal(model.weight, trained) and torch.equal(averages.averages["weight"], averaged)


def test_frozen_parameters_are_not_averaged() -> None:
    model = nn.Linear(3, 2)
    model.bias.requires_grad_(False)
    assert list(WeightAverages.of(model, 0.9).averages) == ["weight"]
