"""The batch sampler: which rows meet in a batch is a function of (seed, task, pass)."""

from __future__ import annotations

import random
import zlib
from functools import lru_cache

import numpy as np
import torch
from attrs import field, frozen

POOL_BATCHES = 100
"""Rows are shuffled, then sorted by length within pools of this many batches: little padding, and
different neighbors in every pass."""
_SEEDS_AHEAD = 64


def random_generator(seed: int, *parts: str | int) -> np.random.Generator:
    """Return the generator for a purpose: the same in every process."""
    keys = [zlib.crc32(part.encode()) if isinstance(part, str) else part for part in parts]
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, *keys])))


def seed_generators(seed: int, *parts: str | int) -> None:
    """Seed the global generators of torch, Python and NumPy."""
    _start_generators(*_seeds(seed, *parts))


def seed_step(seed: int, step: int) -> None:
    """Do what `seed_generators(seed, "step", step)` does, faster for consecutive steps."""
    block, place = divmod(step, _SEEDS_AHEAD)
    _start_generators(*_seeds_of_steps(seed, block)[place])


@lru_cache(maxsize=2)
def _seeds_of_steps(seed: int, block: int) -> list[tuple[int, int, int]]:
    # Many at once: drawing one alone costs a fifth of a millisecond per step in cache misses.
    steps = range(block * _SEEDS_AHEAD, (block + 1) * _SEEDS_AHEAD)
    return [_seeds(seed, "step", step) for step in steps]


def _seeds(seed: int, *parts: str | int) -> tuple[int, int, int]:
    draw = random_generator(seed, *parts)
    return int(draw.integers(2**63)), int(draw.integers(2**63)), int(draw.integers(2**32))


def _start_generators(torch_seed: int, python_seed: int, numpy_seed: int) -> None:
    # torch.manual_seed does the same, but formats a stack trace on the way: 0.1 ms per step.
    torch.default_generator.manual_seed(torch_seed)
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.manual_seed_all(torch_seed)
    random.seed(python_seed)
    np.random.seed(numpy_seed)


@frozen(eq=False)
class Batching:
    """Groups the rows of one task into batches, differently in each pass over its data.

    `task` names the order: two tasks over the same rows with the same name take the same batches.

    `lengths` are what the encoder reads per row, `[rows]`. A batch holds `batch_size` rows or, with
    `batch_tokens`, as many as fit into that many tokens, padding included (at least one). A step takes up
    to `accumulate` batches.

    With `weights`, `[rows]`, a pass has as many rows, but each as often as its share of the weights, rounded
    up or down: some occur several times, others not at all.
    """

    lengths: np.ndarray
    task: str
    seed: int
    batch_size: int
    batch_tokens: int | None = None
    accumulate: int = 1
    weights: np.ndarray | None = None
    _cached: object = field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "_cached", lru_cache(maxsize=2)(self._cut_pass))

    def count(self, pass_index: int) -> int:
        """Return the number of batches in a pass."""
        if self.batch_tokens is None:
            return -(-len(self.lengths) // self.batch_size)
        return len(self.batches(pass_index))

    def batches(self, pass_index: int) -> list[np.ndarray]:
        """Return the row numbers of each batch of a pass; every row occurs once, unless rows have weights."""
        return self._cached(pass_index)  # type: ignore[operator, no-any-return]

    def _cut_pass(self, pass_index: int) -> list[np.ndarray]:
        generator = random_generator(self.seed, "batches", self.task, pass_index)
        shuffled = generator.permutation(len(self.lengths))
        if self.weights is not None:
            shuffled = generator.permutation(_drawn(shuffled, self.weights[shuffled], generator))
        pool_size = POOL_BATCHES * self.batch_size
        batches = [
            batch
            for start in range(0, len(shuffled), pool_size)
            for batch in self._cut(_by_length(shuffled[start : start + pool_size], self.lengths))
        ]
        return [batches[index] for index in generator.permutation(len(batches))]

    def _cut(self, rows: np.ndarray) -> list[np.ndarray]:
        if self.batch_tokens is None:
            return [rows[start : start + self.batch_size] for start in range(0, len(rows), self.batch_size)]
        cuts: list[int] = []
        start = 0
        for end, length in enumerate(self.lengths[rows].tolist()):
            if end > start and (end + 1 - start) * length > self.batch_tokens:
                cuts.append(end)
                start = end
        return np.split(rows, cuts)


def _drawn(rows: np.ndarray, weights: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Return as many rows as there are, each as often as its share of the weights, rounded up or down.

    Systematic sampling: equally spaced places on the cumulative weights.
    """
    ends = np.cumsum(weights)
    places = (np.arange(len(rows)) + generator.random()) * (ends[-1] / len(rows)) if len(rows) else ends
    return rows[np.minimum(np.searchsorted(ends, places, side="right"), len(rows) - 1)]


def evaluation_batches(lengths: np.ndarray, batch_size: int) -> list[np.ndarray]:
    """Return all rows in batches of similar lengths, the same at every call."""
    rows = _by_length(np.arange(len(lengths)), lengths)
    return [rows[start : start + batch_size] for start in range(0, len(rows), batch_size)]


def _by_length(rows: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    return rows[np.argsort(lengths[rows], kind="stable")]
