"""Sampled words estimate the full softmax; adaptive ones are torch's, in the vocabulary's order."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from mtl import DataError, Problem
from mtl.builder import Builder
from mtl_text.decoders import MLPDecoder
from mtl_text.model_config import MLPDecoderConfig
from pytext_plugins_lm.scorers import AdaptiveWordScorer, SampledWordScorer, WordScorer, sampled_losses

DIM = 4


def layer(rows: int, words: int, seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    hidden, weight, bias = (
        torch.randn(shape, generator=generator, dtype=torch.float64)
        for shape in ((rows, DIM), (words, DIM), (words,))
    )
    return hidden, weight, bias, torch.randint(words, (rows,), generator=generator)


def words_of(size: int) -> list[str]:
    return [f"word {number}" for number in range(size)]


def decoder(words: int) -> nn.Module:
    torch.manual_seed(0)
    return MLPDecoder(MLPDecoderConfig(hidden_dims=[6]), Builder(), input_dim=DIM, output_dim=words)


@given(words=st.integers(2, 8), seed=st.integers(0, 99))
def test_the_estimated_sum_over_the_words_is_right_on_average(words: int, seed: int) -> None:
    """One word drawn: the mean over all draws, each as often as it is drawn, is the exact sum."""
    hidden, weight, bias, targets = layer(3, words, seed)
    share = torch.rand(words, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + 0.1
    share /= share.sum()
    wanted = (hidden @ weight.T + bias).gather(1, targets[:, None]).squeeze(1)
    mean = torch.zeros(3, dtype=torch.float64)
    for word in range(words):
        losses = sampled_losses(hidden, weight, bias, targets, torch.tensor([word]), share)
        mean += share[word] * (losses + wanted).exp()
    torch.testing.assert_close(mean, (hidden @ weight.T + bias).exp().sum(-1), rtol=1e-5, atol=1e-5)


def test_many_draws_come_close_to_the_full_softmax_and_its_gradient() -> None:
    hidden, weight, bias, targets = layer(6, 20, 1)
    weight.requires_grad_()
    full = F.cross_entropy(hidden @ weight.T + bias, targets, reduction="none")
    (wanted,) = torch.autograd.grad(full.sum(), weight)
    share = torch.full((20,), 1 / 20, dtype=torch.float64)
    drawn = torch.multinomial(share, 50_000, replacement=True, generator=torch.Generator().manual_seed(0))
    estimate = sampled_losses(hidden, weight, bias, targets, drawn, share)
    torch.testing.assert_close(estimate.double(), full.detach(), atol=0.03, rtol=0.03)
    (gradient,) = torch.autograd.grad(estimate.sum(), weight)
    torch.testing.assert_close(gradient, wanted, atol=0.05, rtol=0.1)


def test_a_draw_of_the_target_does_not_count_twice() -> None:
    hidden, weight, bias, _ = layer(1, 5, 2)
    share = torch.full((5,), 0.2, dtype=torch.float64)
    losses = sampled_losses(hidden, weight, bias, torch.tensor([3]), torch.tensor([3, 3, 3]), share)
    assert losses.item() == 0.0


@pytest.mark.parametrize("tied", [False, True])
def test_sampled_words_train_and_all_words_are_scored_in_evaluation(tied: bool) -> None:
    weight = nn.Parameter(torch.randn(30, 7, generator=torch.Generator().manual_seed(3))) if tied else None
    counts = torch.arange(30)
    scorer = SampledWordScorer(
        decoder(7 if tied else 30), weight, words=words_of(len(counts)), frequencies=counts, samples=9
    )
    full = WordScorer(scorer.decoder, weight, words=scorer.words)
    if tied:
        full.tied_bias = scorer.tied_bias
    states, targets = torch.randn(8, DIM, generator=torch.Generator().manual_seed(4)), torch.arange(8)
    torch.testing.assert_close(scorer.eval().loss(states, targets), full.eval().loss(states, targets))
    torch.testing.assert_close(scorer(states), full(states))

    def draw(seed: int) -> Tensor:
        torch.manual_seed(seed)
        return scorer.train().loss(states, targets)[0]

    assert torch.equal(draw(0), draw(0)) and not torch.equal(draw(0), draw(1))
    draw(0).backward()
    assert all(parameter.grad is not None for parameter in scorer.parameters())
    assert "frequencies" not in scorer.state_dict()


@pytest.mark.parametrize("tied", [False, True])
def test_training_starts_from_how_frequent_words_are(tied: bool) -> None:
    counts = torch.tensor([0, 5, 9, 85])
    weight = nn.Parameter(torch.zeros(4, 7)) if tied else None
    scorer = SampledWordScorer(
        decoder(7 if tied else 4), weight, words=words_of(len(counts)), frequencies=counts, samples=9
    )
    if not tied:
        nn.init.zeros_(scorer.decoder.get_submodule("output").get_parameter("weight"))
    likely = scorer(torch.randn(3, DIM)).softmax(-1)
    torch.testing.assert_close(likely, torch.tensor([[0.01, 0.05, 0.09, 0.85]]).expand(3, -1))


def test_rare_words_are_drawn_too() -> None:
    scorer = SampledWordScorer(decoder(3), words=words_of(3), frequencies=torch.tensor([0, 5, 9]), samples=2)
    assert scorer.frequencies.tolist() == [1, 5, 9]


@given(seed=st.integers(0, 20), words=st.integers(4, 30))
def test_adaptive_probabilities_are_of_all_words_in_their_order(seed: int, words: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    counts = torch.randint(100, (words,), generator=generator)
    torch.manual_seed(seed)
    scorer = AdaptiveWordScorer(
        decoder(DIM), words=words_of(words), dim=DIM, frequencies=counts, cutoffs=[words // 2]
    )
    states = torch.randn(2, 3, DIM, generator=generator)
    scores = scorer(states)
    assert scores.shape == (2, 3, words)
    torch.testing.assert_close(scores.exp().sum(-1), torch.ones(2, 3))
    targets = torch.randint(words, (6,), generator=generator)
    total, losses = scorer.loss(states.flatten(0, 1), targets)
    expected = F.nll_loss(scores.flatten(0, 1), targets, reduction="none")
    torch.testing.assert_close(losses, expected.detach())
    torch.testing.assert_close(total, expected.sum())
    head = counts[scorer.order[: words // 2]]
    assert (head.min() >= counts[scorer.order[words // 2 :]].max()).item()


def test_an_adaptive_batch_without_predictions_has_no_loss() -> None:
    scorer = AdaptiveWordScorer(
        decoder(DIM), words=words_of(4), dim=DIM, frequencies=torch.tensor([1, 9, 5, 7]), cutoffs=[2]
    )
    total, losses = scorer.loss(torch.zeros(0, DIM), torch.zeros(0, dtype=torch.long))
    assert total.item() == 0 and len(losses) == 0


@pytest.mark.parametrize("softmax", ["sampled", "adaptive"])
def test_the_counts_of_the_words_come_back_with_the_state(softmax: str, kit: Any) -> None:
    fitted, loaded = (kit.task(kit.config(softmax=softmax)) for _ in range(2))
    fitted.fit([fitted.prepare(kit.table("the cat sees the dog", "the tree"))])
    counts = dict(zip(fitted.token_featurizer.token_texts(), fitted.state()["frequencies"], strict=True))
    assert (counts["the"], counts["cat"], counts["house"]) == (3, 1, 0)
    loaded.load_state(fitted.state())
    assert loaded.state() == fitted.state()
    with pytest.raises(DataError, match="`frequencies` must be a count for each"):
        loaded.load_state({"frequencies": [1, 2]})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"softmax": "adaptive", "tie_weights": True}, "`tie_weights` needs"),
        ({"samples": 5}, "`samples` needs"),
        ({"mask_probability": 0.3}, '`mask_probability` needs `objective` "masked", but it is'),
        ({"cutoffs": [5]}, "`cutoffs` needs"),
        ({"softmax": "adaptive", "cutoffs": [5, 5]}, "`cutoffs` must increase"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(
    settings: dict[str, Any], message: str, kit: Any
) -> None:
    problems: list[Problem] = list(kit.config(**settings).check())
    assert any(message in problem.message for problem in problems)
