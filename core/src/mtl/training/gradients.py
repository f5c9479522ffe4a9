"""The gradients of the tasks of one step, brought together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mtl.components import Balancer
from mtl.errors import component_errors

Gradients = dict[nn.Parameter, Tensor]


def pop_gradients(parameters: Sequence[nn.Parameter]) -> Gradients:
    """Return the gradients of the parameters and reset them to None."""
    gradients = {p: p.grad for p in parameters if p.grad is not None}
    for parameter in gradients:
        parameter.grad = None
    return gradients


def merge_gradients(
    parameters: Sequence[nn.Parameter],
    gradients: Sequence[Gradients],
    losses: Mapping[str, Tensor],
    balancer: Balancer[Any],
    *,
    scale: float,
    step: int,
) -> None:
    """Give the parameters the sum of the tasks' gradients.

    Where several tasks reach a parameter and the balancer combines gradients, it gets what the balancer
    makes of them. `gradients` are in the order of `losses`, and `scale` times too large. Raises
    `ComponentError` if the balancer fails.
    """
    reached = Counter(parameter for each in gradients for parameter in each)
    shared = [p for p in parameters if reached[p] > 1] if balancer.combines else []
    for each in gradients:
        for parameter in each.keys() - set(shared):
            before, gradient = parameter.grad, each[parameter]
            parameter.grad = gradient if before is None else before + gradient
    if not shared:
        return
    sizes = [p.numel() for p in shared]
    rows = torch.zeros(len(gradients), sum(sizes), device=shared[0].device)
    for row, each in zip(rows, gradients, strict=True):
        for parameter, target in zip(shared, torch.split(row, sizes), strict=True):
            if parameter in each:
                torch.div(each[parameter].flatten(), scale, out=target)
    with component_errors(balancer, f"to combine the gradients of step {step}"):
        combined = balancer.combine(rows, losses)
        if combined.shape != rows.shape[1:]:
            raise ValueError(f"it gave {list(combined.shape)} for {list(rows.shape[1:])}")
    for parameter, gradient in zip(shared, torch.split(combined, sizes), strict=True):
        parameter.grad = (gradient * scale).view_as(parameter).to(parameter.dtype)
