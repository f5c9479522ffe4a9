"""BiLSTM against torch's packed LSTM, and what a position may and may not see."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from mtl import Builder, Direction, Output
from mtl_text import BiLSTM, BiLSTMConfig

INPUT_DIM = 5
WIDTHS = st.sampled_from([(1, True), (1, False), (2, True), (2, False), (3, True)])
quick = settings(deadline=None, max_examples=40)


def encoder(dtype: torch.dtype = torch.float32, **options: object) -> BiLSTM:
    torch.manual_seed(0)
    config = BiLSTMConfig(**{"lstm_dim": 4, **options})
    return BiLSTM(config, Builder(), input_dim=INPUT_DIM).to(dtype).eval()


def tokens(lengths: list[int], time: int, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(sum(lengths) + time)
    embedded = torch.randn(len(lengths), time, INPUT_DIM, generator=generator, dtype=dtype)
    return embedded, torch.tensor(lengths)


def row_lengths(minimum: int = 1) -> st.SearchStrategy[list[int]]:
    return st.lists(st.integers(minimum, 7), min_size=1, max_size=5)


def packed_reference(model: BiLSTM, depth: int) -> nn.LSTM:
    """torch's own LSTM with the same weights."""
    backward = model.backward_layers
    lstm = nn.LSTM(INPUT_DIM, 4, depth, batch_first=True, bidirectional=backward is not None).double()
    with torch.no_grad():
        for name, parameter in lstm.named_parameters():
            layers = backward if name.endswith("_reverse") else model.forward_layers
            parameter.copy_(layer_parameter(layers, name))
    return lstm


def layer_parameter(layers: nn.ModuleList, name: str) -> nn.Parameter:
    """`weight_ih_l2_reverse` is `weight_ih_l0` of the third layer."""
    kind, depth = name.removesuffix("_reverse").rsplit("_l", 1)
    return getattr(layers[int(depth)], f"{kind}_l0")


@quick
@given(row_lengths(), st.integers(0, 3), WIDTHS)
def test_values_and_gradients_equal_torchs_packed_lstm(lengths, extra, width):
    depth, bidirectional = width
    model = encoder(torch.float64, num_layers=depth, bidirectional=bidirectional)
    reference = packed_reference(model, depth)
    embedded, rows = tokens(lengths, max(lengths) + extra, torch.float64)
    ours, theirs = embedded.clone().requires_grad_(), embedded.clone().requires_grad_()

    states = model(ours, rows)
    packed = pack_padded_sequence(theirs, rows, batch_first=True, enforce_sorted=False)
    expected, _ = pad_packed_sequence(reference(packed)[0], batch_first=True, total_length=embedded.shape[1])
    torch.testing.assert_close(states, expected)

    weights = torch.randn(states.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    (states * weights).sum().backward()
    (expected * weights).sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad)
    for name, parameter in reference.named_parameters():
        layers = model.backward_layers if name.endswith("_reverse") else model.forward_layers
        torch.testing.assert_close(layer_parameter(layers, name).grad, parameter.grad)


@quick
@given(row_lengths(0), st.integers(1, 3), WIDTHS, st.sampled_from([-1e4, 3.0, 1e30]))
def test_what_stands_in_the_padding_changes_no_bit(lengths, extra, width, garbage):
    depth, bidirectional = width
    model = encoder(num_layers=depth, bidirectional=bidirectional)
    embedded, rows = tokens(lengths, max(lengths) + extra)
    padded = torch.arange(embedded.shape[1]) >= rows[:, None]

    def run(inputs: Tensor) -> tuple[Tensor, list[Tensor]]:
        states = model(inputs, rows)
        return states, torch.autograd.grad(states.square().sum(), model.parameters())

    states, gradients = run(embedded)
    other_states, other_gradients = run(embedded.masked_fill(padded[:, :, None], garbage))
    assert torch.equal(states, other_states)
    assert all(torch.equal(one, other) for one, other in zip(gradients, other_gradients, strict=True))
    assert not states[padded].any()


@quick
@given(row_lengths(), WIDTHS)
def test_a_row_alone_gets_what_it_gets_beside_longer_rows(lengths, width):
    depth, bidirectional = width
    model = encoder(num_layers=depth, bidirectional=bidirectional)
    embedded, rows = tokens(lengths, max(lengths))
    states = model(embedded, rows)
    for row, length in enumerate(lengths):
        alone = model(embedded[row : row + 1, :length], rows[row : row + 1])
        torch.testing.assert_close(states[row, :length], alone[0])


