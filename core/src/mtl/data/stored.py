"""Encoded rows on disk: written a piece at a time, memory-mapped when they are read.

A folder has one file per tensor of the rows, and their layout as JSON.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from mtl.components import Unit
from mtl.data.columns import Column, Dense, Ragged, Rows, as_bytes
from mtl.files import write_json

LAYOUT = "layout.json"
COUNTS = ("lines", "words", "pieces")
"""Arrays of `Rows` with a number for each row."""
DTYPES = {
    str(value).removeprefix("torch."): value
    for value in vars(torch).values()
    if isinstance(value, torch.dtype)
}


def write_rows(pieces: Iterable[Rows], folder: Path) -> None:
    """Write the rows of a file, given as one or more pieces, to the new `folder`.

    Raises `ValueError` if the columns of the pieces differ.
    """
    folder.mkdir(parents=True)
    with ExitStack() as stack:
        files: dict[str, BinaryIO] = {}
        ends: dict[str, int] = {}
        layout: dict[str, Any] = {}
        for rows in pieces:
            columns = _columns(rows)
            if not files:
                layout = {
                    "path": rows.path,
                    "skipped": rows.skipped,
                    "skipped_first": list(rows.skipped_first),
                    "columns": columns,
                }
                files = {name: stack.enter_context((folder / name).open("wb")) for name in _tensors(rows)}
            elif columns != layout["columns"]:
                raise ValueError(
                    f"the columns of all pieces of a file must be alike, but {columns} come after"
                    f" {layout['columns']}"
                )
            for name, tensor in _tensors(rows).items():
                if name.startswith(_OFFSETS):
                    # The first offset of a piece is where the piece before it ended.
                    tensor = tensor[1:] + ends[name] if name in ends else tensor
                    ends[name] = int(tensor[-1]) if len(tensor) else ends[name]
                files[name].write(as_bytes(tensor))
        layout["bytes"] = {name: file.tell() for name, file in files.items()}
    write_json(folder / LAYOUT, layout)


_VALUES, _OFFSETS = "values.", "offsets."


def _columns(rows: Rows) -> dict[str, Any]:
    """Return the layout of each column; a ragged one has the number of the column whose offsets it shares."""
    owners: dict[int, int] = {}
    columns: dict[str, Any] = {}
    for number, (name, column) in enumerate(rows.columns.items()):
        columns[name] = {
            "dtype": str(column.values.dtype).removeprefix("torch."),
            "shape": list(column.values.shape[1:]),
        }
        if isinstance(column, Ragged):
            owner = owners.setdefault(id(column.offsets), number)
            columns[name] |= {"padding": column.padding, "offsets": owner, "unit": column.unit.value}
    return columns


def _tensors(rows: Rows) -> dict[str, Tensor]:
    """Return the tensors by their file names, in which columns are numbered."""
    tensors = {name: torch.from_numpy(getattr(rows, name).copy()) for name in COUNTS}
    for number, (column, layout) in enumerate(
        zip(rows.columns.values(), _columns(rows).values(), strict=True)
    ):
        tensors[f"{_VALUES}{number}"] = column.values
        if isinstance(column, Ragged) and layout["offsets"] == number:
            tensors[f"{_OFFSETS}{number}"] = column.offsets
    return tensors


def read_rows(folder: Path) -> Rows:
    """Return the rows in a folder, memory-mapped: what no batch touches is never read.

    Raises `OSError`, `LookupError`, `TypeError` or `ValueError` for a folder that is damaged.
    """
    layout = json.loads((folder / LAYOUT).read_text(encoding="utf-8"))
    sizes = layout["bytes"]
    tensors = {name: _map(folder / name, size) for name, size in sizes.items()}
    columns: dict[str, Column] = {}
    for number, (name, stored) in enumerate(layout["columns"].items()):
        values = _typed(tensors[f"{_VALUES}{number}"], DTYPES[stored["dtype"]], stored["shape"])
        if "offsets" not in stored:
            columns[name] = Dense(values)
            continue
        file = f"{_OFFSETS}{stored['offsets']}"
        if tensors[file].dtype != torch.int64:
            tensors[file] = _typed(tensors[file], torch.int64)
        columns[name] = Ragged(values, tensors[file], stored["padding"], Unit(stored["unit"]))
    counts = {name: _typed(tensors[name], torch.int64).numpy() for name in COUNTS}
    return Rows(
        columns=columns,
        path=layout["path"],
        skipped=layout["skipped"],
        skipped_first=tuple(layout["skipped_first"]),
        folder=folder,
        **counts,
    )


def _map(path: Path, size: int) -> Tensor:
    """Return the bytes of a file, uint8 `[size]`; writing to them does not change the file."""
    if path.stat().st_size != size:
        raise ValueError(f"{path.name} must have {size:,} bytes, but has {path.stat().st_size:,}")
    if not size:
        return torch.empty(0, dtype=torch.uint8)
    return torch.from_file(str(path), shared=False, size=size, dtype=torch.uint8)


def _typed(content: Tensor, dtype: torch.dtype, shape: Sequence[int] = ()) -> Tensor:
    """Return bytes as a tensor of their dtype, `[items, *shape]`."""
    return content.view(dtype).view(len(content) // (dtype.itemsize * prod(shape)), *shape)
