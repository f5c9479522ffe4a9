"""What the data of a run looks like before it trains: labels, unknown words, rows in several splits."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch

from mtl.components import Split
from mtl.data.columns import Column, Dense, Rows
from mtl.suggest import as_number, marks_no_label

LABELS_SHOWN = 20
"""Labels of a split that a plan names, the most frequent first."""
FEW_ROWS = 5
"""A label of fewer training rows is noticed."""
MAJORITY = 0.95
"""A label of a larger share of the training rows is noticed."""
MANY_NUMBERS = 12
"""More labels that are all numbers look like a quantity."""
UNKNOWN_SHARE = 0.3
"""A larger share of unknown words in evaluation or test data is noticed."""
OVERLAP_SHARE = 0.1
"""A larger share of the words of evaluation or test data in rows that are training rows, too, is noticed: by
words, as the headings of a text return without harm."""
NAMED = 3
"""Examples in a notice."""

_TRUTH_VALUES = {"true": 1.0, "false": 0.0}

_SEPARATORS = re.compile(r"\s*[,;|+/]\s*")


def _percent(part: float) -> str:
    return f"{100 * part:.1f} %"


def label_summary(counts: Mapping[str, int]) -> dict[str, Any] | None:
    """Return the number of labels and the most frequent of them with their counts, as a plan shows them."""
    if not counts:
        return None
    ordered = sorted(counts, key=lambda label: -counts[label])
    return {"number": len(counts), "counts": {label: counts[label] for label in ordered[:LABELS_SHOWN]}}


def label_notices(counts: Mapping[str, int]) -> Iterator[str]:
    """Yield what is suspicious about the labels of the training rows, by their counts."""
    total = sum(counts.values())
    if not total:
        return
    for twins in _twins(counts):
        yield f"the labels {_with_counts(twins, counts)} may be meant to be the same"
    marks = [label for label in counts if counts[label] and marks_no_label(label)]
    if marks and len(counts) > len(marks):
        yield (
            f"{_with_counts(marks, counts)} may stand for no label; a classification task leaves out the rows"
            " of `ignore_labels`"
        )
    numbers = [label for label in counts if as_number(label) is not None]
    if len(numbers) > MANY_NUMBERS and len(numbers) == len(counts):
        yield f"all {len(numbers):,} labels are numbers; if they are quantities, this is a regression task"
    combined = [label for label in counts if _is_combination(label, counts)]
    if combined:
        yield (
            f"{_some(combined)} look{'s' if len(combined) == 1 else ''} like several labels in one;"
            " a multi-label task reads them apart"
        )
    rare = [label for label in counts if 0 < counts[label] < FEW_ROWS]
    if rare:
        rare.sort(key=lambda label: counts[label])
        what = "label has" if len(rare) == 1 else "labels have"
        yield f"{len(rare):,} {what} fewer than {FEW_ROWS} training rows: {_with_counts(rare, counts)}"
    label = max(counts, key=lambda label: counts[label])
    if counts[label] > MAJORITY * total and len(counts) > 1:
        part = _percent(counts[label] / total)
        yield f"{part} of the training rows have the label `{label}`: always predicting it looks good"


def _twins(labels: Mapping[str, int]) -> list[list[str]]:
    """Return the groups of labels that differ only in case, spaces, Unicode form or spelling of a value."""
    groups: dict[Any, list[str]] = {}
    for label in labels:
        number = as_number(label)
        plain = " ".join(unicodedata.normalize("NFKC", label).casefold().split())
        same = _TRUTH_VALUES.get(plain, plain) if number is None else number
        groups.setdefault(same, []).append(label)
    return [group for group in groups.values() if len(group) > 1]


def _is_combination(label: str, labels: Mapping[str, int]) -> bool:
    parts = _SEPARATORS.split(label)
    return len(parts) > 1 and all(part in labels for part in parts)


def _some(labels: list[str]) -> str:
    more = f" and {len(labels) - NAMED:,} more" if len(labels) > NAMED else ""
    return ", ".join(f"`{label}`" for label in labels[:NAMED]) + more


def _with_counts(labels: list[str], counts: Mapping[str, int]) -> str:
    more = f" and {len(labels) - NAMED:,} more" if len(labels) > NAMED else ""
    return ", ".join(f"`{label}` ({counts[label]:,})" for label in labels[:NAMED]) + more


def unknown_notices(statistics: Mapping[Split, Mapping[str, float]]) -> Iterator[str]:
    """Yield the shares of unknown words that are large in evaluation or test data."""
    for split in ("eval", "test"):
        for name, value in statistics.get(split, {}).items():
            owner, _, statistic = name.rpartition(".")
            if statistic == "unknown" and value > UNKNOWN_SHARE:
                trained = _percent(statistics["train"].get(name, 0.0))
                yield (
                    f"{_percent(value)} of the {split} data is unknown to {owner}, {trained} of the training"
                    " data; are its words split and written alike? Texts without spaces need a `tokenizer`"
                )


def overlap_notices(
    splits: Mapping[Split, Rows | None], statistics: Mapping[Split, Mapping[str, float]]
) -> Iterator[str]:
    """Yield which evaluation or test data holds training rows, by what the model reads of them."""
    train = splits["train"]
    known: np.ndarray | None = None
    for split in ("eval", "test"):
        rows = splits[split]
        if rows is None or train is None or not len(rows) or not len(train):
            continue
        if rows.path == train.path and np.array_equal(rows.lines, train.lines):
            yield f"the {split} data is the training data, {rows.path}; its metrics say nothing of new rows"
            continue
        unknown = [value for name, value in statistics.get(split, {}).items() if name.endswith(".unknown")]
        if max(unknown, default=0.0) > UNKNOWN_SHARE:
            continue  # unknown words look alike
        known = row_hashes(train) if known is None else known
        found = np.isin(row_hashes(rows), known)
        weights = rows.words if rows.words.any() else np.ones(len(rows))
        if weights[found].sum() > OVERLAP_SHARE * weights.sum():
            part = _percent(float(found.mean()))
            yield f"{part} of the rows of the {split} data, {rows.path}, are training rows"


def row_hashes(rows: Rows) -> np.ndarray:
    """Return a 64-bit hash of each row's columns, `[rows]`: equal rows have equal ones."""
    total = np.zeros(len(rows), np.uint64)
    with np.errstate(over="ignore"):
        for name, column in sorted(rows.columns.items()):
            salt = np.uint64(int.from_bytes(name.encode()[-8:].ljust(8, b"\0"), "little"))
            total = _mix(total ^ _mix(_column_hashes(column) + salt))
    return total


