"""One module that holds every task's parts; what tasks share is in it once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import nn

from mtl.builder import Builder, BuiltModule, Owner
from mtl.components import ModuleConfig
from mtl.config.json_path import render_path
from mtl.config.walk import walk
from mtl.data.load import Tasks
from mtl.errors import ComponentError, UsageError, component_errors, is_out_of_memory
from mtl.fields import Component
from mtl.weights import (
    Weights,
    load_module,
    load_named,
    match_rows,
    open_weights,
    row_names,
    unique_tensors,
    with_new_names,
)


class MultitaskModel(nn.Module):
    """The tasks' models by name, and the builder of their modules.

    `notices` say which rows of a `load_path` were moved, new or dropped.
    """

    def __init__(
        self, models: Mapping[str, nn.Module], builder: Builder, notices: Iterable[str] = ()
    ) -> None:
        super().__init__()
        self.tasks = dict(models)
        self.builder = builder
        self.notices = tuple(notices)
        for name, model in models.items():
            self.add_module(f"task-{name}", model)

    @property
    def built(self) -> tuple[BuiltModule, ...]:
        """The modules that the config names, shared ones once."""
        return tuple(self.builder.built)


ModuleStates = Mapping[str, Mapping[str, Any]]
"""What modules have saved besides their tensors, by the places of their configs."""


def build_model(
    tasks: Tasks,
    seed: int,
    states: ModuleStates | None = None,
    started: Mapping[int, Mapping[str, Any]] = MappingProxyType({}),
) -> MultitaskModel:
    """Build the model of a run; its initial weights are a function of the seed.

    Modules start from their `load_path`, unless the model is built to be loaded: from the `states` that its
    modules have saved. `started` are those of modules that start from another run; see `Builder`.
    """
    torch.manual_seed(seed)
    builder = Builder(_owners(tasks), states, started)
    models = {}
    for name, task in tasks.tasks.items():
        with component_errors(task, f"to build the model of {name}"):
            models[name] = task.build_model(builder)
    notices = []
    for built in builder.built:
        path = built.config.load_path
        if path is not None and not builder.is_loading:
            match = load_module(built.module, path, builder.renamed_weights())
            if match.maps:
                notices.append(f"{built.users[0]}: rows of {path} were matched by name: {match}")
        if built.config.freeze:
            built.module.requires_grad_(False)
    return MultitaskModel(models, builder, notices)


@contextmanager
def sized(device: torch.device, tasks: Tasks) -> Iterator[None]:
    """Turn the lack of memory while the model of a run is built into a `UsageError` with its size."""
    try:
        yield
    except (ComponentError, MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error) and not _overflows(error):
            raise
        raise UsageError(_too_large(device, tasks)) from error


def _overflows(error: Exception) -> bool:
    """Return whether the size of a tensor is no 64-bit integer."""
    return "overflow" in str(error)


def _too_large(device: torch.device, tasks: Tasks) -> str:
    """Return how large a model is that does not fit into the memory of a device."""
    memory = "memory" if device.type == "cpu" else f"the memory of {device}"
    message = f"the model that the config describes does not fit into {memory}"
    try:
        with torch.device("meta"):
            outline = build_model(tasks, seed=0)
    except Exception as error:  # a constructor may read values of tensors, which have none here
        return f"{message}: one of its tensors takes more than 2^63 bytes" if _overflows(error) else message
    total = sum(tensor.nbytes for _, tensor in unique_tensors(outline))
    sizes = {each.users[0]: sum(p.nbytes for p in each.module.parameters()) for each in outline.built}
    largest = max(sizes, key=lambda path: (sizes[path], len(path)))
    of_them = f"{sizes[largest] / 1e9:,.1f} GB of them at {largest}"
    return f"{message}: its weights take {total / 1e9:,.1f} GB, {of_them}"


def _owners(tasks: Tasks) -> dict[int, list[Owner]]:
    """Return the components of all modules; one that is shared has a name in each task."""
    owners: dict[int, list[Owner]] = {}
    for task, component in tasks.components.items():
        components: dict[int, Component] = {}
        for node in walk(component.config, (task,)):
            if isinstance(node.value, Component):
                components[id(node.value.config)] = node.value
            elif isinstance(node.value, ModuleConfig) and id(node.value) in components:
                owner = Owner(render_path(node.path), components[id(node.value)])
                owners.setdefault(id(node.value), []).append(owner)
    return owners


def load_model(
    tasks: Tasks, seed: int, weights: Path, states: ModuleStates, *, part: bool = False
) -> MultitaskModel:
    """Build the model of a run with the weights of a file and the states that its modules have saved.

    `part` says that the file holds the weights of other tasks, too.

    Names and shapes are compared before memory is taken: a file says how large a model may be.

    Raises `UsageError` if the file cannot be read, or does not fit the model.
    """
    with open_weights(weights) as stored:

        def fitting(model: MultitaskModel) -> Weights:
            renamed = model.builder.renamed_weights()
            if not part:
                return with_new_names(stored, model, renamed)
            found = with_new_names(stored.with_aliases(), model, renamed)
            return found.part(name for name, _ in unique_tensors(model))

        try:
            with torch.device("meta"):
                outline: MultitaskModel | None = build_model(tasks, seed, states)
        except ComponentError as error:
            if _overflows(error):
                message = f"{weights}: the model that its config describes fits no memory"
                raise UsageError(message) from None
            # A module whose constructor reads values of tensors has no outline.
            outline = None
        if outline is not None:
            match_rows(dict(unique_tensors(outline)), row_names(outline), fitting(outline))
        model = build_model(tasks, seed, states)
        match = load_named(model, fitting(model))
    if match.new or match.dropped:
        raise UsageError(f"{weights}: these are the weights of other words or labels: {match}")
    return model
