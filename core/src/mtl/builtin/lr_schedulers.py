"""Learning-rate schedulers, as torch's own objects."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau

from mtl.builtin.config import ConstantConfig, CosineConfig, LinearConfig, ReduceOnPlateauConfig, WarmupConfig


class _LambdaLR(LambdaLR):
    """Torch's, without its checks of who calls it: they take 1 % of a small step, and warn where a loss
    scaler leaves out the first."""

    def step(self, epoch: int | None = None) -> None:
        assert epoch is None
        self._step_count += 1
        self.last_epoch += 1
        groups = self.optimizer.param_groups
        for group, rate, share in zip(groups, self.base_lrs, self.lr_lambdas, strict=True):
            group["lr"] = rate * share(self.last_epoch)
        self._last_lr = [group["lr"] for group in groups]


def _warmed_up(
    config: WarmupConfig, optimizer: Optimizer, total_steps: int, share: Callable[[float], float]
) -> LambdaLR:
    """Return a scheduler with a warm-up, then the rate times `share` of the progress in [0, 1]."""
    warmup = config.warmup(total_steps)

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / (warmup + 1)
        left = max(total_steps - 1 - warmup, 1)
        return share(min((step - warmup) / left, 1.0))

    return _LambdaLR(optimizer, factor)


def Constant(  # noqa: N802
    config: ConstantConfig, optimizer: Optimizer, *, total_steps: int, higher_is_better: bool
) -> LambdaLR:
    """Return a constant rate after the warm-up."""
    return _warmed_up(config, optimizer, total_steps, lambda _: 1.0)


def Linear(  # noqa: N802
    config: LinearConfig, optimizer: Optimizer, *, total_steps: int, higher_is_better: bool
) -> LambdaLR:
    """Return a straight line from the full rate to `final_share` of it at the last step."""
    low = config.final_share
    return _warmed_up(config, optimizer, total_steps, lambda way: 1 - way * (1 - low))


def Cosine(  # noqa: N802
    config: CosineConfig, optimizer: Optimizer, *, total_steps: int, higher_is_better: bool
) -> LambdaLR:
    """Half a cosine from the full rate to `final_share` of it (Loshchilov and Hutter 2017)."""
    low = config.final_share
    return _warmed_up(
        config, optimizer, total_steps, lambda way: low + (1 - low) * (1 + math.cos(math.pi * way)) / 2
    )


class _ReduceLROnPlateau(ReduceLROnPlateau):
    """Torch's, with a state that is strict JSON: before the first value its best one is infinite."""

    def state_dict(self) -> dict[str, Any]:
        state = {name: value for name, value in super().state_dict().items() if name != "mode_worse"}
        return {**state, "best": state["best"] if math.isfinite(state["best"]) else None}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        best = state_dict["best"]
        super().load_state_dict({**state_dict, "best": self.mode_worse if best is None else best})


def ReduceOnPlateau(  # noqa: N802
    config: ReduceOnPlateauConfig, optimizer: Optimizer, *, total_steps: int, higher_is_better: bool
) -> ReduceLROnPlateau:
    """Return `torch.optim.lr_scheduler.ReduceLROnPlateau`, in the direction of what selects the best
    model."""
    return _ReduceLROnPlateau(
        optimizer,
        mode="max" if higher_is_better else "min",
        factor=config.factor,
        patience=config.patience,
        min_lr=config.minimum_lr,
        eps=0.0,
    )
