"""Averaged weights: a smoother model than the last step's, at no cost in inference."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Self

import torch
from attrs import frozen
from torch import Tensor, nn

from mtl.weights import RowNames, Weights, copy_rows, match_rows


@frozen(eq=False)
class WeightAverages:
    """The exponential moving average of every trainable parameter (Polyak and Juditsky 1992).

    After step t the average moves by `1 - min(decay, (1 + t) / (10 + t))` of the way to the
    parameters, so that the first ones, far from the last, do not weigh on a short run.
    """

    decay: float
    parameters: Mapping[str, Tensor]
    averages: Mapping[str, Tensor]

    @classmethod
    def of(cls, model: nn.Module, decay: float) -> Self:
        """Return averages that start at the current parameters."""
        trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
        return cls(decay, trained, {name: p.detach().clone() for name, p in trained.items()})

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Update the averages after `step` steps."""
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(self.averages.values()), list(self.parameters.values()), 1 - decay)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Use the averages as the model's parameters inside."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    @torch.no_grad()
    def settle(self) -> None:
        """Copy the averages into the parameters."""
        for name, parameter in self.parameters.items():
            parameter.copy_(self.averages[name])

    @torch.no_grad()
    def _exchange(self) -> None:
        for name, parameter in self.parameters.items():
            kept = parameter.detach().clone()
            parameter.copy_(self.averages[name])
            self.averages[name].copy_(kept)

    def restore(self, stored: Weights, names: RowNames) -> None:
        """Restore the averages of a checkpoint; `names` are those of the model's rows."""
        copy_rows(self.averages, stored, match_rows(self.averages, names, stored))
