"""torch's optimizers, in their fused form where the device has one."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import TypeVar, cast

import torch
from torch import nn

from mtl.builtin.config import AdamConfig, AdamWConfig, SGDConfig

_Optimizer = TypeVar("_Optimizer", bound=torch.optim.Optimizer)


def _uncompiled(optimizer: type[_Optimizer]) -> type[_Optimizer]:
    """Return one of torch's optimizers without what prepares its methods for `torch.compile`.

    Nothing compiles them here, and the first call of any of them would import the whole compiler, which
    takes longer than all else between the command and the first step.
    """
    methods = {
        name: inspect.unwrap(getattr(optimizer, name))
        for name in ("add_param_group", "load_state_dict", "state_dict", "step", "zero_grad")
    }
    methods["step"] = torch.no_grad()(methods["step"])
    return cast(type[_Optimizer], type(optimizer.__name__, (optimizer,), methods))


_Adam = _uncompiled(torch.optim.Adam)
_AdamW = _uncompiled(torch.optim.AdamW)
_SGD = _uncompiled(torch.optim.SGD)


def Adam(config: AdamConfig, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:  # noqa: N802
    """Return `torch.optim.Adam`."""
    return _Adam(
        parameters,
        lr=config.lr,
        betas=(config.betas[0], config.betas[1]),
        eps=config.eps,
        weight_decay=config.weight_decay,
        fused=True,
    )


def AdamW(config: AdamWConfig, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:  # noqa: N802
    """Return `torch.optim.AdamW`."""
    return _AdamW(
        parameters,
        lr=config.lr,
        betas=(config.betas[0], config.betas[1]),
        eps=config.eps,
        weight_decay=config.weight_decay,
        fused=True,
    )


def SGD(config: SGDConfig, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:  # noqa: N802
    """Return `torch.optim.SGD`."""
    # Fused, it fails where a parameter gets its first gradient later than others, as a task's own do.
    return _SGD(
        parameters,
        lr=config.lr,
        momentum=config.momentum,
        nesterov=config.nesterov,
        weight_decay=config.weight_decay,
        foreach=True,
    )
