"""The CRF against all sequences of tags, one by one."""

from __future__ import annotations

import itertools

import torch
from attrs import frozen
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mtl_tagging.crf import LinearChainCRF


@frozen(eq=False)
class Case:
    """A CRF and a batch for it, in float64."""

    crf: LinearChainCRF
    scores: Tensor
    lengths: Tensor

    def sequences(self, row: int) -> Tensor:
        """Every sequence of tags for a row, `[sequences, length]`."""
        tags = range(self.scores.shape[2])
        return torch.tensor(list(itertools.product(tags, repeat=int(self.lengths[row]))))

    def enumerated(self, row: int) -> Tensor:
        """What each of them scores, by the definition, `[sequences]`."""
        sequences, crf = self.sequences(row), self.crf
        words = self.scores[row, torch.arange(sequences.shape[1]), sequences].sum(dim=1)
        steps = crf.transitions[sequences[:, :-1], sequences[:, 1:]].sum(dim=1)
        return crf.start[sequences[:, 0]] + words + steps + crf.end[sequences[:, -1]]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    batch, time, tags = draw(st.integers(1, 3)), draw(st.integers(1, 5)), draw(st.integers(1, 3))
    lengths = draw(st.lists(st.integers(1, time), min_size=batch, max_size=batch))
    random = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))

    def numbers(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=random, dtype=torch.float64) * 2

    crf = LinearChainCRF(tags).double()
    for parameter in crf.parameters():
        parameter.data = numbers(*parameter.shape)
    return Case(crf, numbers(batch, time, tags).requires_grad_(), torch.tensor(lengths))


@settings(max_examples=60, deadline=None)
@given(cases())
def test_the_partition_and_its_gradient_are_those_of_all_sequences(case: Case) -> None:
    ours = case.crf.log_partition(case.scores, case.lengths)
    theirs = torch.stack([case.enumerated(row).logsumexp(0) for row in range(len(case.lengths))])
    torch.testing.assert_close(ours, theirs)
    parameters = [case.scores, *case.crf.parameters()]
    gradients = (
        torch.autograd.grad(total.sum(), parameters, materialize_grads=True) for total in (ours, theirs)
    )
    for found, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(found, expected)


@settings(max_examples=60, deadline=None)
@given(cases())
def test_the_best_tags_score_highest(case: Case) -> None:
    best = case.crf.best_tags(case.scores, case.lengths)
    for row, length in enumerate(case.lengths.tolist()):
        expected = case.sequences(row)[case.enumerated(row).argmax()]
        assert best[row, :length].tolist() == expected.tolist()


@settings(max_examples=30, deadline=None)
@given(cases())
def test_the_probabilities_of_all_sequences_are_one_together(case: Case) -> None:
    for row in range(len(case.lengths)):
        tags = case.sequences(row)
        length = tags.shape[1]
        scores = case.scores[row : row + 1, :length].expand(len(tags), -1, -1)
        likelihood = case.crf.log_likelihood(scores, tags, torch.full((len(tags),), length))
        torch.testing.assert_close(likelihood.exp().sum(), torch.ones((), dtype=torch.float64))


@settings(max_examples=30, deadline=None)
@given(cases(), st.integers(1, 3))
def test_padding_changes_nothing(case: Case, more: int) -> None:
    batch, time, kinds = case.scores.shape
    tags = torch.zeros(batch, time, dtype=torch.int64)
    noise = torch.full((batch, time + more, kinds), 1e4, dtype=torch.float64)
    longer = torch.full((batch, time + more), -100)
    for row, length in enumerate(case.lengths.tolist()):
        noise[row, :length] = case.scores[row, :length].detach()
        longer[row, :length] = tags[row, :length]
    alone = case.crf.log_likelihood(case.scores, tags, case.lengths)
    padded = case.crf.log_likelihood(noise, longer, case.lengths)
    torch.testing.assert_close(alone, padded)
    best, padded_best = (case.crf.best_tags(each, case.lengths) for each in (case.scores, noise))
    for row, length in enumerate(case.lengths.tolist()):
        assert best[row, :length].tolist() == padded_best[row, :length].tolist()
