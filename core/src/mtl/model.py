"""One module that holds every task's parts; what tasks share is in it once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import nn

from mtl.builder import Builder, BuiltModule
from mtl.data.load import Tasks
from mtl.errors import ComponentError, UsageError, component_errors
from mtl.weights import load_module, load_named, match_rows, open_weights, row_names, unique_tensors


class MultitaskModel(nn.Module):
    """The tasks' models by name, and the modules that they were built from.

    `notices` say which rows of a `load_path` were moved, new or dropped.
    """

    def __init__(
        self, models: Mapping[str, nn.Module], built: Iterable[BuiltModule], notices: Iterable[str] = ()
    ) -> None:
        super().__init__()
        self.tasks = dict(models)
        self.built = tuple(built)
        self.notices = tuple(notices)
        for name, model in models.items():
            self.add_module(f"task-{name}", model)


def build_model(tasks: Tasks, seed: int, *, load_paths: bool = True) -> MultitaskModel:
    """Build the model of a run; its initial weights are a function of the seed.

    With `load_paths` modules start from their `load_path`, as is right for a model to train.
    """
    torch.manual_seed(seed)
    builder = Builder()
    models = {}
    for name, task in tasks.tasks.items():
        with component_errors(task, f"to build the model of {name}"):
            models[name] = task.build_model(builder)
    notices = []
    for built in builder.built:
        path = built.config.load_path
        if load_paths and path is not None:
            match = load_module(built.module, path)
            if match.maps:
                notices.append(f"{built.users[0]}: rows of {path} were matched by name: {match}")
        if built.config.freeze:
            built.module.requires_grad_(False)
    return MultitaskModel(models, builder.built, notices)


def load_model(tasks: Tasks, seed: int, weights: Path) -> MultitaskModel:
    """Build the model of a run with the weights of a file.

    Names and shapes are compared before memory is taken: a file says how large a model may be.

    Raises `UsageError` if the file cannot be read, or does not fit the model.
    """
    with open_weights(weights) as stored:
        try:
            with torch.device("meta"):
                outline: MultitaskModel | None = build_model(tasks, seed, load_paths=False)
        except ComponentError as error:
            if "overflow" in str(error):
                message = f"{weights}: the model that its config describes fits no memory"
                raise UsageError(message) from None
            # A module whose constructor reads values of tensors has no outline.
            outline = None
        if outline is not None:
            match_rows(dict(unique_tensors(outline)), row_names(outline), stored)
        model = build_model(tasks, seed, load_paths=False)
        match = load_named(model, stored)
    if match.new or match.dropped:
        raise UsageError(f"{weights}: these are the weights of other words or labels: {match}")
    return model
