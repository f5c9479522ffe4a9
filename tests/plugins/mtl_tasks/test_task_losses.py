"""Losses and predictions of regression and of several labels, by their definitions."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from mtl import Batch
from mtl_tasks.multi_label import MultiLabelModel, MultiLabelTask
from mtl_tasks.regression import RegressionTask, Regressor, Scale


class Given(nn.Module):
    """Gives the scores of a batch, as embedding, encoder and decoder."""

    def forward(self, batch: Any, name: Any = None) -> Any:
        return batch if isinstance(batch, Tensor) else (batch["scores"], None)


def batch(scores: Tensor, **columns: Tensor) -> Batch:
    return Batch({"scores": scores, **columns}, {}, torch.arange(len(scores)), words=0)


PARTS = {"embedding": Given(), "representation": Given(), "decoder": Given()}
numbers = st.floats(-5, 5, width=32)


@settings(max_examples=40)
@given(
    rows=st.lists(st.tuples(numbers, numbers), min_size=1, max_size=6),
    loss=st.sampled_from(["squared", "absolute"]),
)
def test_regression_is_the_error_of_scaled_scores(rows: list[tuple[float, float]], loss: str) -> None:
    scaled, gold = (torch.tensor(values, dtype=torch.float64) for values in zip(*rows, strict=True))
    model = Regressor(Scale(mean=2.0, deviation=4.0, lowest=0.0, highest=5.0), loss, **PARTS)
    output = model(batch(scaled.float()[:, None], score=gold))
    errors = [each - (score - 2) / 4 for each, score in rows]
    power = 2 if loss == "squared" else 1
    assert output.loss is not None and output.loss.weight == len(rows)
    assert float(output.loss.total) == pytest.approx(
        sum(abs(each) ** power for each in errors), rel=1e-4, abs=1e-4
    )
    said = RegressionTask.predictions(SimpleNamespace(), output, batch(scaled))  # type: ignore[arg-type]
    expected = [min(max(each * 4 + 2, 0), 5) for each, _ in rows]
    assert [each["score"] for each in said] == pytest.approx(expected, abs=1e-4)


@settings(max_examples=40)
@given(
    rows=st.lists(
        st.tuples(st.tuples(numbers, numbers), st.tuples(st.integers(0, 1), st.integers(0, 1))),
        min_size=1,
        max_size=6,
    ),
    threshold=st.floats(0.1, 0.9),
)
def test_several_labels_are_independent_logistic_regressions(rows: list[Any], threshold: float) -> None:
    scores, gold = (torch.tensor(values) for values in zip(*rows, strict=True))
    model = MultiLabelModel(["a", "b"], **PARTS)
    model.thresholds.fill_(threshold)
    output = model(batch(scores.float(), labels=gold.to(torch.uint8)))
    total = sum(
        math.log1p(math.exp(-each)) if is_given else math.log1p(math.exp(each))
        for row, labels in rows
        for each, is_given in zip(row, labels, strict=True)
    )
    assert output.loss is not None and output.loss.weight == len(rows)
    assert float(output.loss.total) == pytest.approx(total / 2, rel=1e-4, abs=1e-4)
    task: Any = SimpleNamespace(labels=["a", "b"])
    for (row, _), said in zip(rows, MultiLabelTask.predictions(task, output, batch(scores)), strict=True):
        probabilities = [1 / (1 + math.exp(-each)) for each in row]
        assert list(said["probabilities"].values()) == pytest.approx(probabilities, abs=1e-5)
        if all(abs(each - threshold) > 1e-4 for each in probabilities):
            assert said["labels"] == [
                name for name, each in zip("ab", probabilities, strict=True) if each > threshold
            ]
