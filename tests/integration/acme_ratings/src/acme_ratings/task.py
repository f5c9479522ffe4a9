"""The task."""

from collections.abc import Mapping
from typing import Any

import polars as pl
import torch
from torch import Tensor, nn

from acme_ratings.config import RatingTaskConfig
from acme_ratings.model import RatingModel, RatingOutput
from mtl import Batch, Builder, Dense, Metrics, Table, Task


class MeanSquaredError(Metrics[RatingOutput]):
    """The mean of the squared differences."""

    def __init__(self) -> None:
        self.total: Tensor | float = 0.0
        self.rows = 0

    def update(self, output: RatingOutput, batch: Batch) -> None:
        self.total = self.total + (output.ratings - batch["rating"]).square().sum()
        self.rows += len(batch)

    def state(self) -> dict[str, Tensor]:
        return {"total": torch.as_tensor(self.total), "rows": torch.tensor(self.rows)}

    def merge(self, state: Mapping[str, Tensor]) -> None:
        self.total = self.total + state["total"]
        self.rows += int(state["rows"])

    def compute(self) -> dict[str, Any]:
        return {"mean_squared_error": float(self.total) / self.rows if self.rows else None}


class RatingTask(Task[RatingTaskConfig]):
    """A number for a text."""

    def prepare(self, table: Table) -> pl.DataFrame:
        frame = table.frame.with_columns(text=self.features.split(table.frame["text"]))
        if "rating" not in frame.columns:
            return frame
        return frame.with_columns(pl.col("rating").cast(pl.Float32))

    def encode(self, frame: pl.DataFrame) -> dict[str, Dense]:
        return {"rating": Dense(torch.tensor(frame["rating"].to_list()))} if "rating" in frame.columns else {}

    def build_model(self, build: Builder) -> nn.Module:
        return RatingModel(self.config, self.features.build_embedding(build), build)

    def metrics(self) -> MeanSquaredError:
        return MeanSquaredError()

    def predictions(self, output: RatingOutput, batch: Batch) -> list[dict[str, Any]]:
        return [{"rating": rating} for rating in output.ratings.tolist()]
