"""Selection is defined for every metric: negative, zero, undefined, constant, of any range."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtl import Metric
from mtl.training.evaluation import finite
from mtl.training.selection import Selection, score, score_text

finite_floats = st.floats(allow_nan=False, allow_infinity=False, min_value=-1e12, max_value=1e12)


@st.composite
def metrics(draw: st.DrawFn, name: str = "metric") -> Metric:
    low = draw(st.none() | st.floats(-100, 100))
    high = draw(st.none() | st.floats(0.001, 100).map(lambda width: (low or 0.0) + width))
    return Metric(name, draw(st.booleans()), low, high)


@st.composite
def metrics_with_values(draw: st.DrawFn, count: int = 2) -> tuple[Metric, list[float]]:
    metric = draw(metrics())
    low = -1e12 if metric.minimum is None else metric.minimum
    high = 1e12 if metric.maximum is None else metric.maximum
    return metric, [draw(st.floats(low, high)) for _ in range(count)]


@given(metrics_with_values())
def test_a_score_is_finite_and_follows_the_direction(case: tuple[Metric, list[float]]) -> None:
    metric, values = case
    one, other = sorted(values, reverse=not metric.higher_is_better)
    assert math.isfinite(score(metric, one)) and math.isfinite(score(metric, other))
    assert score(metric, one) <= score(metric, other)
    if abs(other - one) > 1e-3 * (1 + abs(one) + abs(other)):
        assert score(metric, one) < score(metric, other)


@given(st.floats(1, 1e9))
def test_a_perplexity_scores_its_logarithm(value: float) -> None:
    assert score(Metric("perplexity", False, minimum=1.0), value) == pytest.approx(-math.log(value))


@given(st.floats(-1, 1))
def test_a_correlation_scores_its_place_in_the_range(value: float) -> None:
    assert score(Metric("r", True, -1.0, 1.0), value) == pytest.approx((value + 1) / 2)


@given(metrics_with_values(), st.floats(0.01, 100), st.floats(0.01, 100))
def test_better_in_one_task_and_the_same_in_the_other_is_better(
    case: tuple[Metric, list[float]], weight: float, other_weight: float
) -> None:
    metric, values = case
    worse, better = sorted(values, key=lambda value: score(metric, value))
    rule = Selection({"A": metric, "B": Metric("f1", True, 0, 1)}, {"A": weight, "B": other_weight})
    before, after = (rule.value({"A": {"metric": value}, "B": {"f1": 0.5}}) for value in (worse, better))
    assert before is not None and after is not None
    assert after >= before
    if score(metric, better) - score(metric, worse) > 1e-6 * (1 + other_weight / weight):
        assert rule.is_better(after, before)
        assert not rule.is_better(before, after)


@given(metrics_with_values(1))
def test_constant_metrics_never_improve(case: tuple[Metric, list[float]]) -> None:
    metric, [value] = case
    for rule in (
        Selection({"A": metric}, {"A": 1.0}),
        Selection({"A": metric, "B": metric}, {"A": 1.0, "B": 3.0}),
    ):
        evaluation = {"A": {"metric": value}, "B": {"metric": value}}
        first = rule.value(evaluation)
        assert first is not None
        assert rule.is_better(first, None) and not rule.is_better(first, first)


@given(st.floats(0, 1), st.sampled_from(["A", "B"]))
def test_an_undefined_metric_makes_the_evaluation_undefined(value: float, missing: str) -> None:
    rule = Selection(dict.fromkeys("AB", Metric("f1", True, 0, 1)), dict.fromkeys("AB", 1.0))
    evaluation = {task: {"f1": None if task == missing else value} for task in "AB"}
    assert rule.value(evaluation) is None
    assert rule.undefined(evaluation) == [missing]
    not_evaluated = {task: metrics for task, metrics in evaluation.items() if task != missing}
    assert rule.value(not_evaluated) is None and rule.undefined(not_evaluated) == []


def test_matthews_correlation_below_zero_does_not_decide_everything() -> None:
    """A correlation that moves by noise about 0 counts as little as it moves."""
    rule = Selection(
        {"CoLA": Metric("matthews", True, -1, 1), "SST2": Metric("accuracy", True, 0, 1)},
        {"CoLA": 1.0, "SST2": 1.0},
    )
    first = rule.value({"CoLA": {"matthews": 0.01}, "SST2": {"accuracy": 0.6}})
    later = rule.value({"CoLA": {"matthews": -0.01}, "SST2": {"accuracy": 0.8}})
    assert first is not None and later is not None and rule.is_better(later, first)


def test_weights_count() -> None:
    tasks = {"A": Metric("f1", True, 0, 1), "B": Metric("f1", True, 0, 1)}
    rule = Selection(tasks, {"A": 3.0, "B": 1.0})
    assert rule.value({"A": {"f1": 1.0}, "B": {"f1": 0.0}}) == pytest.approx(0.75)
    assert rule.text == "weighted mean of 3 * A.f1, B.f1; higher is better"


@pytest.mark.parametrize(
    ("metric", "text"),
    [
        (Metric("accuracy", True, 0, 1), "T.accuracy"),
        (Metric("error", False, 0, 1), "(1 - T.error)"),
        (Metric("r", True, -1, 1), "(T.r + 1) / 2"),
        (Metric("perplexity", False, 1), "-log(T.perplexity)"),
        (Metric("mse", False, 0), "-log(1 + T.mse)"),
        (Metric("count", True, 2), "log(1 + T.count - 2)"),
        (Metric("bound", True, None, 0), "-log(1 - T.bound)"),
        (Metric("likelihood", True), "asinh(T.likelihood)"),
        (Metric("energy", False), "-asinh(T.energy)"),
    ],
)
def test_the_rule_is_printed(metric: Metric, text: str) -> None:
    assert score_text(metric, "T") == text


def test_an_empty_range_is_refused() -> None:
    with pytest.raises(ValueError, match="the range of f1 is empty: 1 to 1"):
        Metric("f1", True, 1, 1)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.floats(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(values)
def test_metrics_become_json(value: object) -> None:
    import json

    json.dumps(finite(value), allow_nan=False)


@given(st.recursive(st.none() | finite_floats | st.text(), lambda v: st.dictionaries(st.text(), v)))
def test_finite_values_stay(value: object) -> None:
    assert finite(value) == value
