"""One module that holds every task's parts; what tasks share is in it once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from mtl.data.load import Tasks
from mtl.errors import UsageError
from mtl.sharing import Builder, BuiltModule


class MultitaskModel(nn.Module):
    """The tasks' models by name, and the modules that they were built from."""

    def __init__(self, models: Mapping[str, nn.Module], built: Iterable[BuiltModule]) -> None:
        super().__init__()
        self.tasks = dict(models)
        self.built = tuple(built)
        for name, model in models.items():
            self.add_module(f"task-{name}", model)


def build_model(tasks: Tasks, seed: int, *, load_paths: bool = True) -> MultitaskModel:
    """The model of a run, its initial weights a function of the seed.

    `load_paths` says whether modules start from their `load_path`, as a model does that is trained.
    """
    torch.manual_seed(seed)
    builder = Builder()
    models = {name: task.build_model(builder) for name, task in tasks.tasks.items()}
    for built in builder.built:
        if load_paths and built.config.load_path is not None:
            load_tensors(built.module, built.config.load_path)
        if built.config.freeze:
            built.module.requires_grad_(False)
    return MultitaskModel(models, builder.built)


def unique_tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Every parameter and persistent buffer of a module once, by its first name."""
    yield from module.named_parameters()
    persistent = module.state_dict(keep_vars=True).keys()
    yield from ((name, buffer) for name, buffer in module.named_buffers() if name in persistent)


def save_tensors(module: nn.Module, path: Path) -> None:
    """Write a module's tensors as safetensors."""
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in unique_tensors(module)}, path)


def load_tensors(module: nn.Module, path: Path) -> None:
    """Take a module's tensors from safetensors.

    Raises `UsageError` where the file cannot be read, or its names or shapes are not the module's.
    """
    try:
        stored = load_file(path)
    except (OSError, SafetensorError) as error:
        raise UsageError(f"{path}: not a file of weights: {error}") from None
    assign_tensors(dict(unique_tensors(module)), stored, str(path))


def assign_tensors(wanted: Mapping[str, Tensor], stored: Mapping[str, Tensor], source: str) -> None:
    """Copy `stored` into `wanted`. Raises `UsageError` where names or shapes differ."""
    problems = [f"{name} is missing" for name in wanted.keys() - stored.keys()]
    problems += [f"{name} is not part of the model" for name in stored.keys() - wanted.keys()]
    problems += [
        f"{name} has shape {list(stored[name].shape)}, but must have {list(tensor.shape)}"
        for name, tensor in wanted.items()
        if name in stored and stored[name].shape != tensor.shape
    ]
    if problems:
        raise UsageError(f"{source}: these weights do not fit the model: {'; '.join(sorted(problems)[:5])}")
    with torch.no_grad():
        for name, tensor in wanted.items():
            tensor.copy_(stored[name])
