"""A phase of a run: its tasks and steps, its optimizer, and what is frozen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Self

import torch
from attrs import define, evolve, field, frozen
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from mtl.components.instantiate import instantiate
from mtl.config.run_config import ParameterGroupConfig, TrainerConfig
from mtl.data.columns import Rows
from mtl.errors import UsageError
from mtl.fields import Component
from mtl.model import MultitaskModel
from mtl.training.averages import WeightAverages
from mtl.training.checkpoint import as_weights, flatten_optimizer, restore_optimizer
from mtl.training.conflicts import GradientComparison
from mtl.training.loader import BatchLoader
from mtl.training.processes import Processes
from mtl.training.selection import Selection
from mtl.training.shared_forward import SharedForward
from mtl.training.state import PhaseStart
from mtl.training.timeline import Cursor, Timeline
from mtl.weights import Match, row_names, unique_tensors


@frozen(eq=False)
class Phase:
    """A phase, ready to begin.

    `tasks` are evaluated in it; those of them that it trains are in `timeline.batching`. `selection` says
    which evaluation is the best, `early_stopping` which improves. The modules in `frozen` and the
    parameters in `frozen_parameters` do not move.
    `groups` are parameters with optimizer settings of their own; of several groups of a parameter, the last
    that has a setting counts.
    """

    index: int
    name: str | None
    tasks: Sequence[str]
    timeline: Timeline
    selection: Selection
    early_stopping: Selection
    schedule: Component
    optimizer: Component
    lr_scheduler: Component
    frozen: Sequence[nn.Module] = ()
    frozen_parameters: Mapping[str, Sequence[nn.Parameter]] = field(factory=dict)
    groups: Sequence[tuple[ParameterGroupConfig, Sequence[nn.Parameter]]] = ()

    @property
    def title(self) -> str:
        """Its name, or its number."""
        return self.name or str(self.index)

    @property
    def lr_by_metric(self) -> bool:
        """Whether the rate follows the selecting metric instead of the steps."""
        return bool(self.lr_scheduler.config.by_metric)

    def make_optimizer(self, model: MultitaskModel) -> torch.optim.Optimizer:
        """Return a fresh optimizer of what the phase trains.

        Raises `UsageError` for a task that has nothing to train, or a weight decay that the optimizer lacks.
        """
        trained: dict[nn.Parameter, None] = {}
        for task in self.timeline.batching:
            own = [p for p in model.tasks[task].parameters() if p.requires_grad]
            if not own:
                phase = f" in phase {self.title}" if self.index or self.name else ""
                raise UsageError(
                    f"{task}: all its modules are frozen{phase}, so there is nothing to train; give it"
                    " weight 0, or leave one free"
                )
            trained |= dict.fromkeys(own)
        ordered = [p for p in model.parameters() if p in trained]
        if not self.groups:
            return instantiate(self.optimizer, ordered)  # type: ignore[no-any-return]
        return self._grouped(ordered)

    def _grouped(self, parameters: Sequence[nn.Parameter]) -> torch.optim.Optimizer:
        matches: dict[nn.Parameter, tuple[int, ...]] = dict.fromkeys(parameters, ())
        for index, (_, members) in enumerate(self.groups):
            for parameter in members:
                if parameter in matches:
                    matches[parameter] += (index,)
        members_of: dict[tuple[int, ...], list[nn.Parameter]] = {}
        for parameter, indices in matches.items():
            members_of.setdefault(indices, []).append(parameter)
        order = sorted(members_of)
        optimizer = instantiate(self.optimizer, [{"params": members_of[indices]} for indices in order])
        for indices, group in zip(order, optimizer.param_groups, strict=True):
            configs = [self.groups[index][0] for index in indices]
            factors = [config.lr_factor for config in configs if config.lr_factor is not None]
            decays = [config.weight_decay for config in configs if config.weight_decay is not None]
            if factors:
                group["lr"] *= factors[-1]
            if decays and "weight_decay" not in group:
                raise UsageError(f"`parameter_groups`: {self.optimizer.name} has no weight decay")
            if decays:
                group["weight_decay"] = decays[-1]
        return optimizer  # type: ignore[no-any-return]

    def make_lr_scheduler(self, optimizer: torch.optim.Optimizer) -> LRScheduler | ReduceLROnPlateau:
        """Return the scheduler of the phase's learning rate."""
        return instantiate(  # type: ignore[no-any-return]
            self.lr_scheduler,
            optimizer,
            total_steps=self.timeline.total_steps,
            higher_is_better=self.selection.higher_is_better,
        )

    def starting_at(self, start: PhaseStart) -> Phase:
        """Return the phase with the places in the data where it really started: an early stop may have ended
        the one before elsewhere than planned."""
        begin = {task: Cursor(*place) for task, place in start.places.items()}
        if start.index != self.index or begin in ({}, self.timeline.begin):
            return self
        return evolve(self, timeline=evolve(self.timeline, begin=begin))


