"""Labels of a classification task: found in training rows, and as numbers."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import polars as pl
from attrs import frozen

from mtl import DataError
from mtl.suggest import marks_no_label
from mtl_text.classification.config import known_labels

MOST_LABELS_FOUND = 1000
MOST_LABELS_LISTED = 100
"""More labels than this are not listed in a config by hand."""
NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")


@frozen
class SeenLabels:
    """The labels of the training rows of `path` and how many rows have each, in order of appearance."""

    counts: Mapping[str, int]
    path: str

    @property
    def labels(self) -> list[str]:
        """The distinct labels."""
        return list(self.counts)

    @property
    def rows(self) -> int:
        """The number of rows."""
        return sum(self.counts.values())

    @classmethod
    def of(cls, frames: Iterable[pl.DataFrame]) -> SeenLabels:
        """Return those of prepared rows (`label`, `path`)."""
        counts, path = Counter[str](), ""
        for frame in frames:
            found = frame["label"]
            counts.update(dict.fromkeys(found.unique(maintain_order=True), 0))
            counts.update(dict(found.value_counts().iter_rows()))
            path = frame["path"][0]
        return cls(counts, path)

    def balanced_weights(self, labels: Sequence[str]) -> dict[str, float]:
        """Return a weight for each label with which all rows of a label weigh as much as those of any other,
        and a row 1 on average; 1 for a label that no row has."""
        present = [label for label in labels if self.counts.get(label)]
        rows = sum(self.counts[label] for label in present)
        return {
            label: rows / (len(present) * self.counts[label]) if label in present else 1.0 for label in labels
        }

    def usable(self) -> list[str]:
        """Return all of them: numbers by value, else alphabetically.

        Raises `DataError` if the column does not look like one of labels.
        """
        if len(self.labels) > min(MOST_LABELS_FOUND, max(20, self.rows // 2)):
            advice = "if they are right, list them in the task's `labels`"
            if len(self.labels) > MOST_LABELS_LISTED:
                advice = "if another column holds them, name it in the data source's `columns`"
            raise DataError(
                f"{self.path}: `label` must be a column of labels, but it has {len(self.labels)} different"
                f" values in {self.rows} rows, such as {self.labels[0]!r}"
                f" ({advice})"
            )
        return sort_labels(self.labels)

    def require_two(self) -> None:
        """Raise `DataError` if all training rows have the same label."""
        if len(self.labels) < 2:
            raise DataError(
                f"{self.path}: `label` must have at least two values to train on,"
                f" but all rows say {self.labels[0]!r}"
            )


def saved_weights(state: Mapping[str, Any], labels: Sequence[str]) -> dict[str, float]:
    """Return the weights of labels that a task saved. Raises `DataError` for anything else."""
    weights = state.get("class_weights")
    if (
        isinstance(weights, dict)
        and set(weights) == set(labels)
        and all(type(weight) in (int, float) and 0 < weight < float("inf") for weight in weights.values())
    ):
        return weights
    raise DataError("`class_weights` must be a positive number for each label")


def saved_labels(state: Mapping[str, Any]) -> list[str]:
    """Return the labels that a task saved. Raises `DataError` for anything else."""
    labels = state.get("labels")
    if (
        isinstance(labels, list)
        and all(isinstance(label, str) for label in labels)
        and len(set(labels)) == len(labels) >= 2
    ):
        return labels
    raise DataError("`labels` must be a list of at least two different strings")


def sort_labels(labels: Sequence[str]) -> list[str]:
    """Return labels by value if all are numbers, else alphabetically."""
    if all(NUMBER.fullmatch(label) for label in labels):
        return sorted(labels, key=lambda label: (float(label), label))
    return sorted(labels)


def number_labels(frame: pl.DataFrame, labels: Sequence[str]) -> pl.Series:
    """Return each row's label as its position in `labels`, int64 `[rows]`.

    Raises `DataError` with file and line of the first row whose label is not among them.
    """
    places = pl.DataFrame(
        {"label": labels, "place": range(len(labels))}, schema={"label": pl.String, "place": pl.Int64}
    )
    numbered = frame.join(places, on="label", how="left", maintain_order="left")
    unknown = numbered.filter(pl.col("place").is_null())
    if len(unknown):
        path, line, label = unknown.select("path", "line", "label").row(0)
        more = f", and so for {len(unknown) - 1} more rows" if len(unknown) > 1 else ""
        if marks_no_label(label) or label == "-1":
            ignore = f"{label!r} often stands for no label: if so, list it in `ignore_labels`"
        else:
            ignore = "list it in `ignore_labels` if it stands for no label"
        raise DataError(
            f"{path}:{line}: `label` must be one of the task's labels, but is {label!r}{more}"
            f" ({known_labels(label, labels)}; {ignore})"
        )
    return numbered["place"]
