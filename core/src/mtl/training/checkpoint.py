"""A resumable state on disk: safetensors and JSON, complete or absent."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from mtl.errors import MtlError
from mtl.files import replaced, write_json

TENSORS = "tensors.safetensors"
STATE = "state.json"
MANIFEST = "manifest.json"


class DamagedCheckpoint(MtlError):
    """A checkpoint whose files are not what was written."""


def save_checkpoint(path: Path, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
    """Write the checkpoint folder `path`; `state` is JSON."""
    with replaced(path) as folder:
        folder.mkdir()
        save_file(
            {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, folder / TENSORS
        )
        write_json(folder / STATE, state)
        write_json(folder / MANIFEST, {name: _digest(folder / name) for name in (TENSORS, STATE)})


def load_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and the state of a checkpoint. Raises `DamagedCheckpoint`."""
    try:
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        damaged = [name for name in (TENSORS, STATE) if manifest[name] != _digest(path / name)]
        if damaged:
            raise DamagedCheckpoint(f"{path}: {', '.join(damaged)} is not what was written")
        return load_file(path / TENSORS), json.loads((path / STATE).read_text(encoding="utf-8"))
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise DamagedCheckpoint(f"{path}: cannot be read: {error}") from None


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def flatten_optimizer(optimizer: torch.optim.Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """An optimizer's state as tensors by name, and the rest as JSON."""
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
    optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor], rest: Mapping[str, Any]
) -> None:
    """Take back what `flatten_optimizer` gave."""
    state: dict[int, dict[str, Any]] = {int(index): dict(values) for index, values in rest["state"].items()}
    for key, tensor in tensors.items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": rest["param_groups"]})
