"""MLPDecoder against its formula."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from mtl import Builder
from mtl_text import MLPDecoder, MLPDecoderConfig

FUNCTIONS = {"relu": F.relu, "tanh": torch.tanh, "gelu": F.gelu}
sizes = st.integers(1, 6)


def decoder(input_dim: int = 3, output_dim: int = 2, **options: object) -> MLPDecoder:
    torch.manual_seed(0)
    return MLPDecoder(MLPDecoderConfig(**options), Builder(), input_dim=input_dim, output_dim=output_dim)


@settings(deadline=None, max_examples=50)
@given(
    hidden_dims=st.lists(sizes, max_size=3),
    activation=st.sampled_from(sorted(FUNCTIONS)),
    bias=st.booleans(),
    input_dim=sizes,
    output_dim=sizes,
    leading=st.lists(st.integers(0, 3), max_size=2),
)
def test_the_scores_are_those_of_the_formula(hidden_dims, activation, bias, input_dim, output_dim, leading):
    module = decoder(input_dim, output_dim, hidden_dims=hidden_dims, activation=activation, bias=bias)
    inputs = torch.randn(*leading, input_dim)
    linear = [layer for layer in module.modules() if isinstance(layer, nn.Linear)]
    assert [layer.out_features for layer in linear] == [*hidden_dims, output_dim]
    assert all((layer.bias is not None) == bias for layer in linear)

    expected = inputs
    for layer in linear[:-1]:
        expected = FUNCTIONS[activation](F.linear(expected, layer.weight, layer.bias))
    torch.testing.assert_close(module.hidden(inputs), expected)
    expected = F.linear(expected, linear[-1].weight, linear[-1].bias)
    torch.testing.assert_close(module(inputs), expected)
    assert module(inputs).shape == (*leading, output_dim)


@pytest.mark.parametrize("hidden_dims", [[], [4], [4, 5]])
def test_every_parameter_gets_a_gradient(hidden_dims):
    module = decoder(hidden_dims=hidden_dims, activation="tanh")
    module(torch.randn(8, 3)).square().sum().backward()
    for parameter in module.parameters():
        assert parameter.grad.isfinite().all()
        assert parameter.grad.any()


def test_without_hidden_layers_the_hidden_half_is_the_input():
    inputs = torch.randn(2, 3)
    module = decoder(dropout=0.9).train()
    assert torch.equal(module.hidden(inputs), inputs)


def test_dropout_falls_between_layers_and_only_in_training():
    module = decoder(hidden_dims=[1000], activation="gelu", dropout=0.25).train()
    inputs = torch.randn(3)
    dropped = module.hidden(inputs) == 0
    assert dropped.double().mean().item() == pytest.approx(0.25, abs=0.05)
    assert module.eval().hidden(inputs).all()


def test_the_last_weights_can_be_tied_to_an_embedding():
    embedding = nn.Embedding(7, 3)
    module = decoder(output_dim=7)
    module.output.weight = embedding.weight
    module(torch.randn(2, 3)).sum().backward()
    assert embedding.weight.grad.all()
    torch.testing.assert_close(module(torch.eye(3)), embedding.weight.T + module.output.bias)
