"""Perplexity, weighted by predictions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from mtl import Batch, Metrics
from pytext_plugins_lm.model import LMOutput


class LMMetrics(Metrics[LMOutput]):
    """Perplexity over all predictions, and by direction if there are two."""

    def __init__(self, readings: Sequence[str]) -> None:
        self.totals: dict[str, Tensor] = {name: torch.zeros((), dtype=torch.float64) for name in readings}
        self.counts = dict.fromkeys(readings, 0)

    def update(self, output: LMOutput, batch: Batch) -> None:
        for name, reading in output.readings.items():
            total = reading.losses.sum(dtype=torch.float64)
            self.totals[name] = self.totals[name].to(total.device) + total
            self.counts[name] += len(reading.losses)

    def state(self) -> dict[str, Tensor]:
        return {
            **{f"total.{name}": total for name, total in self.totals.items()},
            **{f"count.{name}": torch.tensor(count) for name, count in self.counts.items()},
        }

    def merge(self, state: Mapping[str, Tensor]) -> None:
        for name in self.totals:
            total = state[f"total.{name}"]
            self.totals[name] = self.totals[name].to(total.device) + total
            self.counts[name] += int(state[f"count.{name}"])

    def compute(self) -> dict[str, Any]:
        return perplexities({name: (total.item(), self.counts[name]) for name, total in self.totals.items()})


def perplexities(sums: Mapping[str, tuple[float, int]]) -> dict[str, Any]:
    """Return metrics from the negative log-probability and number of the predictions of each direction.

    `perplexity` weighs all predictions equally; `tokens` is their number.
    """
    total, count = (sum(part) for part in zip(*sums.values(), strict=True))
    directions = sums if len(sums) > 1 else {}
    return {
        "perplexity": perplexity(total, int(count)),
        **{f"perplexity_{name}": perplexity(*sums[name]) for name in directions},
        "tokens": count,
    }


def perplexity(total: float, count: int) -> float | None:
    """Return `exp(total / count)`; None if nothing was predicted or it overflows."""
    try:
        value = math.exp(total / count)
    except (ZeroDivisionError, OverflowError):
        return None
    return value if math.isfinite(value) else None
