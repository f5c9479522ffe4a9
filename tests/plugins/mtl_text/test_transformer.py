"""Transformer: alone or in a batch, before and after, and against torch's own encoder."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mtl import Direction
from mtl.builder import Builder
from mtl_text.model_config import TransformerConfig
from mtl_text.transformer import Transformer, sinusoids

INPUT_DIM = 5


def encoder(**settings: Any) -> Transformer:
    torch.manual_seed(0)
    sizes = {"model_dim": 8, "num_heads": 2, "feedforward_dim": 16, "dropout": 0.0} | settings
    return Transformer(TransformerConfig(**sizes), Builder(), input_dim=INPUT_DIM).double()


def tokens(lengths: list[int], time: int, seed: int = 1) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    embedded = torch.randn(len(lengths), time, INPUT_DIM, generator=generator, dtype=torch.float64)
    return embedded, torch.tensor(lengths)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("training", [False, True])
def test_a_row_is_the_same_alone_and_in_a_batch(causal: bool, training: bool) -> None:
    model = encoder(causal=causal).train(training)
    embedded, lengths = tokens([6, 3, 1], 9)
    together = model(embedded, lengths)
    for row, length in enumerate(lengths.tolist()):
        alone = model(embedded[row : row + 1, :length], lengths[row : row + 1])
        torch.testing.assert_close(together[row, :length], alone[0])
        assert not together[row, length:].any()


def test_a_causal_one_sees_no_later_token_and_another_does() -> None:
    embedded, lengths = tokens([7], 7)
    changed = embedded.clone()
    changed[0, 4] += 1
    for causal in (True, False):
        model = encoder(causal=causal).train()
        before, after = model(embedded, lengths)[0], model(changed, lengths)[0]
        assert torch.equal(before[:4], after[:4]) is causal
        assert not torch.equal(before[4:], after[4:])
    assert TransformerConfig(causal=True).direction is Direction.CAUSAL
    assert TransformerConfig().direction is Direction.BIDIRECTIONAL


@pytest.mark.parametrize("causal", [False, True])
def test_it_is_torchs_encoder_over_projected_tokens_and_positions(causal: bool) -> None:
    model = encoder(num_layers=3, causal=causal).train()
    embedded, lengths = tokens([6, 6], 6)
    reference = (
        nn.TransformerEncoder(model.layers[0], 3, model.norm, enable_nested_tensor=False).double().train()
    )
    reference.layers = model.layers
    mask = nn.Transformer.generate_square_subsequent_mask(6, dtype=torch.float64) if causal else None
    expected = reference(model.projection(embedded) + sinusoids(6, 8, embedded), mask, is_causal=causal)
    torch.testing.assert_close(model(embedded, lengths), expected)


def test_layers_begin_apart() -> None:
    first, second = encoder(num_layers=2).layers
    assert not torch.equal(first.linear1.weight, second.linear1.weight)


def test_positions_count() -> None:
    embedded, lengths = tokens([4], 4)
    model = encoder()
    turned = model(embedded.flip(1), lengths).flip(1)
    assert not torch.allclose(model(embedded, lengths), turned)


def test_positions_are_the_papers() -> None:
    table = sinusoids(50, 6, torch.zeros(1, dtype=torch.float64))
    for position in (0, 1, 17, 49):
        for pair in range(3):
            angle = torch.tensor(position / 10_000 ** (2 * pair / 6), dtype=torch.float64)
            torch.testing.assert_close(
                table[position, 2 * pair : 2 * pair + 2],
                torch.stack([angle.sin(), angle.cos()]),
                atol=1e-5,
                rtol=1e-4,
            )


def test_rows_without_tokens_and_odd_widths_are_finite() -> None:
    model = encoder(model_dim=9, num_heads=3)
    embedded, lengths = tokens([0, 3, 0], 3)
    states = model(embedded, lengths)
    states.square().sum().backward()
    assert not states[[0, 2]].any() and states.isfinite().all()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(ValueError, match="`model_dim` must be a multiple of `num_heads`"):
        TransformerConfig(model_dim=10, num_heads=4)


@pytest.mark.parametrize("causal", [False, True])
def test_the_attention_of_training_is_torchs_if_nothing_is_dropped(causal: bool) -> None:
    """With next to no dropout, training takes its own way through the attention: outputs and gradients."""
    embedded, lengths = tokens([6, 3, 0, 1], 6)
    ours, torchs = encoder(causal=causal, dropout=1e-6), encoder(causal=causal)
    gradients = []
    for model in (ours, torchs):
        model.train()
        output = model(embedded, lengths)
        (output * torch.arange(output.numel(), dtype=output.dtype).view_as(output).cos()).sum().backward()
        gradients.append([output, *(parameter.grad for parameter in model.parameters())])
    for own, reference in zip(*gradients, strict=True):
        torch.testing.assert_close(own, reference)


def test_the_attentions_dropout_keeps_the_expectation() -> None:
    model = encoder(dropout=0.3, num_layers=1)
    layer: Any = model.layers[0]
    layer.dropout1.p = 0.0
    states = torch.randn(2, 5, 8, dtype=torch.float64)
    expected = layer.eval()._sa_block(states, None, None)
    layer.train()
    torch.manual_seed(0)
    drawn = torch.stack([layer._sa_block(states, None, None) for _ in range(4000)])
    assert not torch.equal(drawn[0], drawn[1])
    assert (drawn.mean(0) - expected).abs().max() < 5 * (drawn.std(0) / 4000**0.5).max()