def positions_changed_by(model: BiLSTM, position: int, lengths: list[int]) -> Tensor:
    """Which numbers of the first row, `[time, dim]`, differ in any bit once a token is another."""
    embedded, rows = tokens(lengths, max(lengths))
    other = embedded.clone()
    other[0, position] += 1
    return model(embedded, rows)[0] != model(other, rows)[0]


@pytest.mark.parametrize("position", range(6))
@pytest.mark.parametrize("lengths", [[6], [6, 9, 1]])
def test_s2_each_half_of_a_split_vector_sees_only_its_side(position, lengths):
    model = encoder()
    forward, backward = positions_changed_by(model, position, lengths)[:6].chunk(2, dim=-1)
    assert not forward[:position].any()
    assert forward[position:].all()
    assert backward[: position + 1].all()
    assert not backward[position + 1 :].any()


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("position", range(6))
def test_s2_a_causal_encoder_sees_no_later_token(position, depth):
    changed = positions_changed_by(encoder(bidirectional=False, num_layers=depth), position, [6, 9])[:6]
    assert not changed[:position].any()
    assert changed[position:].all()


def test_s2_stacked_directions_are_not_declared_split_because_they_mix():
    forward, _ = positions_changed_by(encoder(num_layers=2), 5, [6])[:6].chunk(2, dim=-1)
    assert forward[:5].any()


@pytest.mark.parametrize(
    ("options", "direction", "width"),
    [
        ({}, Direction.SPLIT, 64),
        ({"num_layers": 2}, Direction.BIDIRECTIONAL, 64),
        ({"bidirectional": False}, Direction.CAUSAL, 32),
        ({"bidirectional": False, "num_layers": 3, "lstm_dim": 7}, Direction.CAUSAL, 7),
    ],
)
def test_declarations(options, direction, width):
    config = BiLSTMConfig(**options)
    assert config.output is Output.SEQUENCE
    assert config.direction is direction
    assert config.output_dim(INPUT_DIM) == width
    states = BiLSTM(config, Builder(), input_dim=INPUT_DIM)(*tokens([3, 2], 3))
    assert states.shape == (2, 3, width)


@pytest.mark.parametrize("options", [{}, {"num_layers": 2}, {"bidirectional": False}])
def test_every_parameter_gets_a_finite_gradient(options):
    model = encoder(**options).train()
    model(*tokens([4, 1, 0], 5)).square().sum().backward()
    for parameter in model.parameters():
        assert parameter.grad.isfinite().all()
        assert parameter.grad.any()


def test_dropout_falls_on_each_layers_input_and_both_directions_read_the_same():
    model = encoder(num_layers=2, dropout=0.5, lstm_dim=50).train()
    seen: list[Tensor] = []
    for layer in [*model.forward_layers, *model.backward_layers]:
        layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    model(torch.randn(40, 10, INPUT_DIM), torch.full((40,), 10))
    assert len(seen) == 4
    for inputs in seen:
        assert (inputs == 0).double().mean().item() == pytest.approx(0.5, abs=0.05)
    for forward, backward in (seen[:2], seen[2:]):
        assert torch.equal(forward, backward.flip(1))


def test_evaluation_drops_nothing():
    inputs = tokens([4, 2], 4)
    assert torch.equal(encoder(dropout=0.9)(*inputs), encoder(dropout=0.0).train()(*inputs))


def test_bfloat16_autocast_trains():
    model = encoder(num_layers=2).train()
    embedded, rows = tokens([4, 1, 0], 4)
    with torch.autocast("cpu", torch.bfloat16):
        states = model(embedded.requires_grad_(), rows)
    states.float().square().sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())
    assert not states[1, 1:].any()
    exact = model.eval()(embedded, rows)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(model(embedded, rows).float(), exact, atol=0.02, rtol=0.05)


def test_the_forward_pass_waits_for_no_value_on_the_device():
    """A tensor on the meta device has no values: reading one is an error."""
    model = encoder(num_layers=2).to("meta")
    states = model(
        torch.empty(3, 6, INPUT_DIM, device="meta"), torch.empty(3, dtype=torch.int64, device="meta")
    )
    assert states.shape == (3, 6, 8)
