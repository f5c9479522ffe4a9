"""Classification of rows with one text or more."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import polars as pl
import torch
from attrs import evolve
from torch import nn

from mtl import Batch, Builder, ConfigError, Dense, Features, Judgment, Rows, Table, Task
from mtl.data.columns import Column
from mtl_text.classification.config import ClassificationTaskConfig
from mtl_text.classification.labels import SeenLabels, number_labels, saved_labels, saved_weights
from mtl_text.classification.metrics import ClassificationMetrics
from mtl_text.classification.model import Classifier, ClassifierOutput
from mtl_text.documents.model import document_modules
from mtl_text.documents.rows import require_filled, split_rows

ConfigT = TypeVar("ConfigT", bound=ClassificationTaskConfig)


class ClassificationTask(Task[ConfigT]):
    """Assigns one of several labels to each row."""

    def __init__(self, config: ConfigT, *, name: str, features: Features) -> None:
        super().__init__(config, name=name, features=features)
        self.labels = list(config.labels)
        self.class_weights = {} if isinstance(config.class_weights, str) else dict(config.class_weights)
        self.known: list[str] = []
        self.unseen: list[str] = []
        self.ignored: dict[tuple[str, int], Counter[str]] = {}
        self.cut: dict[tuple[str, int], tuple[int, int]] = {}

    def prepare(self, table: Table) -> pl.DataFrame:
        """Return the texts as words, `label` if the table has it, `line` and `path`.

        Rows without a label are left out if the config says so. Raises `DataError` for a row without a word
        or, otherwise, without a label.
        """
        frame = split_rows(table, self.config, self.features)
        if "label" in frame.columns:
            label = pl.col("label").str.strip_chars()
            frame = frame.with_columns(
                label.replace(self.config.label_map) if self.config.label_map else label
            )
        return self._cut(self._labelled(frame))

    def _labelled(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Leave out the rows without a label, and count them."""
        if "label" in frame.columns:
            label = pl.col("label").fill_null("")
            nothing = [*self.config.ignore_labels, *([""] if self.config.ignore_empty_labels else [])]
            ignored = frame.filter(label.is_in(nothing))
            if len(ignored):
                counts = Counter(ignored.select(label).to_series().to_list())
                self.ignored[ignored["path"][0], ignored["line"][0]] = counts
            frame = frame.filter(~label.is_in(nothing))
        require_filled(frame, self.config.texts, "label")
        return frame

    def _cut(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Cut texts to `max_tokens`, and count what they lose."""
        most = self.config.max_tokens
        if most is None:
            return frame
        texts = self.config.texts
        excess = pl.concat([frame[name].list.len().cast(pl.Int64) - most for name in texts])
        lost = excess.filter(excess > 0)
        if len(lost):
            self.cut[frame["path"][0], frame["line"][0]] = len(lost), int(lost.sum())
        return frame.with_columns(pl.col(name).list.head(most) for name in texts)

    def start_from(self, state: Mapping[str, Any]) -> None:
        """Keep the labels of another run, before those of the training rows."""
        self.known = saved_labels(state)

    def fit(self, frames: Iterable[pl.DataFrame]) -> None:
        """Find the labels, unless the config gives them.

        Raises `DataError` if the training rows have no usable labels, `ConfigError` if other settings do
        not fit those found.
        """
        seen = SeenLabels.of(frames)
        seen.require_two()
        if self.config.labels:
            self.unseen = [label for label in self.labels if label not in seen.labels]
        else:
            self._take_labels(seen)
        if self.config.class_weights == "balanced":
            self.class_weights = seen.balanced_weights(self.labels)

    def _take_labels(self, seen: SeenLabels) -> None:
        """Take the labels that the training rows have, after those that are known already."""
        new = [label for label in seen.usable() if label not in self.known]
        self.labels = [*self.known, *new]
        problems = list(self.config.misfits(self.labels))
        if problems:
            here, _, _ = self.config.data.path.rpartition(".data")
            raise ConfigError([evolve(problem, path=f"{here}.{problem.path}") for problem in problems])

    def encode(self, frame: pl.DataFrame) -> dict[str, Column]:
        """Return `label`, int64 `[rows]`, if the rows have one."""
        if "label" not in frame.columns:
            return {}
        return {"label": Dense(torch.tensor(number_labels(frame, self.labels).to_numpy()))}

    def build_model(self, build: Builder) -> nn.Module:
        config = self.config
        weights = torch.tensor([self.class_weights.get(label, 1.0) for label in self.labels])
        return Classifier(
            **document_modules(
                config, self.features, build, output_dim=len(self.labels), output_names=self.labels
            ),
            class_weights=weights if self.class_weights else None,
            label_smoothing=config.label_smoothing,
        )

    def undefined_metrics(self, rows: Rows) -> Mapping[str, str]:
        labels = torch.unique(rows.columns["label"].values).tolist()
        if len(labels) > 1:
            return {}
        reason = f"all rows have the label {self.labels[labels[0]]}" if labels else "there are no rows"
        always = ("matthews_correlation", *(["roc_auc"] if len(self.labels) == 2 else []))
        return dict.fromkeys(always if labels else (*always, self.config.metric.name), reason)

    def metrics(self) -> ClassificationMetrics:
        return ClassificationMetrics(self.labels)

    def predictions(self, output: ClassifierOutput, batch: Batch) -> list[dict[str, Any]]:
        """Return the likeliest label of each row and the probability of each: `{"label": "1",
        "probabilities": {"0": 0.1, "1": 0.9}}`."""
        probabilities = output.scores.detach().cpu().double().softmax(dim=-1)
        best = probabilities.argmax(dim=-1).tolist()
        return [
            {"label": self.labels[place], "probabilities": dict(zip(self.labels, row, strict=True))}
            for place, row in zip(best, probabilities.tolist(), strict=True)
        ]

    def judgments(self, predictions: Sequence[Mapping[str, Any]], batch: Batch) -> list[Judgment]:
        gold = [self.labels[place] for place in batch["label"].tolist()]
        return [
            Judgment(label, each["label"], label == each["label"], each["probabilities"][each["label"]])
            for label, each in zip(gold, predictions, strict=True)
        ]

    def state(self) -> dict[str, Any]:
        weights = {"class_weights": self.class_weights} if self.config.class_weights == "balanced" else {}
        return {"labels": self.labels, **weights}

    def load_state(self, state: Mapping[str, Any]) -> None:
        self.labels = saved_labels(state)
        if self.config.class_weights == "balanced":
            self.class_weights = saved_weights(state, self.labels)

    def sampling_weights(self, rows: Rows) -> np.ndarray | None:
        """Return the weights of `class_sampling`."""
        power = {"natural": 0.0, "square-root": 0.5, "balanced": 1.0}[self.config.class_sampling]
        if not power:
            return None
        label = rows.columns["label"].values.numpy()
        weights: np.ndarray = np.bincount(label, minlength=len(self.labels))[label] ** -power
        return weights

    def label_counts(self, rows: Rows) -> dict[str, int]:
        """Return how many rows have each label."""
        column = rows.columns.get("label")
        if column is None:
            return {}
        numbers = column.values[column.values >= 0]
        counts = torch.bincount(numbers, minlength=len(self.labels)).tolist()
        return dict(zip(self.labels, counts, strict=True))

    def notices(self) -> list[str]:
        """Name labels that only the config has, rows without a label and words that were cut off."""
        unseen = [f"no training row has the label {label!r}" for label in self.unseen]
        return [*unseen, *self._ignored_rows(), *self._cut_words()]

    def _ignored_rows(self) -> Iterator[str]:
        for path in dict.fromkeys(path for path, _ in self.ignored):
            counts = sum((each for (file, _), each in self.ignored.items() if file == path), Counter[str]())
            rows = "1 row has" if counts.total() == 1 else f"{counts.total():,} rows have"
            shown = ", ".join(f"{label or 'empty'}: {count:,}" for label, count in counts.most_common())
            yield f"{path}: {rows} no label and are left out ({shown})"

    def _cut_words(self) -> Iterator[str]:
        for path in dict.fromkeys(path for path, _ in self.cut):
            cut = [each for (file, _), each in self.cut.items() if file == path]
            documents, words = (sum(numbers) for numbers in zip(*cut, strict=True))
            are = "1 document is" if documents == 1 else f"{documents:,} documents are"
            yield (
                f"{path}: {are} longer than `max_tokens` ({self.config.max_tokens:,}); {words:,} words were"
                " cut off"
            )
