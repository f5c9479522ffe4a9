"""Numericalised rows: columns built once, and the batches cut from them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl
import torch
from attrs import frozen
from torch import Tensor


@frozen(eq=False)
class Dense:
    """A value a row: `values` is `[rows, ...]`."""

    values: Tensor

    def __len__(self) -> int:
        return len(self.values)


@frozen(eq=False)
class Ragged:
    """A sequence a row: row `i` is `values[offsets[i]:offsets[i + 1]]`.

    `values` is `[items, ...]`, `offsets` is `[rows + 1]` (int64), `padding` fills batches up. Raises
    `ValueError` where the offsets do not go from 0 to the number of items.
    """

    values: Tensor
    offsets: Tensor
    padding: int = 0

    def __attrs_post_init__(self) -> None:
        if not len(self.offsets) or self.offsets[0] != 0 or self.offsets[-1] != len(self.values):
            raise ValueError(f"`offsets` must go from 0 to the number of `values`, {len(self.values):,}")

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> Tensor:
        """Items a row, `[rows]`."""
        return self.offsets.diff()

    @classmethod
    def from_lists(
        cls, lists: pl.Series, values: pl.Series, *, dtype: torch.dtype, padding: int = 0
    ) -> Ragged:
        """The rows of `lists`, with `values` in place of its exploded items (one each, in order)."""
        lengths = lists.list.len().to_numpy()
        offsets = np.zeros(len(lengths) + 1, dtype=np.int64)
        np.cumsum(lengths, out=offsets[1:])
        flat = torch.from_numpy(np.array(values.to_numpy(), copy=True)).to(dtype)
        return cls(values=flat, offsets=torch.from_numpy(offsets), padding=padding)


Column = Dense | Ragged


@frozen(eq=False)
class Batch:
    """Rows of one task, padded.

    `tensors` holds each column by name: `[batch, ...]` for a dense one, `[batch, time, ...]` for a
    ragged one, whose items a row are in `lengths` (`[batch]`). `rows` are row numbers in the
    split, on the CPU; `tokens` counts the items of the features without padding.
    """

    tensors: Mapping[str, Tensor]
    lengths: Mapping[str, Tensor]
    rows: Tensor
    tokens: int

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, name: str) -> Tensor:
        return self.tensors[name]

    def __contains__(self, name: str) -> bool:
        return name in self.tensors

    def to(self, device: torch.device) -> Batch:
        """The batch on `device`, copied without waiting where its memory is pinned."""
        if device.type == "cpu":
            return self
        return Batch(
            {name: tensor.to(device, non_blocking=True) for name, tensor in self.tensors.items()},
            {name: tensor.to(device, non_blocking=True) for name, tensor in self.lengths.items()},
            self.rows,
            self.tokens,
        )


@frozen(eq=False)
class Rows:
    """All rows of one split of one task.

    `columns` by name; `lines` are the rows' line numbers in `path`, int64; `skipped` and
    `skipped_first` are the table's. `folder` is where the columns are mapped from, if they are.
    """

    columns: Mapping[str, Column]
    lines: np.ndarray
    path: str = ""
    skipped: int = 0
    skipped_first: Sequence[str] = ()
    folder: Path | None = None

    def __len__(self) -> int:
        return len(self.lines)

    @property
    def lengths(self) -> np.ndarray:
        """Items a row in the longest of its ragged columns, `[rows]`."""
        ragged = [column.lengths.numpy() for column in self.columns.values() if isinstance(column, Ragged)]
        return np.maximum.reduce(ragged) if ragged else np.ones(len(self), dtype=np.int64)

    def digest(self) -> str:
        """SHA-256 of the columns and the line numbers: the same for the same rows alone."""
        content = hashlib.sha256(np.ascontiguousarray(self.lines).data)
        for name, column in sorted(self.columns.items()):
            parts = [column.values, column.offsets] if isinstance(column, Ragged) else [column.values]
            for tensor in parts:
                content.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
                content.update(as_bytes(tensor))
        return content.hexdigest()

    def batch(self, rows: np.ndarray, *, pin: bool = False) -> Batch:
        """The batch of these rows, in this order, each ragged column padded to its longest."""
        index = torch.from_numpy(rows)
        tensors: dict[str, Tensor] = {}
        lengths: dict[str, Tensor] = {}
        spans: dict[int, tuple[Tensor, Tensor, Tensor]] = {}
        tokens = 0
        for name, column in self.columns.items():
            if isinstance(column, Dense):
                tensors[name] = column.values.index_select(0, index)
                continue
            key = id(column.offsets)
            if key not in spans:
                spans[key] = _span(column.offsets, index)
                tokens = max(tokens, int(spans[key][0].sum()))
            lengths[name], positions, padded = spans[key]
            items = _take(column.values, positions)
            tensors[name] = items.masked_fill_(_expand(padded, items), column.padding)
        if pin:
            tensors = {name: tensor.pin_memory() for name, tensor in tensors.items()}
            lengths = {name: tensor.pin_memory() for name, tensor in lengths.items()}
        return Batch(tensors, lengths, index, tokens)

    def batches(self, order: Sequence[np.ndarray]) -> Iterator[Batch]:
        """A batch for each array of row numbers."""
        return (self.batch(rows) for rows in order)


def as_bytes(tensor: Tensor) -> memoryview:
    """The bytes of a tensor on the CPU, not copied where they lie together."""
    if not tensor.numel():
        return memoryview(b"")
    return tensor.contiguous().view(-1).view(torch.uint8).numpy().data


def _span(offsets: Tensor, index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Lengths `[batch]`, positions in the values `[batch, time]` and what is padding `[batch, time]`."""
    starts = offsets.index_select(0, index)
    lengths = offsets.index_select(0, index + 1) - starts
    steps = torch.arange(max(int(lengths.max()), 1))
    padded = steps >= lengths[:, None]
    positions = (starts[:, None] + steps).masked_fill_(padded, 0)
    return lengths, positions, padded


def _take(values: Tensor, positions: Tensor) -> Tensor:
    """The values at these positions; zeros where all rows are empty, so that there are none to take."""
    shape = (*positions.shape, *values.shape[1:])
    if not len(values):
        return values.new_zeros(shape)
    return values.index_select(0, positions.flatten()).view(shape)


def _expand(mask: Tensor, items: Tensor) -> Tensor:
    return mask.reshape(mask.shape + (1,) * (items.dim() - mask.dim()))
