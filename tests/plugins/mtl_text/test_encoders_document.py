"""BiLSTMDocAttention and DocNN: their parts, padding, and sharing with a sequence task."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest
import torch
from attrs import evolve
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from mtl import Builder, Component, ComponentSpec, ModuleConfig, Output, RepresentationConfig, configclass
from mtl_text import (
    BiLSTM,
    BiLSTMConfig,
    BiLSTMDocAttention,
    BiLSTMDocAttentionConfig,
    DocNN,
    DocNNConfig,
    LastStepConfig,
    MaxPoolConfig,
    MeanPoolConfig,
    SelfAttentionConfig,
)

INPUT_DIM = 5
POOLINGS = [SelfAttentionConfig(), MaxPoolConfig(), MeanPoolConfig(), LastStepConfig(both_ends=True)]
pooling_configs = st.sampled_from(POOLINGS)
row_lengths = st.lists(st.integers(0, 7), min_size=1, max_size=5)
quick = limits(deadline=None, max_examples=40)


def component(kind: str, module: str, settings: ModuleConfig) -> Component:
    name = type(settings).__name__.removesuffix("Config")
    spec = ComponentSpec(name=name, config=f"{module}:{name}Config", factory=f"{module}:{name}")
    return Component(kind, name, spec, settings, path=name)


def doc_attention(lstm: ModuleConfig, pooling: ModuleConfig, **options: object) -> BiLSTMDocAttentionConfig:
    return BiLSTMDocAttentionConfig(
        lstm=component("representation", "mtl_text.encoders", lstm),
        pooling=component("pooling", "mtl_text.pooling", pooling),
        **options,
    )


def tokens(lengths: list[int], extra: int = 0) -> tuple[Tensor, Tensor]:
    time = max(*lengths, 1) + extra
    generator = torch.Generator().manual_seed(sum(lengths) + time)
    return torch.randn(len(lengths), time, INPUT_DIM, generator=generator), torch.tensor(lengths)


def built(settings: RepresentationConfig, build: Builder | None = None) -> nn.Module:
    torch.manual_seed(0)
    kind = {BiLSTMConfig: BiLSTM, DocNNConfig: DocNN, BiLSTMDocAttentionConfig: BiLSTMDocAttention}[
        type(settings)
    ]
    return kind(settings, build or Builder(), input_dim=INPUT_DIM)


lstm_configs = st.builds(
    BiLSTMConfig, lstm_dim=st.integers(1, 5), num_layers=st.integers(1, 2), bidirectional=st.booleans()
)
configs = st.one_of(
    st.builds(doc_attention, lstm_configs, pooling_configs, mlp_dims=st.lists(st.integers(1, 5), max_size=2)),
    st.builds(
        DocNNConfig,
        kernel_sizes=st.lists(st.integers(1, 6), min_size=1, max_size=3),
        kernel_num=st.integers(1, 5),
    ),
)


@quick
@given(configs, row_lengths, st.integers(0, 3))
def test_shapes_are_as_declared_and_gradients_finite(settings, lengths, extra):
    assert settings.output is Output.DOCUMENT
    module = built(settings).train()
    document = module(*tokens(lengths, extra))
    assert document.shape == (len(lengths), settings.output_dim(INPUT_DIM))
    document.square().sum().backward()
    for parameter in module.parameters():
        assert parameter.grad.isfinite().all()


@quick
@given(configs, row_lengths, st.integers(1, 3), st.sampled_from([-1e4, 3.0, 1e30]))
def test_what_stands_in_the_padding_changes_no_bit(settings, lengths, extra, garbage):
    module = built(settings).eval()
    embedded, rows = tokens(lengths, extra)
    padded = (torch.arange(embedded.shape[1]) >= rows[:, None])[:, :, None]

    def run(inputs: Tensor) -> list[Tensor]:
        document = module(inputs, rows)
        return [document, *torch.autograd.grad(document.square().sum(), module.parameters())]

    outcomes = zip(run(embedded), run(embedded.masked_fill(padded, garbage)), strict=True)
    assert all(torch.equal(one, other) for one, other in outcomes)


@quick
@given(configs, row_lengths)
def test_a_row_alone_gets_what_it_gets_beside_longer_rows(settings, lengths):
    module = built(settings).eval()
    embedded, rows = tokens(lengths)
    documents = module(embedded, rows)
    for row, length in enumerate(lengths):
        alone = module(embedded[row : row + 1, : max(length, 1)], rows[row : row + 1])
        torch.testing.assert_close(documents[row], alone[0])


@pytest.mark.parametrize(
    "settings",
    [*(doc_attention(BiLSTMConfig(), pooling, mlp_dims=[20]) for pooling in POOLINGS), DocNNConfig()],
    ids=lambda settings: settings.pooling.name if hasattr(settings, "pooling") else "DocNN",
)
def test_every_parameter_gets_a_gradient(settings):
    module = built(settings).train()
    module(*tokens([6, 1, 4, 7])).square().sum().backward()
    assert all(parameter.grad.any() for parameter in module.parameters())


# --- BiLSTMDocAttention --------------------------------------------------------------------------


def test_the_document_is_the_dense_layers_of_the_pooled_sequence():
    settings = doc_attention(BiLSTMConfig(lstm_dim=4), MeanPoolConfig(), mlp_dims=[6, 3])
    module = built(settings).eval()
    embedded, rows = tokens([5, 2])
    document = module.lstm(embedded, rows).sum(1) / rows[:, None]
    for layer in (layer for layer in module.dense if isinstance(layer, nn.Linear)):
        document = F.relu(F.linear(document, layer.weight, layer.bias))
    torch.testing.assert_close(module(embedded, rows), document)


def test_dropout_falls_on_the_pooled_vector_in_training_only():
    lstm = BiLSTMConfig(lstm_dim=500, dropout=0)
    module = built(doc_attention(lstm, LastStepConfig(), dropout=0.3)).train()
    inputs = tokens([5, 2])
    assert (module(*inputs) == 0).double().mean().item() == pytest.approx(0.3, abs=0.05)
    assert module.eval()(*inputs).all()


@configclass
class WideConfig(RepresentationConfig):
    """A third party's sequence representation."""

    @property
    def output(self) -> Output:
        return Output.SEQUENCE

    def output_dim(self, input_dim: int) -> int:
        return input_dim + 3


