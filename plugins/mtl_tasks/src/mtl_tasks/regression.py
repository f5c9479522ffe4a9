"""Regression: a number for each row."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import polars as pl
import torch
from attrs import frozen
from torch import nn
from torch.nn import functional as F

from mtl import Batch, Builder, DataError, Dense, Features, Judgment, Loss, Table, Task
from mtl.data.columns import Column
from mtl_tasks.config import RegressionTaskConfig
from mtl_tasks.regression_metrics import RegressionMetrics, RegressionOutput
from mtl_text.documents.model import DocumentModel, document_modules
from mtl_text.documents.rows import require_filled, split_rows


@frozen
class Scale:
    """How numbers are scaled: `mean` and `deviation` of the training rows, and the range of predictions."""

    mean: float = 0.0
    deviation: float = 1.0
    lowest: float = -math.inf
    highest: float = math.inf

    @classmethod
    def of(cls, frames: Iterable[pl.DataFrame], limits: list[float] | None) -> Scale:
        """Return the scale of the training rows' `score`.

        Raises `DataError` for scores too far apart for a deviation.
        """
        path, scores = "", pl.Series(dtype=pl.Float64)
        for frame in frames:
            path = frame["path"][0]
            scores = scores.append(frame["score"])
        try:
            mean = math.fsum(scores) / len(scores)
            deviation = math.sqrt(math.fsum((scores - mean) ** 2) / len(scores))
        except OverflowError:
            deviation = math.inf
        if not math.isfinite(deviation):
            raise DataError(f"{path}: `score` must be numbers below 1e150, but some are larger")
        lowest, highest = limits or (float(scores.min()), float(scores.max()))  # type: ignore[arg-type]
        return cls(mean, deviation or 1.0, lowest, highest)


class Regressor(DocumentModel):
    """Predicts the scaled number of each row; the loss is that of scaled numbers."""

    def __init__(self, scale: Scale, loss: str, **modules: Any) -> None:
        super().__init__(**modules)
        self.scale = scale
        self.error = F.mse_loss if loss == "squared" else F.l1_loss

    def forward(self, batch: Batch) -> RegressionOutput:
        scaled = self.scores(batch).squeeze(-1)
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
        """Return the texts as words, `score` if the table has it, `line` and `path`.

        Raises `DataError` for a row without a word, or a score that is not finite.
        """
        frame = split_rows(table, self.config, self.features)
        require_filled(frame, self.config.texts)
        if "score" in frame.columns:
            wrong = frame.filter(~pl.col("score").is_finite())
            if len(wrong):
                path, line, score = wrong.select("path", "line", "score").row(0)
                raise DataError(f"{path}:{line}: `score` must be a finite number, but is {score}")
        return frame

    def fit(self, frames: Iterable[pl.DataFrame]) -> None:
        """Find mean, deviation and range of the training rows; see `Scale.of`."""
        self.scale = Scale.of(frames, self.config.range)

    def encode(self, frame: pl.DataFrame) -> dict[str, Column]:
        """Return `score`, float64 `[rows]`, if the rows have one."""
        if "score" not in frame.columns:
            return {}
        return {"score": Dense(torch.tensor(frame["score"].to_numpy(), dtype=torch.float64))}

    def build_model(self, build: Builder) -> nn.Module:
        modules = document_modules(self.config, self.features, build, output_dim=1)
        return Regressor(self.scale, self.config.loss, **modules)

    def metrics(self) -> RegressionMetrics:
        return RegressionMetrics()

    def predictions(self, output: RegressionOutput, batch: Batch) -> list[dict[str, Any]]:
        """Return the number of each row in the units of the data: `{"score": 3.2}`."""
        return [{"score": score} for score in output.scores.detach().cpu().double().tolist()]

    def judgments(self, predictions: Sequence[Mapping[str, Any]], batch: Batch) -> list[Judgment]:
        return [
            Judgment(gold, each["score"], None, distance=abs(gold - each["score"]))
            for gold, each in zip(batch["score"].tolist(), predictions, strict=True)
        ]

    def state(self) -> dict[str, Any]:
        scale = self.scale
        return {"mean": scale.mean, "deviation": scale.deviation, "range": [scale.lowest, scale.highest]}

    def load_state(self, state: Mapping[str, Any]) -> None:
        limits = state.get("range")
        numbers = [state.get("mean"), state.get("deviation"), *(limits if isinstance(limits, list) else ())]
        if len(numbers) != 4 or not all(type(n) in (int, float) and math.isfinite(n) for n in numbers):
            raise DataError("`mean`, `deviation` and `range` must be four finite numbers")
        self.scale = Scale(*map(float, numbers))
