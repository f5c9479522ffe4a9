"""Several labels per row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import polars as pl
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mtl import Batch, Builder, DataError, Dense, Features, Judgment, Loss, Rows, Table, Task
from mtl.data.columns import Column
from mtl_tasks.config import MultiLabelTaskConfig
from mtl_tasks.multi_label_metrics import MultiLabelMetrics, MultiLabelOutput
from mtl_text.documents.model import DocumentModel, document_modules
from mtl_text.documents.rows import require_filled, split_rows


class MultiLabelModel(DocumentModel):
    """Scores each label of a row by itself; a label is given from its threshold on.

    `thresholds` are probabilities, `[labels]`, saved with the weights.
    """

    thresholds: Tensor

    def __init__(self, labels: Sequence[str], **modules: Any) -> None:
        super().__init__(**modules)
        self.labels = tuple(labels)
        self.register_buffer("thresholds", torch.full((len(labels),), 0.5))

    def forward(self, batch: Batch) -> MultiLabelOutput:
        scores = self.scores(batch)
        loss = None
        if "labels" in batch:
            total = F.binary_cross_entropy_with_logits(scores, batch["labels"].float(), reduction="sum")
            loss = Loss(total / scores.shape[1], len(scores))
        return MultiLabelOutput(loss, scores.sigmoid(), self.thresholds)

    def row_names(self) -> dict[str, tuple[str, ...]]:
        """Return whose threshold is where."""
        return {"thresholds": self.labels}


class MultiLabelTask(Task[MultiLabelTaskConfig]):
    """Gives each text, or each pair, any number of labels."""

    def __init__(self, config: MultiLabelTaskConfig, *, name: str, features: Features) -> None:
        super().__init__(config, name=name, features=features)
        self.labels = list(config.labels or config.label_columns)
        self.known: list[str] = []

    def start_from(self, state: Mapping[str, Any]) -> None:
        """Keep the labels of another run, before those of the training rows."""
        self.known = _saved(state)

    def prepare(self, table: Table) -> pl.DataFrame:
        """Return the texts as words, `labels` (`list[str]`) if the table has them, `line` and `path`."""
        frame = split_rows(table, self.config, self.features)
        require_filled(frame, self.config.texts)
        columns = self.config.label_columns
        if columns and set(columns) <= set(frame.columns):
            return _listed(frame, columns)
        if "labels" not in frame.columns:
            return frame
        stripped = pl.col("labels").fill_null([]).list.eval(pl.element().str.strip_chars())
        filled = stripped.list.eval(pl.element().filter(pl.element() != ""))
        return frame.with_columns(filled.list.unique(maintain_order=True))

    def fit(self, frames: Iterable[pl.DataFrame]) -> None:
        """Find the labels, unless the config gives them. Raises `DataError` if no row has one."""
        if self.labels:
            return
        found: set[str] = set()
        path = ""
        for frame in frames:
            found.update(frame["labels"].explode().drop_nulls().unique())
            path = frame["path"][0]
        if not found:
            raise DataError(f"{path}: `labels` must have at least one label, but all rows have none")
        self.labels = [*self.known, *sorted(found.difference(self.known))]

    def encode(self, frame: pl.DataFrame) -> dict[str, Column]:
        """Return `labels`, uint8 `[rows, labels]`, if the rows have them.

        Raises `DataError` with file and line for a label that is not known.
        """
        if "labels" not in frame.columns:
            return {}
        places = {label: place for place, label in enumerate(self.labels)}
        known = pl.element().is_in(self.labels)
        unknown = frame.filter(~pl.col("labels").list.eval(known).list.all())
        if len(unknown):
            label = next(label for label in unknown["labels"][0] if label not in places)
            listed = ", ".join(self.labels[:10])
            raise DataError(
                f"{unknown['path'][0]}:{unknown['line'][0]}: a label must be one of the task's labels, but is"
                f" {label!r} (known: {listed})"
            )
        targets = torch.zeros(len(frame), len(self.labels), dtype=torch.uint8)
        pairs = frame.select("labels").with_row_index("row").explode("labels").drop_nulls()
        columns = pairs["labels"].replace_strict(places, return_dtype=pl.Int64).to_numpy()
        targets[torch.tensor(pairs["row"].to_numpy()).long(), torch.tensor(columns)] = 1
        return {"labels": Dense(targets)}

    def build_model(self, build: Builder) -> nn.Module:
        modules = document_modules(
            self.config, self.features, build, output_dim=len(self.labels), output_names=self.labels
        )
        return MultiLabelModel(self.labels, **modules)

    def metrics(self) -> MultiLabelMetrics:
        return MultiLabelMetrics(self.labels)

    def calibrate(self, model: nn.Module, metrics: MultiLabelMetrics) -> None:
        """Set each label's threshold to that of the best F1 on the evaluation rows, unless the config
        says not to."""
        if self.config.fit_thresholds and isinstance(model, MultiLabelModel):
            metrics.thresholds = metrics.fitted_thresholds()
            with torch.no_grad():
                model.thresholds.copy_(metrics.thresholds)

    def predictions(self, output: MultiLabelOutput, batch: Batch) -> list[dict[str, Any]]:
        """Return the labels of each row and the probability of each label: `{"labels": ["rude"],
        "probabilities": {"ok": 0.1, "rude": 0.9}}`."""
        probabilities = output.probabilities.detach().cpu()
        given = (probabilities >= output.thresholds.cpu()).tolist()
        return [
            {
                "labels": [label for label, is_given in zip(self.labels, flags, strict=True) if is_given],
                "probabilities": dict(zip(self.labels, row, strict=True)),
            }
            for flags, row in zip(given, probabilities.double().tolist(), strict=True)
        ]

    def judgments(self, predictions: Sequence[Mapping[str, Any]], batch: Batch) -> list[Judgment]:
        """Return whether the labels of each row are right, all of them."""
        flags = batch["labels"].tolist()
        gold = [[label for label, on in zip(self.labels, row, strict=True) if on] for row in flags]
        return [
            Judgment(labels, each["labels"], labels == each["labels"])
            for labels, each in zip(gold, predictions, strict=True)
        ]

    def state(self) -> dict[str, Any]:
        return {"labels": self.labels}

    def load_state(self, state: Mapping[str, Any]) -> None:
        self.labels = _saved(state)

    def label_counts(self, rows: Rows) -> dict[str, int]:
        """Return how many rows have each label."""
        column = rows.columns.get("labels")
        if column is None:
            return {}
        return dict(zip(self.labels, column.values.sum(dim=0, dtype=torch.int64).tolist(), strict=True))


def _saved(state: Mapping[str, Any]) -> list[str]:
    labels = state.get("labels")
    if not isinstance(labels, list) or not labels or not all(isinstance(each, str) for each in labels):
        raise DataError("`labels` must be a list of strings")
    return labels


def _listed(frame: pl.DataFrame, columns: list[str]) -> pl.DataFrame:
    """Make one list of labels of a column per label. Raises `DataError` for a cell that is not 0 or 1."""
    for name in columns:
        wrong = frame.filter(~pl.col(name).is_in([0, 1]))
        if len(wrong):
            raise DataError(
                f"{wrong['path'][0]}:{wrong['line'][0]}: `{name}` must be 0 or 1, but is {wrong[name][0]}"
            )
    given = [pl.when(pl.col(name) == 1).then(pl.lit(name)) for name in columns]
    return frame.with_columns(pl.concat_list(given).list.drop_nulls().alias("labels"))
