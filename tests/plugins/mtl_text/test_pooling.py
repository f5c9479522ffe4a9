"""Poolings against the same figure computed row by row, and padding of any value."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from mtl import Builder, Component, PoolingConfig
from mtl_text import (
    BiLSTM,
    BiLSTMConfig,
    ConcatPool,
    ConcatPoolConfig,
    LastStep,
    LastStepConfig,
    MaxPool,
    MaxPoolConfig,
    MeanPool,
    MeanPoolConfig,
    SelfAttention,
    SelfAttentionConfig,
    plugin,
)

DIM = 6


def component(name: str, config: PoolingConfig) -> Component:
    spec = next(spec for spec in plugin.mtl_poolings() if spec.name == name)
    return Component("pooling", name, spec, config)


ALL = ConcatPoolConfig(
    poolings=[
        component("SelfAttention", SelfAttentionConfig()),
        component("MeanPool", MeanPoolConfig()),
        component("MaxPool", MaxPoolConfig()),
    ]
)
POOLINGS = {
    "ConcatPool": (ConcatPool, ALL),
    "SelfAttention": (SelfAttention, SelfAttentionConfig()),
    "MaxPool": (MaxPool, MaxPoolConfig()),
    "MeanPool": (MeanPool, MeanPoolConfig()),
    "LastStep": (LastStep, LastStepConfig()),
    "LastStep of both ends": (LastStep, LastStepConfig(both_ends=True)),
}
each_pooling = pytest.mark.parametrize("name", POOLINGS)
quick = settings(deadline=None, max_examples=40)
row_lengths = st.lists(st.integers(0, 6), min_size=1, max_size=5)


def pooling(name: str) -> nn.Module:
    torch.manual_seed(0)
    kind, config = POOLINGS[name]
    module = kind(config, Builder(), input_dim=DIM)
    for parameter in module.parameters():
        nn.init.normal_(parameter)
    return module.eval()


def sequence_of(lengths: list[int], extra: int) -> tuple[Tensor, Tensor, Tensor]:
    """Vectors `[batch, time, dim]`, lengths `[batch]` and where padding is `[batch, time, 1]`."""
    time = max(*lengths, 1) + extra
    generator = torch.Generator().manual_seed(sum(lengths) + time)
    rows = torch.tensor(lengths)
    padded = (torch.arange(time) >= rows[:, None])[:, :, None]
    return torch.randn(len(lengths), time, DIM, generator=generator), rows, padded


def by_hand(module: nn.Module, vectors: Tensor) -> Tensor:
    """The pooled vector of one row, `[length, dim]` to `[dim]`, from its definition."""
    if isinstance(module, ConcatPool):
        return torch.cat([by_hand(part, vectors) for part in module.poolings])
    if not len(vectors):
        return torch.zeros(DIM)
    if isinstance(module, SelfAttention):
        scores = [module.score.weight @ torch.tanh(module.hidden.weight @ vector) for vector in vectors]
        exponentials = torch.stack(scores).exp()
        return (exponentials / exponentials.sum() * vectors).sum(0)
    if isinstance(module, MaxPool):
        return vectors.max(0).values
    if isinstance(module, MeanPool):
        return vectors.mean(0)
    return torch.cat([vectors[-1, : DIM // 2], vectors[0 if module.both_ends else -1, DIM // 2 :]])


@each_pooling
@quick
@given(lengths=row_lengths, extra=st.integers(0, 3))
def test_each_row_is_pooled_by_definition(name, lengths, extra):
    module = pooling(name)
    sequence, rows, _ = sequence_of(lengths, extra)
    expected = torch.stack(
        [by_hand(module, row[:length]) for row, length in zip(sequence, lengths, strict=True)]
    )
    torch.testing.assert_close(module(sequence, rows), expected)


@each_pooling
@quick
@given(
    lengths=row_lengths,
    extra=st.integers(0, 3),
    garbage=st.sampled_from([7.0, math.inf, -math.inf, math.nan]),
)
def test_s4_gradients_are_finite_and_padding_changes_no_bit(name, lengths, extra, garbage):
    module = pooling(name)
    sequence, rows, padded = sequence_of(lengths, extra)

    def run(inputs: Tensor) -> list[Tensor]:
        inputs = inputs.requires_grad_()
        pooled = module(inputs, rows)
        leaves = [inputs, *module.parameters()]
        return [pooled, *torch.autograd.grad(pooled.square().sum(), leaves)]

    clean = run(sequence.masked_fill(padded, 0))
    dirty = run(sequence.masked_fill(padded, garbage))
    for one, other in zip(clean, dirty, strict=True):
        assert one.isfinite().all()
        assert torch.equal(one, other)
    assert not clean[1].masked_select(padded).any()


@each_pooling
def test_s4_the_sequence_that_others_read_is_not_written_to(name):
    sequence, rows, _ = sequence_of([3, 0, 5], 2)
    before = sequence.clone()
    pooled = pooling(name)(sequence, rows)
    assert torch.equal(sequence, before)
    assert pooled.shape == (3, POOLINGS[name][1].output_dim(DIM))


@each_pooling
def test_bfloat16_autocast(name):
    module = pooling(name)
    sequence, rows, _ = sequence_of([3, 0, 5], 2)
    with torch.autocast("cpu", torch.bfloat16):
        pooled = module(sequence.bfloat16(), rows)
    torch.testing.assert_close(pooled.float(), module(sequence, rows), atol=0.05, rtol=0.05)


@each_pooling
def test_no_value_on_the_device_is_waited_for(name):
    """A tensor on the meta device has no values: reading one is an error."""
    lengths = torch.empty(3, dtype=torch.int64, device="meta")
    assert pooling(name).to("meta")(torch.empty(3, 5, DIM, device="meta"), lengths).shape == (
        3,
        POOLINGS[name][1].output_dim(DIM),
    )


def test_attention_starts_near_the_mean():
    module = SelfAttention(SelfAttentionConfig(), Builder(), input_dim=DIM)
    sequence, rows, _ = sequence_of([4, 2], 1)
    mean = MeanPool(MeanPoolConfig(), Builder(), input_dim=DIM)(sequence, rows)
    torch.testing.assert_close(module(sequence, rows), mean, atol=0.1, rtol=0)
    assert module.hidden.weight.shape == (64, DIM)


def test_attention_drops_only_what_it_scores():
    config = SelfAttentionConfig(dropout=0.5)
    module = SelfAttention(config, Builder(), input_dim=DIM)
    nn.init.normal_(module.score.weight)
    sequence, rows, _ = sequence_of([5, 4], 0)
    constant = torch.ones_like(sequence)
    torch.testing.assert_close(module.train()(constant, rows), torch.ones(2, DIM))
    assert not torch.equal(module(sequence, rows), module(sequence, rows))
    assert torch.equal(module.eval()(sequence, rows), module(sequence, rows))


def test_both_ends_are_the_final_states_of_torchs_lstm():
    encoder = BiLSTM(BiLSTMConfig(lstm_dim=4), Builder(), input_dim=DIM).eval()
    last = LastStep(LastStepConfig(both_ends=True), Builder(), input_dim=8)
    embedded = torch.randn(3, 5, DIM)
    (_, (forward, _)), (_, (backward, _)) = (
        encoder.forward_layers[0](embedded),
        encoder.backward_layers[0](embedded.flip(1)),
    )
    rows = torch.full((3,), 5)
    torch.testing.assert_close(
        last(encoder(embedded, rows), rows), torch.cat([forward[0], backward[0]], dim=-1)
    )


def test_concatenated_poolings_are_the_poolings_side_by_side() -> None:
    pools = [component("MaxPool", MaxPoolConfig()), component("MeanPool", MeanPoolConfig())]
    config = ConcatPoolConfig(poolings=pools)
    sequence, lengths = torch.randn(3, 5, 4), torch.tensor([5, 2, 0])
    joined = ConcatPool(config, Builder(), input_dim=4)(sequence, lengths)
    assert joined.shape == (3, config.output_dim(4)) == (3, 8)
    maximum = MaxPool(MaxPoolConfig(), Builder(), input_dim=4)(sequence, lengths)
    mean = MeanPool(MeanPoolConfig(), Builder(), input_dim=4)(sequence, lengths)
    assert torch.equal(joined, torch.cat([maximum, mean], dim=-1))
