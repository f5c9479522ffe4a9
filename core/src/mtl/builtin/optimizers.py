"""torch's optimizers, in their fused form where the device has one."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from mtl.builtin.config import AdamConfig, AdamWConfig, SGDConfig


def Adam(config: AdamConfig, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:  # noqa: N802
    """`torch.optim.Adam`."""
    return torch.optim.Adam(
        parameters,
        lr=config.lr,
        betas=(config.betas[0], config.betas[1]),
        eps=config.eps,
        weight_decay=config.weight_decay,
        fused=True,
    )


def AdamW(config: AdamWConfig, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:  # noqa: N802
    """`torch.optim.AdamW`."""
    return torch.optim.AdamW(
        parameters,
        lr=config.lr,
        betas=(config.betas[0], config.betas[1]),
        eps=config.eps,
        weight_decay=config.weight_decay,
        fused=True,
    )


def SGD(config: SGDConfig, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:  # noqa: N802
    """`torch.optim.SGD`."""
    # Fused, it fails where a parameter gets its first gradient later than others, as a task's own do.
    return torch.optim.SGD(
        parameters,
        lr=config.lr,
        momentum=config.momentum,
        nesterov=config.nesterov,
        weight_decay=config.weight_decay,
        foreach=True,
    )
