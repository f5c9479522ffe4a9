"""The loss, against torch's own mean reduction."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from mtl import Batch
from mtl_text.classification.model import Classifier


class Given(nn.Module):
    """An embedding that gives the batch's `scores` and no lengths."""

    def forward(self, batch: Batch, sequence: str) -> tuple[Tensor, Tensor]:
        return batch["scores"], torch.ones(len(batch))


class First(nn.Module):
    def forward(self, embedded: Tensor, lengths: Tensor) -> Tensor:
        return embedded


def classifier(class_weights: Tensor | None = None, label_smoothing: float = 0.0) -> Classifier:
    return Classifier(
        embedding=Given(),
        representation=First(),
        decoder=nn.Identity(),
        class_weights=class_weights,
        label_smoothing=label_smoothing,
    )


def batch_of(**tensors: Tensor) -> Batch:
    return Batch(tensors, {}, torch.arange(len(next(iter(tensors.values())))), 0)


@given(
    seed=st.integers(0, 1000),
    rows=st.integers(1, 9),
    labels=st.integers(2, 5),
    weighted=st.booleans(),
    smoothing=st.sampled_from([0.0, 0.1, 0.9]),
)
def test_the_mean_loss_and_its_gradient_are_those_of_torch(
    seed: int, rows: int, labels: int, weighted: bool, smoothing: float
) -> None:
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(rows, labels, generator=generator, requires_grad=True)
    label = torch.randint(labels, (rows,), generator=generator)
    weights = torch.rand(labels, generator=generator) + 0.1 if weighted else None
    loss = classifier(weights, smoothing)(batch_of(scores=scores, label=label)).loss
    expected = F.cross_entropy(scores, label, weight=weights, label_smoothing=smoothing)
    torch.testing.assert_close(loss.total / loss.weight, expected)
    [ours] = torch.autograd.grad(loss.total / loss.weight, scores)
    [theirs] = torch.autograd.grad(expected, scores)
    torch.testing.assert_close(ours, theirs)


def test_batches_add_up_to_the_loss_of_all_rows() -> None:
    generator = torch.Generator().manual_seed(0)
    scores, label = torch.randn(7, 3, generator=generator), torch.tensor([0, 1, 2, 2, 0, 1, 1])
    model = classifier(torch.tensor([0.5, 1.0, 4.0]), 0.1)
    parts = [
        model(batch_of(scores=scores[some], label=label[some])).loss for some in (slice(0, 3), slice(3, 7))
    ]
    whole = model(batch_of(scores=scores, label=label)).loss
    torch.testing.assert_close(sum(part.total for part in parts), whole.total)
    assert float(sum(part.weight for part in parts)) == pytest.approx(float(whole.weight))


def test_without_labels_there_is_no_loss() -> None:
    output = classifier()(batch_of(scores=torch.zeros(2, 3)))
    assert output.loss is None
    assert output.scores.shape == (2, 3)


def test_class_weights_are_no_weights_of_the_model() -> None:
    assert not classifier(torch.ones(2)).state_dict()


def test_scores_are_float32_in_lower_precision_too() -> None:
    scores = torch.zeros(2, 3, dtype=torch.bfloat16)
    output = classifier(torch.ones(3))(batch_of(scores=scores, label=torch.tensor([0, 1])))
    assert output.scores.dtype == output.loss.total.dtype == torch.float32
