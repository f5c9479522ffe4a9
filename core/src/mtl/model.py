"""One module that holds every task's parts; what tasks share is in it once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from mtl.builder import Builder, BuiltModule
from mtl.data.load import Tasks
from mtl.errors import ComponentError, UsageError, component_errors
from mtl.files import atomic_write


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
    models = {}
    for name, task in tasks.tasks.items():
        with component_errors(task, f"to build the model of {name}"):
            models[name] = task.build_model(builder)
    for built in builder.built:
        if load_paths and built.config.load_path is not None:
            load_tensors(built.module, built.config.load_path)
        if built.config.freeze:
            built.module.requires_grad_(False)
    return MultitaskModel(models, builder.built)


def load_model(tasks: Tasks, seed: int, weights: Path) -> MultitaskModel:
    """The model of a run with the weights of a file.

    Names and shapes are compared before memory is taken: a file says how large a model may be.

    Raises `UsageError` where the file cannot be read, or does not fit the model.
    """
    try:
        with torch.device("meta"):
            outline = dict(unique_tensors(build_model(tasks, seed, load_paths=False)))
    except ComponentError as error:
        if "overflow" in str(error):
            raise UsageError(f"{weights}: the model that its config describes fits no memory") from None
        # A module whose constructor reads values of tensors has no outline.
        outline = None
    if outline is not None:
        with _opened(weights) as stored:
            check_shapes(outline, _shapes(stored), str(weights))
    model = build_model(tasks, seed, load_paths=False)
    load_tensors(model, weights)
    return model


def unique_tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Every parameter and persistent buffer of a module once, by its first name."""
    yield from module.named_parameters()
    persistent = module.state_dict(keep_vars=True).keys()
    yield from ((name, buffer) for name, buffer in module.named_buffers() if name in persistent)


def cpu_copy(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors as they are now, on the CPU: what trains on does not touch them."""
    return {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}


def write_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write tensors as safetensors. Raises `OSError`."""
    # save_file makes a file that nobody else may read, whatever the umask says.
    path.touch()
    mode = path.stat().st_mode
    try:
        save_file(dict(tensors), path)
        path.chmod(mode)
    except SafetensorError as error:
        raise OSError(None, str(error), str(path)) from None


def save_tensors(module: nn.Module, path: Path) -> None:
    """Write a module's tensors as safetensors. Raises `OSError`."""
    with atomic_write(path) as temporary:
        write_tensors(cpu_copy(dict(unique_tensors(module))), temporary)


def load_tensors(module: nn.Module, path: Path) -> None:
    """Take a module's tensors from safetensors; none is read before all names and shapes are checked.

    Raises `UsageError` where the file cannot be read, or its names or shapes are not the module's.
    """
    wanted = dict(unique_tensors(module))
    with _opened(path) as stored, torch.no_grad():
        check_shapes(wanted, _shapes(stored), str(path))
        for name, tensor in wanted.items():
            tensor.copy_(stored.get_tensor(name))


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """A file of safetensors. Raises `UsageError` where it cannot be read."""
    try:
        with safe_open(path, framework="pt") as stored:
            yield stored
    except (OSError, SafetensorError) as error:
        raise UsageError(f"{path}: not a file of weights: {error}") from None


def _shapes(stored: Any) -> dict[str, list[int]]:
    return {name: stored.get_slice(name).get_shape() for name in stored.keys()}  # noqa: SIM118


def assign_tensors(wanted: Mapping[str, Tensor], stored: Mapping[str, Tensor], source: str) -> None:
    """Copy `stored` into `wanted`. Raises `UsageError` where names or shapes differ."""
    check_shapes(wanted, {name: list(tensor.shape) for name, tensor in stored.items()}, source)
    with torch.no_grad():
        for name, tensor in wanted.items():
            tensor.copy_(stored[name])


def check_shapes(wanted: Mapping[str, Tensor], stored: Mapping[str, list[int]], source: str) -> None:
    """Raises `UsageError` unless `stored` has the names and shapes of `wanted`, and no others."""
    problems = [f"{name} is missing" for name in wanted.keys() - stored.keys()]
    problems += [f"{name} is not part of the model" for name in stored.keys() - wanted.keys()]
    problems += [
        f"{name} has shape {stored[name]}, but must have {list(tensor.shape)}"
        for name, tensor in wanted.items()
        if name in stored and stored[name] != list(tensor.shape)
    ]
    if problems:
        raise UsageError(f"{source}: these weights do not fit the model: {'; '.join(sorted(problems)[:5])}")
