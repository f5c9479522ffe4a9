"""Batches are a pure function of (seed, task, pass) and hold every row once."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mtl.data.batching import Batching, evaluation_batches, seed_generators, seed_step

lengths = st.lists(st.integers(0, 60), min_size=1, max_size=400).map(np.array)


def batching(
    rows: np.ndarray, *, batch_size: int = 8, batch_tokens: int | None = None, seed: int = 0
) -> Batching:
    return Batching(rows, "task", seed, batch_size, batch_tokens)


@given(lengths, st.integers(1, 50), st.integers(0, 3))
def test_d7_each_row_stands_in_exactly_one_batch_of_a_pass(
    rows: np.ndarray, size: int, pass_index: int
) -> None:
    cut = batching(rows, batch_size=size)
    batches = cut.batches(pass_index)
    assert sorted(np.concatenate(batches)) == list(range(len(rows)))
    assert len(batches) == cut.count(pass_index)
    assert all(len(batch) == size for batch in batches) or sum(len(batch) < size for batch in batches) == 1


@given(lengths, st.integers(1, 300), st.integers(0, 3))
def test_a_token_budget_holds_with_padding(rows: np.ndarray, budget: int, pass_index: int) -> None:
    cut = batching(rows, batch_tokens=budget)
    batches = cut.batches(pass_index)
    assert sorted(np.concatenate(batches)) == list(range(len(rows)))
    assert all(len(batch) == 1 or len(batch) * rows[batch].max() <= budget for batch in batches)
    assert len(batches) == cut.count(pass_index)


@given(st.data(), st.integers(1, 200), st.integers(0, 3))
def test_rows_with_weights_are_drawn_by_them(data: st.DataObject, rows: int, pass_index: int) -> None:
    weights = np.array(data.draw(st.lists(st.floats(0.1, 10), min_size=rows, max_size=rows)))
    cut = Batching(np.ones(rows, dtype=np.int64), "task", 0, 8, weights=weights)
    drawn = np.concatenate(cut.batches(pass_index))

    counts, expected = np.bincount(drawn, minlength=rows), rows * weights / weights.sum()
    assert len(drawn) == rows and len(cut.batches(pass_index)) == cut.count(pass_index)
    assert (counts >= np.floor(expected - 1e-9)).all() and (counts <= np.ceil(expected + 1e-9)).all()
    again = Batching(np.ones(rows, dtype=np.int64), "task", 0, 8, weights=weights)
    assert np.array_equal(np.concatenate(again.batches(pass_index)), drawn)


def test_rows_of_equal_weights_occur_once() -> None:
    cut = Batching(np.arange(50), "task", 0, 8, weights=np.full(50, 3.0))
    assert sorted(np.concatenate(cut.batches(2))) == list(range(50))


def test_each_pass_leaves_out_other_rows() -> None:
    weights = np.array([1.0] * 90 + [9.0] * 10)
    cut = Batching(np.ones(100, dtype=np.int64), "task", 0, 8, weights=weights)
    passes = [set(np.concatenate(cut.batches(number)).tolist()) for number in range(12)]
    assert passes[0] != passes[1] and set().union(*passes) == set(range(100))


def test_d6_batch_membership_differs_between_passes_and_repeats_with_the_seed() -> None:
    rows = np.random.default_rng(0).integers(1, 40, size=1000)

    def members(cut: Batching, pass_index: int) -> list[tuple[int, ...]]:
        return [tuple(batch.tolist()) for batch in cut.batches(pass_index)]

    first = batching(rows, batch_size=32)
    again = batching(rows, batch_size=32)
    other = batching(rows, batch_size=32, seed=1)
    assert members(first, 0) == members(again, 0)
    neighbors = [{frozenset(batch) for batch in members(first, index)} for index in range(3)]
    assert not neighbors[0] & neighbors[1] and not neighbors[1] & neighbors[2]
    assert members(first, 0) != members(other, 0)


def test_batches_hold_rows_of_similar_lengths() -> None:
    rows = np.random.default_rng(0).integers(1, 50, size=5000)
    padded = sum(len(batch) * rows[batch].max() for batch in batching(rows, batch_size=32).batches(0))
    assert padded < 1.1 * rows.sum()


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_evaluation_reads_every_row_once(size: int) -> None:
    rows = np.random.default_rng(0).integers(1, 50, size=101)
    assert sorted(np.concatenate(evaluation_batches(rows, size))) == list(range(101))


def test_evaluation_of_no_rows_has_no_batches() -> None:
    assert evaluation_batches(np.array([], dtype=np.int64), 4) == []


def draws() -> tuple[float, float, float]:
    return torch.rand(()).item(), random.random(), float(np.random.random())


@given(st.integers(0, 2**31), st.integers(0, 10**6))
def test_a_step_seeds_by_its_number_alone(seed: int, step: int) -> None:
    seed_step(seed, step)
    found = draws()
    assert len(set(found)) == 3
    seed_generators(seed, "step", step)
    assert draws() == found
    seed_step(seed, step + 1)
    assert draws() != found
