"""A rate that follows the evaluations goes on from its state, and that is JSON by the letter."""

from __future__ import annotations

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim.lr_scheduler import ReduceLROnPlateau

from mtl.builtin.config import ReduceOnPlateauConfig
from mtl.builtin.lr_schedulers import ReduceOnPlateau


def scheduler(higher_is_better: bool) -> ReduceLROnPlateau:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    config = ReduceOnPlateauConfig(patience=1, factor=0.5)
    return ReduceOnPlateau(config, optimizer, total_steps=9, higher_is_better=higher_is_better)


@pytest.mark.parametrize("higher_is_better", [True, False])
@given(figures=st.lists(st.floats(-3, 3), max_size=8), place=st.integers(0, 8))
def test_it_continues_from_its_state(higher_is_better: bool, figures: list[float], place: int) -> None:
    whole, first = scheduler(higher_is_better), scheduler(higher_is_better)
    for figure in figures:
        whole.step(figure)
    for figure in figures[:place]:
        first.step(figure)
    second = scheduler(higher_is_better)
    second.load_state_dict(json.loads(json.dumps(first.state_dict(), allow_nan=False)))
    second.optimizer.param_groups[0]["lr"] = first.optimizer.param_groups[0]["lr"]
    for figure in figures[place:]:
        second.step(figure)
    assert second.state_dict() == whole.state_dict()
    assert second.best == whole.best
    assert second.optimizer.param_groups[0]["lr"] == whole.optimizer.param_groups[0]["lr"]
