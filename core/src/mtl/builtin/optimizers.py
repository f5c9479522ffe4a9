"""torch's optimizers, in their fused form where the device has one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import attrs
import torch
from torch import nn

from mtl.builtin.config import AdamConfig, AdamWConfig, SGDConfig


def Adam(config: AdamConfig, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:  # noqa: N802
    """`torch.optim.Adam`."""
    return torch.optim.Adam(parameters, **_settings(config), fused=True)


def AdamW(config: AdamWConfig, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:  # noqa: N802
    """`torch.optim.AdamW`."""
    return torch.optim.AdamW(parameters, **_settings(config), fused=True)


def _settings(config: AdamConfig | AdamWConfig) -> dict[str, Any]:
    """The config's fields, which are called as torch's arguments."""
    return attrs.asdict(config) | {"betas": tuple(config.betas)}


def SGD(config: SGDConfig, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:  # noqa: N802
    """`torch.optim.SGD`."""
    # Fused, it fails where a parameter gets its first gradient later than others, as a task's own do.
    return torch.optim.SGD(parameters, **attrs.asdict(config), foreach=True)
