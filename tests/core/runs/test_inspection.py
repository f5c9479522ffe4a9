"""What is noticed about labels, unknown words and rows that are in several splits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mtl.data.columns import Dense, Ragged, Rows
from mtl.runs.inspection import (
    label_notices,
    label_summary,
    overlap_notices,
    row_hashes,
    unknown_notices,
)

COUNTS = st.dictionaries(st.text(max_size=6), st.integers(0, 1000), max_size=40)


@given(COUNTS)
def test_any_labels_are_looked_at(counts: dict[str, int]) -> None:
    assert all(isinstance(notice, str) for notice in label_notices(counts))
    summary = label_summary(counts)
    assert (summary is None) == (not counts)
    if summary:
        shown = list(summary["counts"].values())
        assert summary["number"] == len(counts) and shown == sorted(counts.values(), reverse=True)[:20]


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (("0", "0.0"), "the labels `0` (50), `0.0` (51) may be meant to be the same"),
        (("Pos", "pos", "POS"), "`Pos` (50), `pos` (51), `POS` (52)"),
        (("a b", "a  b"), "may be meant to be the same"),
        (("caf\u00e9", "cafe\u0301"), "may be meant to be the same"),
        (("1", "True"), "may be meant to be the same"),
        (("1", "\uff11"), "may be meant to be the same"),
        (("ok", "rude", "ok,rude"), "`ok,rude` looks like several labels in one"),
        (tuple(f"{n / 7:.3f}" for n in range(20)), "all 20 labels are numbers; if they are quantities"),
    ],
)
def test_labels_that_are_probably_not_meant_are_noticed(labels: tuple[str, ...], said: str) -> None:
    assert said in "\n".join(label_notices({label: 50 + n for n, label in enumerate(labels)}))


def test_rare_labels_and_a_majority_are_noticed() -> None:
    assert list(label_notices({"a": 98, "b": 2})) == [
        "1 label has fewer than 5 training rows: `b` (2)",
        "98.0 % of the training rows have the label `a`: always predicting it looks good",
    ]
    assert list(label_notices({"0": 50, "1": 50})) == []
    assert list(label_notices({"positive": 50, "negative": 45, "neutral": 30})) == []


@pytest.mark.parametrize("mark", ["-", "?", "N/A", "NULL", "nan", "(none)"])
def test_a_mark_of_rows_without_a_label_is_noticed(mark: str) -> None:
    said = f"`{mark}` (7) may stand for no label"
    assert said in "\n".join(label_notices({"pos": 50, "neg": 50, mark: 7}))
    assert said not in "\n".join(label_notices({"pos": 50, "neg": 50, "-1": 7, "n": 7, mark: 0}))


def test_unknown_words_of_evaluation_data_are_noticed_above_a_share() -> None:
    statistics: Any = {"train": {"word_feat.unknown": 0.0}, "eval": {"word_feat.unknown": 1.0}, "test": {}}
    [notice] = unknown_notices(statistics)
    assert notice.startswith("100.0 % of the eval data is unknown to word_feat, 0.0 % of the training data")
    statistics["eval"] = {"word_feat.unknown": 0.29, "char_feat.truncated": 0.9}
    assert list(unknown_notices(statistics)) == []


ROWS = st.lists(
    st.tuples(st.lists(st.integers(0, 5), max_size=4), st.integers(0, 2)), min_size=1, max_size=20
)


def make(rows: list[tuple[list[int], int]], path: str = "x") -> Rows:
    offsets = torch.tensor(np.cumsum([0, *(len(words) for words, _ in rows)]))
    words = torch.tensor([word for each, _ in rows for word in each], dtype=torch.int32)
    labels = torch.tensor([label for _, label in rows])
    columns: Any = {"text.word_feat.ids": Ragged(words, offsets), "label": Dense(labels)}
    counts = np.array([len(words) for words, _ in rows])
    return Rows(columns, np.arange(1, len(rows) + 1), path, words=counts)


@given(ROWS)
def test_equal_rows_have_equal_hashes_and_others_have_not(rows: list[tuple[list[int], int]]) -> None:
    hashes = row_hashes(make(rows))
    for one, first in zip(rows, hashes, strict=True):
        for other, second in zip(rows, hashes, strict=True):
            assert (first == second) == (one == other)


@given(ROWS, ROWS)
def test_the_share_of_training_rows_is_that_of_a_plain_count(
    train: list[tuple[list[int], int]], other: list[tuple[list[int], int]]
) -> None:
    splits: Any = {"train": make(train, "train"), "eval": make(other, "eval"), "test": None}
    shared = sum(row in train for row in other) / len(other)
    weights = [len(words) for words, _ in other]
    weights = weights if any(weights) else [1] * len(other)
    notices = list(overlap_notices(splits, {}))
    in_train = sum(weight for row, weight in zip(other, weights, strict=True) if row in train)
    assert len(notices) == (in_train > 0.1 * sum(weights))
    assert all(notice.startswith(f"{100 * shared:.1f} % of the rows of the eval data") for notice in notices)


def test_headings_that_return_are_no_overlap() -> None:
    train = [([1], 0), ([2], 0), (list(range(40)), 0)]
    splits: Any = {"train": make(train, "train"), "eval": make([*train[:2], (list(range(1, 41)), 0)])}
    assert list(overlap_notices({**splits, "test": None}, {})) == []


def test_the_training_file_itself_is_noticed() -> None:
    rows = make([([1], 0)], "train.tsv")
    splits: Any = {"train": rows, "eval": rows, "test": None}
    assert list(overlap_notices(splits, {})) == [
        "the eval data is the training data, train.tsv; its metrics say nothing of new rows"
    ]
