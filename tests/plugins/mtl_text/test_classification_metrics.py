"""The metrics of a classifier, against torchmetrics and against their definitions."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import Tensor
from torchmetrics.functional import classification as reference

from mtl import Batch
from mtl_text.classification.metrics import (
    MOST_LABELS_SHOWN,
    ClassificationMetrics,
    matthews_correlation,
    roc_auc,
)
from mtl_text.classification.model import ClassifierOutput

NAMES = ["a", "b", "c", "d"]


def batch_of(label: Tensor) -> Batch:
    return Batch({"label": label}, {}, torch.arange(len(label)), 0)


def computed(scores: Tensor, label: Tensor, labels: list[str], batch_size: int = 1000) -> dict[str, Any]:
    metrics = ClassificationMetrics(labels)
    for some_scores, some_label in zip(scores.split(batch_size), label.split(batch_size), strict=True):
        metrics.update(ClassifierOutput(loss=None, scores=some_scores), batch_of(some_label))
    return metrics.compute()


@st.composite
def scored(draw: st.DrawFn, sizes: st.SearchStrategy[int]) -> tuple[Tensor, Tensor]:
    """Scores `[rows, labels]` with few different values, so that ties occur, and true labels `[rows]`."""
    size, rows = draw(sizes), draw(st.integers(1, 12))
    values = st.lists(st.integers(-2, 2), min_size=size, max_size=size)
    scores = draw(st.lists(values, min_size=rows, max_size=rows))
    label = draw(st.lists(st.integers(0, size - 1), min_size=rows, max_size=rows))
    return torch.tensor(scores, dtype=torch.float32), torch.tensor(label)


@given(scored(st.integers(2, 4)), st.integers(0, 12))
def test_metrics_of_two_halves_merge_to_those_of_the_whole(rows: tuple[Tensor, Tensor], cut: int) -> None:
    scores, label = rows
    names = NAMES[: scores.shape[1]]
    merged = ClassificationMetrics(names)
    for part in (slice(None, cut), slice(cut, None)):
        metrics = ClassificationMetrics(names)
        if len(label[part]):
            metrics.update(ClassifierOutput(loss=None, scores=scores[part]), batch_of(label[part]))
        before = {name: tensor.clone() for name, tensor in metrics.state().items()}
        merged.merge(metrics.state())
        merged.merge(ClassificationMetrics(names).state())
        assert all(torch.equal(tensor, before[name]) for name, tensor in metrics.state().items())
    assert merged.compute() == computed(scores, label, names)


@given(scored(st.integers(2, 4)))
def test_metrics_equal_those_of_torchmetrics(rows: tuple[Tensor, Tensor]) -> None:
    scores, label = rows
    size = scores.shape[1]
    ours = computed(scores, label, NAMES[:size])
    for average in ("macro", "micro"):
        for name, function in {
            "precision": reference.multiclass_precision,
            "recall": reference.multiclass_recall,
            "f1": reference.multiclass_f1_score,
        }.items():
            theirs = float(function(scores, label, size, average=average))
            assert ours[f"{average}_{name}"] == pytest.approx(theirs, abs=1e-6), (average, name)
    matrix = reference.multiclass_confusion_matrix(scores, label, size)
    assert ours["confusion_matrix"] == {"labels": NAMES[:size], "matrix": matrix.tolist()}
    assert ours["accuracy"] == pytest.approx(float((scores.argmax(1) == label).double().mean()))


@given(scored(st.integers(2, 4)))
def test_matthews_correlation_is_the_correlation_of_indicators(rows: tuple[Tensor, Tensor]) -> None:
    scores, label = rows
    size = scores.shape[1]
    true, predicted = (torch.nn.functional.one_hot(x, size).double() for x in (label, scores.argmax(1)))
    true, predicted = true - true.mean(0), predicted - predicted.mean(0)
    spread = float((true**2).sum() * (predicted**2).sum())
    ours = computed(scores, label, NAMES[:size])["matthews_correlation"]
    if len(label.unique()) == 1:
        assert ours is None
    elif len(scores.argmax(1).unique()) == 1:
        assert ours == 0.0
    else:
        assert ours == pytest.approx(float((true * predicted).sum()) / math.sqrt(spread))


@given(scored(st.just(2)))
def test_roc_auc_is_the_share_of_pairs_in_order(rows: tuple[Tensor, Tensor]) -> None:
    scores, label = rows
    margin = (scores[:, 1] - scores[:, 0]).tolist()
    positive = [value for value, is_positive in zip(margin, label.tolist(), strict=True) if is_positive]
    negative = [value for value, is_positive in zip(margin, label.tolist(), strict=True) if not is_positive]
    ours = computed(scores, label, NAMES[:2])["roc_auc"]
    if not positive or not negative:
        assert ours is None
    else:
        wins = sum((p > n) + (p == n) / 2 for p in positive for n in negative)
        assert ours == pytest.approx(wins / (len(positive) * len(negative)))


@given(scored(st.just(2)))
def test_roc_auc_equals_that_of_torchmetrics(rows: tuple[Tensor, Tensor]) -> None:
    scores, label = rows
    assume(len(label.unique()) == 2)
    theirs = reference.binary_auroc(scores.softmax(-1)[:, 1], label)
    assert roc_auc(scores[:, 1] - scores[:, 0], label == 1) == pytest.approx(float(theirs), abs=1e-6)


def test_roc_auc_tells_scores_apart_whose_probabilities_are_equal() -> None:
    scores = torch.tensor([[0.0, 100.0], [0.0, 101.0]])
    assert computed(scores, torch.tensor([0, 1]), NAMES[:2])["roc_auc"] == 1.0


@given(scored(st.integers(2, 4)), st.integers(1, 5))
def test_batches_add_up(rows: tuple[Tensor, Tensor], batch_size: int) -> None:
    scores, label = rows
    names = NAMES[: scores.shape[1]]
    assert computed(scores, label, names, batch_size) == computed(scores, label, names)


@given(scored(st.integers(2, 4)))
def test_metrics_are_plain_json(rows: tuple[Tensor, Tensor]) -> None:
    scores, label = rows
    ours = computed(scores, label, NAMES[: scores.shape[1]])
    assert json.loads(json.dumps(ours, allow_nan=False)) == ours


@pytest.mark.parametrize("size", [2, 3])
def test_d4_an_empty_eval_set_defines_no_metric(size: int) -> None:
    ours = ClassificationMetrics(NAMES[:size]).compute()
    assert ("roc_auc" in ours) == (size == 2)
    matrix = ours.pop("confusion_matrix")
    assert matrix == {"labels": NAMES[:size], "matrix": [[0] * size] * size}
    per_class = ours.pop("per_class")
    undefined = {"precision": None, "recall": None, "f1": None, "rows": 0}
    assert per_class == {name: undefined for name in NAMES[:size]}
    assert set(ours.values()) == {None}


def test_d4_one_row() -> None:
    ours = computed(torch.tensor([[0.0, 1.0]]), torch.tensor([1]), NAMES[:2])
    assert (ours["accuracy"], ours["macro_f1"]) == (1.0, 1.0)
    assert (ours["roc_auc"], ours["matthews_correlation"]) == (None, None)


def test_per_class_metrics_are_none_where_nothing_defines_them() -> None:
    scores = torch.eye(3)[[0, 0, 0]]
    ours = computed(scores, torch.tensor([0, 0, 1]), NAMES[:3])["per_class"]
    assert ours["a"] == {
        "precision": pytest.approx(2 / 3),
        "recall": 1.0,
        "f1": pytest.approx(0.8),
        "rows": 2,
    }
    assert ours["b"] == {"precision": None, "recall": 0.0, "f1": 0.0, "rows": 1}
    assert ours["c"] == {"precision": None, "recall": None, "f1": None, "rows": 0}


def test_macro_metrics_leave_out_absent_classes() -> None:
    scores = torch.eye(3)[[0, 1]]
    assert computed(scores, torch.tensor([0, 1]), NAMES[:3])["macro_f1"] == 1.0


def test_matrices_of_very_many_labels_are_left_out() -> None:
    labels = [str(number) for number in range(MOST_LABELS_SHOWN + 1)]
    ours = computed(torch.eye(len(labels)), torch.arange(len(labels)), labels)
    assert (ours["confusion_matrix"], ours["per_class"], ours["accuracy"]) == (None, None, 1.0)


def test_matthews_correlation_of_opposites() -> None:
    counts = [torch.tensor(values, dtype=torch.float64) for values in ([0, 0], [3, 2], [2, 3])]
    assert matthews_correlation(*counts) == pytest.approx(-1.0)


def test_metrics_do_not_depend_on_deterministic_algorithms() -> None:
    scores, label = torch.randn(50, 3, generator=torch.Generator().manual_seed(0)), torch.arange(50) % 3
    expected = computed(scores, label, NAMES[:3])
    torch.use_deterministic_algorithms(True)
    try:
        assert computed(scores, label, NAMES[:3]) == expected
    finally:
        torch.use_deterministic_algorithms(False)