def _column_hashes(column: Column) -> np.ndarray:
    """Return a hash of each row of a column, `[rows]`, in which the order of items counts."""
    values = column.values.reshape(len(column.values), -1) if len(column.values) else column.values
    items = _item_hashes(values)
    if isinstance(column, Dense):
        return items
    offsets = column.offsets.numpy()
    lengths = np.diff(offsets)
    places = np.arange(len(items), dtype=np.uint64) - np.repeat(offsets[:-1].astype(np.uint64), lengths)
    sums = np.concatenate([[np.uint64(0)], np.cumsum(_mix(items + _mix(places)), dtype=np.uint64)])
    return _mix(sums[offsets[1:]] - sums[offsets[:-1]] + lengths.astype(np.uint64))


def _item_hashes(values: torch.Tensor) -> np.ndarray:
    if not len(values):
        return np.zeros(0, np.uint64)
    numbers = values.double() if values.is_floating_point() else values.long()
    bits = numbers.contiguous().numpy().view(np.uint64)
    hashes = np.zeros(len(bits), np.uint64)
    for place in range(bits.shape[1]):
        hashes = _mix(hashes ^ bits[:, place])
    return hashes


def _mix(values: np.ndarray) -> np.ndarray:
    """Return the finalizer of SplitMix64 of each value."""
    mixed = values + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(mixed ^ (mixed >> np.uint64(31)))
