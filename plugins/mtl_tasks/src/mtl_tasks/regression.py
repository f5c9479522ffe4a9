"""Regression: a number for each row."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import polars as pl
import torch
from attrs import frozen
from torch import nn
from torch.nn import functional as F

from mtl import Batch, Builder, DataError, Dense, Features, Loss, Table, Task
from mtl.data.columns import Column
from mtl_tasks.config import RegressionTaskConfig
from mtl_tasks.encoder import TextEncoder, build_encoder
from mtl_tasks.regression_metrics import RegressionMetrics, RegressionOutput
from mtl_tasks.rows import prepare_texts


@frozen
class Scale:
    """How numbers are scaled: `mean` and `deviation` of the training rows, and the range of predictions."""

    mean: float = 0.0
    deviation: float = 1.0
    lowest: float = -math.inf
    highest: float = math.inf

    @classmethod
    def of(cls, frames: Iterable[pl.DataFrame], limits: list[float] | None) -> Scale:
        """Return the scale of the training rows' `score`."""
        count, total, squares, lowest, highest = 0, 0.0, 0.0, math.inf, -math.inf
        for frame in frames:
            scores = frame["score"]
            count += len(scores)
            total += float(scores.sum())
            squares += float((scores**2).sum())
            lowest = min(lowest, scores.min())  # type: ignore[type-var, assignment]
            highest = max(highest, scores.max())  # type: ignore[type-var, assignment]
        mean = total / count
        deviation = math.sqrt(max(squares / count - mean**2, 0.0))
        return cls(mean, deviation or 1.0, *(limits or (lowest, highest)))


class Regressor(nn.Module):
    """Predicts the scaled number of each row; the loss is that of scaled numbers."""

    def __init__(self, encoder: TextEncoder, decoder: nn.Module, scale: Scale, loss: str) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.scale = scale
        self.error = F.mse_loss if loss == "squared" else F.l1_loss

    def forward(self, batch: Batch) -> RegressionOutput:
        scaled = self.decoder(self.encoder(batch)).float().squeeze(-1)
        scores = scaled * self.scale.deviation + self.scale.mean
        loss = None
        if "score" in batch:
            target = ((batch["score"] - self.scale.mean) / self.scale.deviation).float()
            loss = Loss(self.error(scaled, target, reduction="sum"), len(target))
        return RegressionOutput(loss, scores.clamp(self.scale.lowest, self.scale.highest))


class RegressionTask(Task[RegressionTaskConfig]):
    """Predicts a number for one text or for a pair of texts."""

    def __init__(self, config: RegressionTaskConfig, *, name: str, features: Features) -> None:
        super().__init__(config, name=name, features=features)
        self.scale = Scale()

    def prepare(self, table: Table) -> pl.DataFrame:
        """Return the texts as words, `score` if the table has it, and `line`."""
        return prepare_texts(table, self.config, self.features)

    def fit(self, frames: Iterable[pl.DataFrame]) -> None:
        """Find mean, deviation and range of the training rows."""
        self.scale = Scale.of(frames, self.config.range)

    def encode(self, frame: pl.DataFrame) -> dict[str, Column]:
        """Return `score`, float64 `[rows]`, if the rows have one."""
        if "score" not in frame.columns:
            return {}
        return {"score": Dense(torch.tensor(frame["score"].to_numpy(), dtype=torch.float64))}

    def build_model(self, build: Builder) -> nn.Module:
        encoder, width = build_encoder(self.config, self.features, build)
        decoder = build(self.config.decoder, input_dim=width, output_dim=1)
        return Regressor(encoder, decoder, self.scale, self.config.loss)

    def metrics(self) -> RegressionMetrics:
        return RegressionMetrics()

    def predictions(self, output: RegressionOutput, batch: Batch) -> list[dict[str, Any]]:
        """Return the number of each row in the units of the data: `{"score": 3.2}`."""
        return [{"score": score} for score in output.scores.detach().cpu().double().tolist()]

    def state(self) -> dict[str, Any]:
        scale = self.scale
        return {"mean": scale.mean, "deviation": scale.deviation, "range": [scale.lowest, scale.highest]}

    def load_state(self, state: Mapping[str, Any]) -> None:
        limits = state.get("range")
        numbers = [state.get("mean"), state.get("deviation"), *(limits if isinstance(limits, list) else ())]
        if len(numbers) != 4 or not all(type(n) in (int, float) and math.isfinite(n) for n in numbers):
            raise DataError("`mean`, `deviation` and `range` must be four finite numbers")
        self.scale = Scale(*map(float, numbers))  # type: ignore[arg-type]