@define(eq=False)
class ActivePhase:
    """A phase under way: its batches, and what updates the parameters.

    `first_step` counts the steps before the phase; `compared` holds the gradient comparisons that the last
    step completed.
    """

    phase: Phase
    first_step: int
    loader: BatchLoader
    shared: SharedForward
    optimizer: torch.optim.Optimizer
    lr_scheduler: LRScheduler | ReduceLROnPlateau
    averages: WeightAverages | None
    comparison: GradientComparison | None
    parameters: list[nn.Parameter]
    compared: list[dict[str, Any]] = field(factory=list)

    @classmethod
    def start(
        cls,
        phase: Phase,
        start: PhaseStart,
        *,
        model: MultitaskModel,
        rows: Mapping[str, Rows],
        config: TrainerConfig,
        device: torch.device,
        processes: Processes,
    ) -> Self:
        """Start a phase with a fresh optimizer. Raises `UsageError` if there is nothing to train."""
        phase = phase.starting_at(start)
        optimizer = phase.make_optimizer(model)
        batching, decay = phase.timeline.batching, config.average_decay
        # A compiled model calls no module of its own.
        modules = () if config.compile else [each.module for each in model.built if len(each.users) > 1]
        return cls(
            phase=phase,
            first_step=start.step,
            loader=BatchLoader(rows, batching, device, processes),
            shared=SharedForward(rows, batching, modules),
            optimizer=optimizer,
            lr_scheduler=phase.make_lr_scheduler(optimizer),
            averages=WeightAverages.of(model, decay) if decay is not None else None,
            comparison=GradientComparison.of(model, list(batching), config.compare_gradients_every),
            parameters=[p for group in optimizer.param_groups for p in group["params"]],
        )

    def averaged(self) -> AbstractContextManager[None]:
        """Evaluate inside with the averaged weights, if there are any."""
        return self.averages.in_place() if self.averages is not None else nullcontext()

    def checkpoint(self) -> tuple[dict[str, Mapping[str, Tensor]], dict[str, Any]]:
        """Return what the next step of the phase depends on: the tensors of each part, and JSON."""
        optimizer_tensors, optimizer = flatten_optimizer(self.optimizer)
        tensors: dict[str, Mapping[str, Tensor]] = {
            "optimizer": optimizer_tensors,
            "average": self.averages.averages if self.averages is not None else {},
            "comparison": self.comparison.tensors() if self.comparison is not None else {},
        }
        return tensors, {"optimizer": optimizer, "lr_scheduler": self.lr_scheduler.state_dict()}

    def restore(
        self,
        parts: Mapping[str, Mapping[str, Tensor]],
        state: Mapping[str, Any],
        model: MultitaskModel,
        match: Match,
        source: Path,
    ) -> None:
        """Restore a `checkpoint()` from the file `source`; `match` says which rows of the model have moved.

        Raises `ValueError` and others for what is not a state of this phase.
        """
        moved = {id(p): match.maps[name] for name, p in unique_tensors(model) if name in match.maps}
        restore_optimizer(self.optimizer, parts["optimizer"], state["optimizer"], moved)
        self.lr_scheduler.load_state_dict(dict(state["lr_scheduler"]))
        if self.averages is not None:
            stored = as_weights(parts["average"], state, source)
            self.averages.restore(stored, row_names(model))
        # Gradients of rows that have moved since cannot be compared with those to come.
        if self.comparison is not None and not match.maps:
            self.comparison.restore(parts["comparison"])
