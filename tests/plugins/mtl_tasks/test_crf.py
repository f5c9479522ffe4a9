"""The conditional random field against enumeration of all sequences of tags."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mtl_tasks.crf import LinearChainCRF


def made(tags: int, lengths: list[int], seed: int) -> tuple[LinearChainCRF, Tensor, Tensor, Tensor]:
    """A random field, scores, tags and lengths, all in double precision."""
    draw = torch.Generator().manual_seed(seed)
    crf = LinearChainCRF(tags).double()
    with torch.no_grad():
        for parameter in crf.parameters():
            parameter.normal_(generator=draw)
    shape = (len(lengths), max([*lengths, 1]))
    scores = torch.randn(*shape, tags, generator=draw, dtype=torch.float64)
    gold = torch.randint(tags, shape, generator=draw)
    return crf, scores, gold, torch.tensor(lengths)


def score(crf: LinearChainCRF, scores: Tensor, path: tuple[int, ...]) -> float:
    """The score of a sequence of tags for one row, `scores` `[time, tags]`, by definition."""
    if not path:
        return 0.0
    total = crf.start[path[0]] + crf.end[path[-1]] + sum(scores[step, tag] for step, tag in enumerate(path))
    steps = sum((crf.transitions[a, b] for a, b in itertools.pairwise(path)), torch.zeros(()))
    return (total + steps).item()


rows = st.lists(st.integers(0, 4), min_size=1, max_size=4)


@settings(deadline=None, max_examples=40)
@given(tags=st.integers(1, 3), lengths=rows, seed=st.integers(0, 1000))
def test_the_loss_is_that_of_enumerated_sequences(tags: int, lengths: list[int], seed: int) -> None:
    crf, scores, gold, sizes = made(tags, lengths, seed)
    loss = crf.negative_log_likelihood(scores, gold, sizes)
    for row, length in enumerate(lengths):
        paths = itertools.product(range(tags), repeat=length)
        all_scores = torch.tensor([score(crf, scores[row], path) for path in paths], dtype=torch.float64)
        own = score(crf, scores[row], tuple(gold[row, :length].tolist()))
        assert loss[row].item() == pytest.approx(all_scores.logsumexp(0).item() - own, abs=1e-9)


@settings(deadline=None, max_examples=40)
@given(tags=st.integers(1, 3), lengths=rows, seed=st.integers(0, 1000))
def test_decoding_finds_the_best_sequence(tags: int, lengths: list[int], seed: int) -> None:
    crf, scores, _, sizes = made(tags, lengths, seed)
    decoded = crf.decode(scores, sizes)
    for row, length in enumerate(lengths):
        paths = list(itertools.product(range(tags), repeat=length))
        best = max(score(crf, scores[row], path) for path in paths)
        assert score(crf, scores[row], tuple(decoded[row, :length].tolist())) == pytest.approx(best)
        assert decoded[row, length:].eq(0).all()


def test_padding_has_no_gradient() -> None:
    crf, scores, gold, sizes = made(3, [1, 4], 0)
    scores.requires_grad_()
    crf.negative_log_likelihood(scores, gold, sizes).sum().backward()
    assert scores.grad is not None
    assert scores.grad[0, 1:].eq(0).all()
    assert scores.grad[1].ne(0).all()
