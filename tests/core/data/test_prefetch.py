"""Batches that a thread makes ready are those that would be cut when their turn comes."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mtl.data.columns import Batch, Dense, Ragged, Rows
from mtl.data.prefetch import AHEAD, Prefetcher

DEVICES = [
    "cpu",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")),
]
CPU = torch.device("cpu")


def rows(count: int = 40) -> Rows:
    lengths = torch.arange(count) % 7
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)])
    columns = {"words": Ragged(torch.arange(int(offsets[-1])), offsets), "label": Dense(torch.arange(count))}
    return Rows(columns, np.arange(count))


def equal(left: Batch, right: Batch) -> bool:
    return all(
        torch.equal(ours[name].cpu(), theirs[name])
        for ours, theirs in ((left.tensors, right.tensors), (left.lengths, right.lengths))
        for name in theirs
    )


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "mtl-prefetch"]


@pytest.mark.parametrize("device", DEVICES)
def test_the_batches_are_those_cut_in_turn_and_in_order(device: str) -> None:
    data, order = rows(), [np.arange(start, start + 4) for start in (0, 8, 4, 36, 12)]
    pin = device == "cuda"
    with Prefetcher(
        range(len(order)), lambda place: data.batch(order[place], pin=pin), torch.device(device)
    ) as ahead:
        for place, row_numbers in enumerate(order):
            batch = ahead.take(place)
            assert batch["words"].device.type == device
            assert equal(batch, data.batch(row_numbers))
    assert not threads()


@given(places=st.lists(st.integers(0, 9), max_size=12, unique=True), kept=st.sets(st.integers(0, 9)))
def test_places_that_are_left_out_are_passed_over(places: list[int], kept: set[int]) -> None:
    data = rows()
    with Prefetcher(places, lambda place: data.batch(np.array([place])), CPU) as ahead:
        taken = [ahead.take(place).rows.item() for place in places if place in kept]
    assert taken == [place for place in places if place in kept]


def test_a_place_that_does_not_come_is_an_error_and_no_endless_wait() -> None:
    data = rows()
    with Prefetcher([1, 2], lambda place: data.batch(np.array([place])), CPU) as ahead:
        for _ in range(2):
            with pytest.raises(LookupError, match="7 is not among"):
                ahead.take(7)


@pytest.mark.parametrize("error", [ValueError("a bad row"), KeyboardInterrupt(), MemoryError()])
def test_what_fails_is_raised_when_its_turn_comes(error: BaseException) -> None:
    data = rows()

    def cut(place: int) -> Batch:
        if place == 2:
            raise error
        return data.batch(np.array([place]))

    with Prefetcher(range(5), cut, CPU) as ahead:
        assert [ahead.take(place).rows.item() for place in (0, 1)] == [0, 1]
        with pytest.raises(type(error)):
            ahead.take(2)
        assert ahead.take(3).rows.item() == 3
    assert not threads()


def test_no_more_batches_wait_than_it_says() -> None:
    made, data = [], rows()

    def cut(place: int) -> Batch:
        made.append(place)
        return data.batch(np.array([place]))

    with Prefetcher(range(30), cut, CPU) as ahead:
        for place in range(10):
            ahead.take(place)
            time.sleep(0.002)
            assert len(made) <= place + 1 + AHEAD + 1
        deadline = time.monotonic() + 10
        while len(made) < 10 + AHEAD + 1 and time.monotonic() < deadline:
            time.sleep(0.001)
        assert len(made) == 10 + AHEAD + 1


@pytest.mark.parametrize("taken", [0, 1, 30])
def test_the_thread_ends_with_the_block_wherever_that_ends(taken: int) -> None:
    data = rows()
    with (
        pytest.raises(KeyboardInterrupt),
        Prefetcher(range(30), lambda place: data.batch(np.array([place])), CPU) as ahead,
    ):
        for place in range(taken):
            ahead.take(place)
        raise KeyboardInterrupt
    assert not threads()
