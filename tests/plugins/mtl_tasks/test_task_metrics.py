"""Metrics of regression and of several labels against SciPy and scikit-learn."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as reference

from mtl import Batch
from mtl_tasks.multi_label_metrics import MultiLabelMetrics, MultiLabelOutput
from mtl_tasks.regression_metrics import RegressionMetrics, RegressionOutput

LABELS = ("a", "b", "c")
numbers = st.floats(-100, 100, width=32).map(lambda number: round(number, 2))


def batch(**columns: Any) -> Batch:
    tensors = {name: torch.as_tensor(values) for name, values in columns.items()}
    rows = torch.arange(len(next(iter(tensors.values()))))
    return Batch(tensors, {}, rows, words=0)


def regression(pairs: list[tuple[float, float]], size: int) -> RegressionMetrics:
    gathered = RegressionMetrics()
    for start in range(0, len(pairs), size):
        predicted, gold = zip(*pairs[start : start + size], strict=True)
        scores = torch.tensor(predicted, dtype=torch.float64)
        gathered.update(RegressionOutput(None, scores), batch(score=torch.tensor(gold, dtype=torch.float64)))
    return gathered


@settings(deadline=None, max_examples=25)
@given(pairs=st.lists(st.tuples(numbers, numbers), min_size=1, max_size=20), size=st.integers(1, 7))
def test_regression_is_that_of_scipy(pairs: list[tuple[float, float]], size: int) -> None:
    found = regression(pairs, size).compute()
    predicted, gold = (np.array(values) for values in zip(*pairs, strict=True))
    assert found["rmse"] == pytest.approx(math.sqrt(((predicted - gold) ** 2).mean()), abs=1e-9)
    assert found["mae"] == pytest.approx(np.abs(predicted - gold).mean(), abs=1e-9)
    if len(set(predicted)) == 1 or len(set(gold)) == 1:
        assert found["pearson"] is None and found["spearman"] is None
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert found["pearson"] == pytest.approx(stats.pearsonr(predicted, gold)[0], abs=1e-6)
        assert found["spearman"] == pytest.approx(stats.spearmanr(predicted, gold)[0], abs=1e-5)


def test_regression_without_rows_is_undefined() -> None:
    assert set(RegressionMetrics().compute().values()) == {None}


label_rows = st.lists(
    st.tuples(
        st.tuples(*[st.floats(0, 1, width=32).map(lambda p: round(p, 2))] * len(LABELS)),
        st.tuples(*[st.integers(0, 1)] * len(LABELS)),
    ),
    min_size=1,
    max_size=12,
)


def multi_label(rows: list[Any], thresholds: torch.Tensor) -> MultiLabelMetrics:
    gathered = MultiLabelMetrics(LABELS)
    probabilities, labels = zip(*rows, strict=True)
    output = MultiLabelOutput(None, torch.tensor(probabilities, dtype=torch.float32), thresholds)
    gathered.update(output, batch(labels=torch.tensor(labels, dtype=torch.uint8)))
    return gathered


@settings(deadline=None, max_examples=25)
@given(label_rows)
def test_several_labels_are_scored_as_by_scikit_learn(rows: list[Any]) -> None:
    found = multi_label(rows, torch.full((3,), 0.5)).compute()
    probabilities, labels = (np.array(values, dtype=np.float32) for values in zip(*rows, strict=True))
    given_labels = probabilities >= 0.5
    for average in ("micro", "macro"):
        wanted = reference.f1_score(labels, given_labels, average=average, zero_division=0)
        assert found[f"{average}_f1"] == pytest.approx(wanted, abs=1e-6)
    known = labels.sum(0) > 0
    if not known.any():
        assert found["mean_average_precision"] is None
    else:
        wanted = reference.average_precision_score(labels[:, known], probabilities[:, known], average="macro")
        assert found["mean_average_precision"] == pytest.approx(wanted, abs=1e-6)


@settings(deadline=None, max_examples=25)
@given(label_rows)
def test_no_threshold_has_a_better_f1_than_the_fitted_one(rows: list[Any]) -> None:
    fitted = multi_label(rows, torch.full((3,), 0.5)).fitted_thresholds()
    probabilities, labels = (np.array(values, dtype=np.float32) for values in zip(*rows, strict=True))
    for place in range(len(LABELS)):
        if not labels[:, place].any():
            assert fitted[place] == 0.5
            continue

        def f1(threshold: float, place: int = place) -> float:
            given_labels = probabilities[:, place] >= threshold
            hits = (labels[:, place] * given_labels).sum()
            return float(2 * hits / (labels[:, place].sum() + given_labels.sum()))

        assert f1(fitted[place].item()) >= max(map(f1, np.linspace(0, 1, 201))) - 1e-6


@settings(deadline=None, max_examples=25)
@given(
    rows=label_rows, pairs=st.lists(st.tuples(numbers, numbers), min_size=2, max_size=9), at=st.integers(1, 8)
)
def test_merged_halves_are_the_whole(rows: list[Any], pairs: list[tuple[float, float]], at: int) -> None:
    thresholds = torch.full((3,), 0.5)
    whole = multi_label(rows, thresholds).compute()
    half = multi_label(rows[:at], thresholds)
    if rows[at:]:
        half.merge(multi_label(rows[at:], thresholds).state())
    assert half.compute() == whole
    part = regression(pairs[:at], 3)
    part.merge(regression(pairs[at:], 3).state())
    assert part.compute() == pytest.approx(regression(pairs, 3).compute())
