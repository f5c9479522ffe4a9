"""The encoders pass the kit with other settings than their defaults, which the kit's own tests try."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtl import Direction
from mtl.plugins import discover
from mtl.testing import check_pooling, check_representation
from mtl.testing.bench import read_component
from mtl.testing.modules import SequenceBench, keeps_its_direction, zeros_the_padding

PLUGINS = discover(blocked=[])

ONE_WAY = {"BiLSTM": {"lstm_dim": 3, "bidirectional": False}}
BOTH_WAYS = {"BiLSTM": {"lstm_dim": 3}}
VARIANTS: list[tuple[str, dict[str, Any]]] = [
    ("BiLSTM", {"bidirectional": False, "num_layers": 2}),
    ("BiLSTM", {"lstm_dim": 1, "dropout": 0.0}),
    ("BiLSTMDocAttention", {"lstm": {"Stack": {"layers": [ONE_WAY, ONE_WAY]}}, "mlp_dims": [4]}),
    ("PooledRepresentation", {"encoder": ONE_WAY, "pooling": "MaxPool"}),
    ("PooledRepresentation", {"encoder": "Stack", "pooling": {"LastStep": {"both_ends": True}}}),
    ("DocNN", {"kernel_sizes": [1, 9], "kernel_num": 2}),
    ("Stack", {"layers": [ONE_WAY, ONE_WAY]}),
    ("Stack", {"layers": [BOTH_WAYS]}),
    ("Stack", {"layers": [ONE_WAY, {"Stack": {"layers": [BOTH_WAYS]}}]}),
]


@pytest.mark.parametrize(("name", "config"), VARIANTS, ids=str)
def test_variants_pass(name: str, config: dict[str, Any]) -> None:
    checks = check_representation(name, config=config, plugins=PLUGINS)
    assert {check.outcome for check in checks} == {"passed"}


def test_the_pooling_of_both_ends_passes() -> None:
    assert check_pooling("LastStep", config={"both_ends": True}, plugins=PLUGINS)


def direction(layers: list[Any]) -> Direction:
    stack = read_component(PLUGINS, "representation", "Stack", {"layers": layers}, Path())
    declared: Direction = stack.config.direction
    return declared


def test_a_stack_declares_what_its_layers_leave_apart() -> None:
    assert direction([ONE_WAY, ONE_WAY, ONE_WAY]) is Direction.CAUSAL
    assert direction([BOTH_WAYS]) is Direction.SPLIT
    assert direction([{"Stack": {"layers": [BOTH_WAYS]}}]) is Direction.SPLIT
    for layers in ([BOTH_WAYS, BOTH_WAYS], [BOTH_WAYS, ONE_WAY], [ONE_WAY, BOTH_WAYS]):
        assert direction(layers) is Direction.BIDIRECTIONAL
        assert direction([ONE_WAY, {"Stack": {"layers": layers}}]) is Direction.BIDIRECTIONAL


encoders = st.recursive(
    st.sampled_from([ONE_WAY, BOTH_WAYS, {"BiLSTM": {"lstm_dim": 2, "num_layers": 2}}]),
    lambda inner: st.lists(inner, min_size=1, max_size=3).map(lambda layers: {"Stack": {"layers": layers}}),
    max_leaves=4,
)


@settings(max_examples=25)
@given(layers=st.lists(encoders, min_size=1, max_size=3))
def test_s2_no_stack_sees_more_than_it_declares(layers: list[Any]) -> None:
    provided = PLUGINS.find("representation", "Stack")
    bench = SequenceBench(PLUGINS, provided, {"layers": layers}, Path())
    assert keeps_its_direction.check(bench, "Stack").outcome == "passed"
    assert zeros_the_padding.check(bench, "Stack").outcome == "passed"