class Wide(nn.Module):
    def __init__(self, settings: WideConfig, build: Builder, *, input_dim: int) -> None:
        super().__init__()
        self.width = settings.output_dim(input_dim)

    def forward(self, embedded: Tensor, lengths: Tensor) -> Tensor:
        return F.pad(embedded, (0, self.width - embedded.shape[-1]))


def test_c6_any_sequence_representation_fits():
    settings = evolve(
        doc_attention(BiLSTMConfig(), MeanPoolConfig()),
        lstm=component("representation", __name__, WideConfig()),
    )
    assert settings.output_dim(INPUT_DIM) == INPUT_DIM + 3
    assert built(settings)(*tokens([3, 1])).shape == (2, INPUT_DIM + 3)


def shared(pooling: ModuleConfig) -> tuple[nn.Module, nn.Module]:
    """A document encoder, and the sequence encoder that it shares with another task."""
    lstm = BiLSTMConfig(lstm_dim=4, shared_module_key="SHARED_LSTM")
    build = Builder()
    document = built(doc_attention(lstm, pooling), build)
    sequence = build(component("representation", "mtl_text.encoders", lstm), input_dim=INPUT_DIM)
    return document, sequence


@pytest.mark.parametrize("pooling", POOLINGS, ids=lambda pooling: type(pooling).__name__)
def test_s4_a_task_that_shares_the_encoder_keeps_finite_gradients(pooling):
    document, sequence = shared(pooling)
    assert document.lstm is sequence
    embedded, rows = tokens([4, 1, 0], extra=2)
    states = sequence(embedded, rows)
    pooled = document.pooling(states, rows)
    (states.square().sum() + pooled.square().sum()).backward()
    assert not states[rows[:, None] <= torch.arange(states.shape[1])].any()
    for parameter in document.parameters():
        assert parameter.grad.isfinite().all()


# --- DocNN ---------------------------------------------------------------------------------------


@quick
@given(
    st.lists(st.integers(1, 6), min_size=1, max_size=3),
    row_lengths,
    st.integers(0, 3),
    st.sampled_from([0.0, 5.0, math.inf, math.nan]),
)
def test_docnn_is_the_highest_window_of_each_row_alone(kernel_sizes, lengths, extra, garbage):
    module = built(DocNNConfig(kernel_sizes=kernel_sizes, kernel_num=4)).eval()
    embedded, rows = tokens(lengths, extra)
    padded = (torch.arange(embedded.shape[1]) >= rows[:, None])[:, :, None]
    documents = module(embedded.masked_fill(padded, garbage), rows)
    for row, length in enumerate(lengths):
        expected = [
            windows(embedded[row, :length], convolution, size)
            for size, convolution in zip(kernel_sizes, module.convolutions, strict=True)
        ]
        torch.testing.assert_close(documents[row], torch.cat(expected))


def windows(vectors: Tensor, convolution: nn.Conv1d, size: int) -> Tensor:
    """The highest score of each filter over all windows with a token in them, `[filters]`."""
    surrounded = F.pad(vectors, (0, 0, size - 1, size - 1))
    scores = [torch.zeros(convolution.out_channels)]
    for start in range(len(vectors) + size - 1 if len(vectors) else 0):
        window = surrounded[start : start + size]
        scores.append(torch.einsum("fdk,kd->f", convolution.weight, window) + convolution.bias)
    return torch.stack(scores).amax(0)


def test_docnn_needs_a_kernel():
    with pytest.raises(ValueError, match="`kernel_sizes` must name at least one size, but is empty"):
        DocNNConfig(kernel_sizes=[])


# --- both ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [doc_attention(BiLSTMConfig(), SelfAttentionConfig()), DocNNConfig()])
def test_bfloat16_autocast_trains(settings):
    module = built(settings).train()
    with torch.autocast("cpu", torch.bfloat16):
        document = module(*tokens([6, 1, 4, 7]))
    document.float().square().sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in module.parameters())


@pytest.mark.parametrize("settings", [doc_attention(BiLSTMConfig(), MaxPoolConfig()), DocNNConfig()])
def test_the_forward_pass_waits_for_no_value_on_the_device(settings):
    """A tensor on the meta device has no values: reading one is an error."""
    lengths = torch.empty(3, dtype=torch.int64, device="meta")
    document = built(settings).to("meta")(torch.empty(3, 6, INPUT_DIM, device="meta"), lengths)
    assert document.shape == (3, settings.output_dim(INPUT_DIM))


def test_the_settings_are_free_of_torch():
    code = "import mtl_text.model_config, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
