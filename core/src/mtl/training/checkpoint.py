"""A resumable state on disk: safetensors and JSON, complete or absent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from attrs import frozen
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from mtl.errors import UsageError
from mtl.files import DamagedFolder, atomic_write, check_manifest, read_json, write_manifest
from mtl.weights import COLUMNS, ROW_NAMES, RowMap, Weights, open_weights, write_tensors

PARTS = ("model", "optimizer", "balancer", "average", "comparison", "report")
"""The parts of a checkpoint: the first word of each tensor's name."""
TENSORS = "tensors.safetensors"
STATE = "state.json"


def save_checkpoint(path: Path, tensors: Mapping[str, Tensor], state: str) -> None:
    """Write the checkpoint folder `path`; `state` is a JSON object."""
    with atomic_write(path, make_parents=False) as folder:
        folder.mkdir()
        write_tensors(tensors, folder / TENSORS)
        (folder / STATE).write_text(state, encoding="utf-8")
        write_manifest(folder)


@frozen(eq=False)
class Checkpoint:
    """A checkpoint that is whole; `tensors` reads its tensors."""

    path: Path
    state: Mapping[str, Any]

    def tensors(self) -> dict[str, Tensor]:
        """Read the tensors. Raises `DamagedFolder`."""
        try:
            return load_file(self.path / TENSORS)
        except (OSError, SafetensorError) as error:
            raise DamagedFolder(f"{self.path}: cannot be read: {error}") from None


def open_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint's state, and check its tensors without reading them. Raises `DamagedFolder`."""
    check_manifest(path, (TENSORS, STATE))
    try:
        with open_weights(path / TENSORS):
            return Checkpoint(path, read_json(path / STATE))
    except UsageError as error:
        raise DamagedFolder(f"{path}: cannot be read: {error}") from None


def join_parts(parts: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Return the tensors of all parts, each named after its part."""
    return {f"{part}.{name}": tensor for part, named in parts.items() for name, tensor in named.items()}


def split_parts(tensors: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """Undo `join_parts`; a part that is absent is empty. Raises `ValueError` for a tensor of no part."""
    parts: dict[str, dict[str, Tensor]] = {part: {} for part in PARTS}
    for key, tensor in tensors.items():
        part, _, name = key.partition(".")
        if part not in parts:
            raise ValueError(f"{key} does not belong there")
        parts[part][name] = tensor
    return parts


def as_weights(tensors: Mapping[str, Tensor], state: Mapping[str, Any], source: Path) -> Weights:
    """Return tensors of a checkpoint with the names of their rows and columns, as its state has them."""
    names = {name: rows for name, rows in state[ROW_NAMES].items() if name in tensors}
    return Weights.of(tensors, names, str(source), state.get(COLUMNS, {}))


@contextmanager
def state_errors(source: Path) -> Iterator[None]:
    """Raise `UsageError` for an error while a checkpoint is restored: it is not one of this run."""
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise UsageError(f"{source}: this state does not fit the run: {reason}") from error


def flatten_optimizer(optimizer: torch.optim.Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return an optimizer's state as tensors by name, and the rest as JSON."""
    state = optimizer.state_dict()
    tensors: dict[str, Tensor] = {}
    rest: dict[str, Any] = {"param_groups": state["param_groups"], "state": {}}
    for index, values in state["state"].items():
        for name, value in values.items():
            if isinstance(value, Tensor):
                tensors[f"{index}.{name}"] = value
            else:
                rest["state"].setdefault(str(index), {})[name] = value
    return tensors, rest


def restore_optimizer(
    optimizer: torch.optim.Optimizer,
    tensors: Mapping[str, Tensor],
    rest: Mapping[str, Any],
    rows: Mapping[int, RowMap] = MappingProxyType({}),
) -> None:
    """Restore what `flatten_optimizer` gave.

    `rows` are the parameters, by `id`, whose rows have moved: what the optimizer knows of a row moves with
    it, and a new row has zeros. Raises `ValueError` for what is not a state of this optimizer.
    """
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Any]] = {int(index): dict(values) for index, values in rest["state"].items()}
    for index, name, tensor in _indexed(tensors):
        state.setdefault(index, {})[name] = tensor
    for index, values in state.items():
        if not 0 <= index < len(parameters):
            raise ValueError(f"the optimizer has no parameter {index}")
        moved = rows.get(id(parameters[index]))
        if moved is not None:
            state[index] = values = {name: _moved(value, moved) for name, value in values.items()}
        largest = max(parameters[index].numel(), 1)
        if any(isinstance(value, Tensor) and value.numel() > largest for value in values.values()):
            raise ValueError(f"the optimizer's state of parameter {index} is larger than the parameter")
    optimizer.load_state_dict({"state": state, "param_groups": rest["param_groups"]})


def _moved(value: Any, rows: RowMap) -> Any:
    """Return a value of an optimizer's state with its rows, if it has as many as its parameter, moved."""
    if not isinstance(value, Tensor) or not value.dim() or len(value) != rows.stored_rows:
        return value
    result = value.new_zeros(len(rows.index), *value.shape[1:])
    rows.copy_into(result, value)
    return result


def _indexed(tensors: Mapping[str, Tensor]) -> Iterator[tuple[int, str, Tensor]]:
    for key, tensor in tensors.items():
        index, _, name = key.partition(".")
        yield int(index), name, tensor
