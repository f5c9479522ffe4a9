"""Numericalized rows, and padded batches of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl
import torch
from attrs import Factory, evolve, field, frozen
from torch import Tensor

from mtl.components import Unit


@frozen(eq=False)
class Dense:
    """One value per row: `values` is `[rows, ...]`."""

    values: Tensor

    def __len__(self) -> int:
        return len(self.values)


@frozen(eq=False)
class Ragged:
    """One sequence per row: row `i` is `values[offsets[i]:offsets[i + 1]]`.

    `values` is `[items, ...]`, `offsets` is `[rows + 1]` (int64), `padding` fills up batches, and an
    item stands for a `unit`. Raises `ValueError` if the offsets do not go from 0 to the number of items.
    """

    values: Tensor
    offsets: Tensor
    padding: int = 0
    unit: Unit = Unit.WORD

    def __attrs_post_init__(self) -> None:
        if not len(self.offsets) or self.offsets[0] != 0 or self.offsets[-1] != len(self.values):
            raise ValueError(f"`offsets` must go from 0 to the number of `values`, {len(self.values):,}")

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> Tensor:
        """Items per row, `[rows]`."""
        return self.offsets.diff()

    @classmethod
    def from_lists(
        cls,
        lists: pl.Series,
        values: pl.Series,
        *,
        dtype: torch.dtype,
        padding: int = 0,
        unit: Unit = Unit.WORD,
    ) -> Ragged:
        """Return the rows of `lists` with `values` in place of its exploded items (one each, in order)."""
        lengths = lists.list.len().to_numpy()
        offsets = np.zeros(len(lengths) + 1, dtype=np.int64)
        np.cumsum(lengths, out=offsets[1:])
        flat = torch.from_numpy(np.array(values.to_numpy(), copy=True)).to(dtype)
        return cls(values=flat, offsets=torch.from_numpy(offsets), padding=padding, unit=unit)


Column = Dense | Ragged
"""A column of numbers: one value, or one sequence, per row."""


@frozen(eq=False)
class Batch:
    """Rows of one task, padded.

    `tensors` holds each column by name: `[batch, ...]` for a dense one, `[batch, time, ...]` for a
    ragged one, whose number of items per row is in `lengths` (`[batch]`). `rows` are row numbers in the
    split, on the CPU. `words` and `pieces` count those of the texts, without padding; `pieces` is 0
    if no featurizer cuts words.
    """

    tensors: Mapping[str, Tensor]
    lengths: Mapping[str, Tensor]
    rows: Tensor
    words: int
    pieces: int = 0

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, name: str) -> Tensor:
        return self.tensors[name]

    def __contains__(self, name: str) -> bool:
        return name in self.tensors

    def to(self, device: torch.device) -> Batch:
        """Return the batch on `device`; the copy is asynchronous if its memory is pinned."""
        if device.type == "cpu":
            return self
        return Batch(
            {name: tensor.to(device, non_blocking=True) for name, tensor in self.tensors.items()},
            {name: tensor.to(device, non_blocking=True) for name, tensor in self.lengths.items()},
            self.rows,
            self.words,
            self.pieces,
        )


@frozen(eq=False)
class Rows:
    """All rows of one split of one task.

    `columns` by name; `lines` are the rows' line numbers in `path`, int64; `skipped` and
    `skipped_first` are the table's. `folder` is where the columns are mapped from, if they are.
    `words` and `pieces` are those of each row's texts, int64 `[rows]`; by default those of the longest
    column of each unit.
    """

    columns: Mapping[str, Column]
    lines: np.ndarray
    path: str = ""
    skipped: int = 0
    skipped_first: Sequence[str] = ()
    folder: Path | None = None
    words: np.ndarray = field(default=Factory(lambda self: longest(self.columns, Unit.WORD, len(self)), True))
    pieces: np.ndarray = field(
        default=Factory(lambda self: longest(self.columns, Unit.PIECE, len(self)), True)
    )

    def __len__(self) -> int:
        return len(self.lines)

    @property
    def lengths(self) -> np.ndarray:
        """What the encoder reads per row: pieces if the features have any, else words, `[rows]`."""
        lengths: np.ndarray = np.maximum(self.words, self.pieces)
        return lengths

    def digest(self) -> str:
        """Return the SHA-256 of the columns and the line numbers: equal for equal rows only."""
        content = hashlib.sha256(np.ascontiguousarray(self.lines).data)
        for name, column in sorted(self.columns.items()):
            parts = [column.values, column.offsets] if isinstance(column, Ragged) else [column.values]
            for tensor in parts:
                content.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
                content.update(as_bytes(tensor))
        return content.hexdigest()

    def take(self, rows: np.ndarray) -> Rows:
        """Return these rows in this order, in memory."""
        index = torch.from_numpy(np.ascontiguousarray(rows))
        columns: dict[str, Column] = {}
        spans: dict[int, tuple[Tensor, Tensor]] = {}
        for name, column in self.columns.items():
            if isinstance(column, Dense):
                columns[name] = evolve(column, values=column.values.index_select(0, index))
                continue
            key = id(column.offsets)
            if key not in spans:
                lengths, positions, padded = _span(column.offsets, index)
                spans[key] = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)]), positions[~padded]
            offsets, positions = spans[key]
            values = column.values.index_select(0, positions)
            columns[name] = evolve(column, values=values, offsets=offsets)
        return evolve(
            self,
            columns=columns,
            lines=self.lines[rows],
            words=self.words[rows],
            pieces=self.pieces[rows],
            folder=None,
        )

    def batch(self, rows: np.ndarray, *, pin: bool = False) -> Batch:
        """Return these rows in this order as a batch, each ragged column padded to its longest row."""
        index = torch.from_numpy(rows)
        tensors: dict[str, Tensor] = {}
        lengths: dict[str, Tensor] = {}
        spans: dict[int, tuple[Tensor, Tensor, Tensor]] = {}
        for name, column in self.columns.items():
            if isinstance(column, Dense):
                tensors[name] = column.values.index_select(0, index)
                continue
            key = id(column.offsets)
            if key not in spans:
                spans[key] = _span(column.offsets, index)
            lengths[name], positions, padded = spans[key]
            items = _take(column.values, positions)
            tensors[name] = items.masked_fill_(_expand(padded, items), column.padding)
        if pin:
            tensors = {name: tensor.pin_memory() for name, tensor in tensors.items()}
            lengths = {name: tensor.pin_memory() for name, tensor in lengths.items()}
        return Batch(tensors, lengths, index, int(self.words[rows].sum()), int(self.pieces[rows].sum()))

    def batches(self, order: Sequence[np.ndarray]) -> Iterator[Batch]:
        """Return a batch for each array of row numbers."""
        return (self.batch(rows) for rows in order)


def longest(columns: Mapping[str, Column], unit: Unit, rows: int) -> np.ndarray:
    """Return the items per row of the longest ragged column of a unit, int64 `[rows]`; 0 if there is none."""
    lengths = [
        column.lengths.numpy()
        for column in columns.values()
        if isinstance(column, Ragged) and column.unit is unit
    ]
    return np.maximum.reduce(lengths) if lengths else np.zeros(rows, dtype=np.int64)


def as_bytes(tensor: Tensor) -> memoryview:
    """Return the bytes of a CPU tensor, without copying a contiguous one."""
    if not tensor.numel():
        return memoryview(b"")
    return tensor.contiguous().view(-1).view(torch.uint8).numpy().data


def _span(offsets: Tensor, index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return lengths `[batch]`, positions in the values and what is padding, both `[batch, time]`."""
    starts = offsets.index_select(0, index)
    lengths = offsets.index_select(0, index + 1) - starts
    steps = torch.arange(max(int(lengths.max()), 1))
    padded = steps >= lengths[:, None]
    positions = (starts[:, None] + steps).masked_fill_(padded, 0)
    return lengths, positions, padded


def _take(values: Tensor, positions: Tensor) -> Tensor:
    """Return the values at these positions; zeros if all rows are empty."""
    shape = (*positions.shape, *values.shape[1:])
    if not len(values):
        return values.new_zeros(shape)
    return values.index_select(0, positions.flatten()).view(shape)


def _expand(mask: Tensor, items: Tensor) -> Tensor:
    return mask.reshape(mask.shape + (1,) * (items.dim() - mask.dim()))
