"""Perplexity of rows that were divided is that of all rows."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mtl import Batch
from pytext_plugins_lm.metrics import LMMetrics
from pytext_plugins_lm.model import LMOutput, ScoredReading

NAMES = ["forward", "backward"]
BATCH = Batch({}, {}, torch.arange(0), 0)
losses = st.lists(st.floats(0, 50), max_size=8).map(lambda values: torch.tensor(values, dtype=torch.float64))
outputs = st.lists(st.fixed_dictionaries({name: losses for name in NAMES}), max_size=6)


def gathered(batches: list[dict[str, torch.Tensor]]) -> LMMetrics:
    metrics = LMMetrics(NAMES)
    for batch in batches:
        readings = {name: ScoredReading(values, values) for name, values in batch.items()}
        metrics.update(LMOutput(loss=None, readings=readings, next_words=None), BATCH)
    return metrics


@given(outputs, st.integers(0, 6))
def test_two_halves_merge_to_the_whole(batches: list[dict[str, torch.Tensor]], cut: int) -> None:
    whole, merged = gathered(batches).compute(), gathered(batches[:cut])
    merged.merge(gathered(batches[cut:]).state())
    for name, value in merged.compute().items():
        assert value == pytest.approx(whole[name])
