"""The loss weights beside their papers' objectives, with torch's own derivatives and optimizers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

import mtl_balance

few = settings(max_examples=20)
positive = st.floats(0.0625, 16, width=32)
turns = st.lists(st.tuples(st.sampled_from("ABC"), positive), min_size=1, max_size=20)

WEIGHTS = {"A": 1.0, "B": 0.5, "C": 2.0}


def weighting(name: str, weights: dict[str, float] = WEIGHTS, **options: Any) -> Any:
    return getattr(mtl_balance, name)(getattr(mtl_balance, f"{name}Config")(**options), tasks=weights)


def factors(balancer: Any, steps: Sequence[tuple[str, float]]) -> list[float]:
    return [float(balancer.factor(task, torch.tensor(loss))) for task, loss in steps]


# --- uncertainty ---------------------------------------------------------------------------------------


@few
@given(steps=turns)
def test_uncertainty_is_its_objective_by_adam(steps: list[tuple[str, float]]) -> None:
    variances = {task: torch.nn.Parameter(torch.zeros(())) for task in WEIGHTS}
    optimizer = torch.optim.Adam(variances.values(), lr=0.1)
    expected = []
    for task, loss in steps:
        precision = (-variances[task]).exp()
        expected.append(WEIGHTS[task] * precision.item())
        optimizer.zero_grad()
        (precision * loss + variances[task] / 2).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    assert factors(weighting("Uncertainty", lr=0.1), steps) == pytest.approx(expected, rel=1e-4)


def test_uncertainty_settles_at_half_the_inverse_loss() -> None:
    steps = [(task, loss) for _ in range(600) for task, loss in (("A", 4.0), ("B", 0.25))]
    first, last = factors(weighting("Uncertainty", lr=0.05), steps)[-2:]
    assert (first, last) == pytest.approx((1 / 8, 0.5 * 2), rel=0.02)


# --- dynamic weight average ----------------------------------------------------------------------------


def dynamic(steps: Sequence[tuple[str, float]], period: int, temperature: float) -> Iterator[float]:
    seen: dict[str, list[float]] = {task: [] for task in WEIGHTS}

    def ratio(losses: list[float]) -> float:
        full = len(losses) // period
        means = [sum(losses[place * period : (place + 1) * period]) / period for place in range(full)]
        return means[-1] / means[-2] if full > 1 else 1.0

    for task, loss in steps:
        powers = {each: math.exp(ratio(losses) / temperature) for each, losses in seen.items()}
        yield WEIGHTS[task] * len(powers) * powers[task] / sum(powers.values())
        seen[task].append(loss)


@few
@given(steps=turns, period=st.integers(1, 3), temperature=st.floats(1, 5))
def test_dynamic_weight_average_is_its_formula(
    steps: list[tuple[str, float]], period: int, temperature: float
) -> None:
    steps = [(task, 1 + loss / 20) for task, loss in steps]
    found = factors(weighting("DynamicWeightAverage", period=period, temperature=temperature), steps)
    assert found == pytest.approx(list(dynamic(steps, period, temperature)), rel=1e-4)


def test_the_task_that_stalls_gets_more() -> None:
    falling = [(task, loss) for loss in (4.0, 2.0, 1.0) for task, loss in (("A", 3.0), ("B", loss))]
    stalled, fallen = factors(weighting("DynamicWeightAverage", {"A": 1.0, "B": 1.0}, period=1), falling)[-2:]
    assert stalled > 1 > fallen and stalled + fallen == pytest.approx(2)


# --- random --------------------------------------------------------------------------------------------


def test_random_weights_of_a_step_are_one_draw() -> None:
    balancer = weighting("RandomLossWeighting", dict.fromkeys("ABC", 1.0))
    steps = []
    for seed in range(300):
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        steps.append(factors(balancer, [("A", 1.0), ("B", 2.0), ("C", 3.0)]))
        assert torch.equal(before, torch.get_rng_state())  # so that no mask of dropout moves
    assert all(sum(step) == pytest.approx(3) for step in steps)
    means = torch.tensor(steps).mean(0)
    assert (means - 1).abs().max() < 0.15 and len({step[0] for step in steps}) == 300


def test_an_untrained_task_has_no_share() -> None:
    for name in ("RandomLossWeighting", "DynamicWeightAverage"):
        assert factors(weighting(name, {"A": 2.0, "B": 0.0}), [("A", 1.0)]) == [2.0]


# --- GradNorm ------------------------------------------------------------------------------------------


@few
@given(
    losses=st.lists(st.tuples(positive, positive, positive), min_size=1, max_size=5),
    sizes=st.tuples(positive, positive, positive),
    alpha=st.floats(0, 2),
)
def test_gradnorm_is_its_objective_by_adam(
    losses: list[tuple[float, ...]], sizes: tuple[float, ...], alpha: float
) -> None:
    balancer = weighting("GradNorm", alpha=alpha, lr=0.05)
    weights = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.Adam([weights], lr=0.05)
    rows = torch.eye(3) * torch.tensor(sizes)[:, None]  # of each task times its weight in the config
    for step in losses:
        found = [balancer.factor(task, torch.tensor(loss)) for task, loss in zip("ABC", step, strict=True)]
        expected = [WEIGHTS[task] * weight for task, weight in zip("ABC", weights.tolist(), strict=True)]
        assert [float(each) for each in found] == pytest.approx(expected, rel=1e-3)

        gradients = rows * weights.detach()[:, None]
        means = dict(zip("ABC", map(torch.tensor, step), strict=True))
        assert torch.equal(balancer.combine(gradients, means), gradients.sum(0))

        norms = (rows * weights[:, None]).norm(dim=1)
        left = torch.tensor(step) / torch.tensor(losses[0])
        target = norms.detach().mean() * (left / left.mean()) ** alpha
        # At the kink of the absolute value, rounding decides where it goes.
        assume(((norms - target).abs() > 1e-3 * target).all())
        optimizer.zero_grad()
        ((norms - target).abs().sum() / norms.detach().mean()).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        with torch.no_grad():
            weights.mul_(3 / weights.sum())


def test_gradnorm_evens_out() -> None:
    balancer = weighting("GradNorm", {"A": 1.0, "B": 1.0}, lr=0.02)
    rows = torch.tensor([[8.0, 0.0], [0.0, 1.0]])
    for _ in range(300):
        scales = torch.stack([balancer.factor(task, torch.tensor(1.0)) for task in "AB"])
        balancer.combine(rows * scales[:, None], {task: torch.tensor(1.0) for task in "AB"})
    norms = (rows * scales[:, None]).norm(dim=1)
    assert float(norms[0] / norms[1]) == pytest.approx(1, rel=0.2) and float(scales.sum()) == pytest.approx(2)


def test_gradnorm_moves_the_tasks_of_the_step_alone() -> None:
    balancer = weighting("GradNorm")
    gradients: Tensor = torch.tensor([[5.0, 0.0], [0.0, 1.0]])
    balancer.combine(gradients, {"C": torch.tensor(2.0), "A": torch.tensor(1.0)})
    values = balancer.state_dict()["weights"][:, 0]
    assert values[1] == 1 and values[2] < 1 < values[0] and float(values.sum()) == pytest.approx(3)


@pytest.mark.parametrize("value", [torch.inf, torch.nan])
def test_gradnorm_recovers_from_a_nonfinite_gradient(value: float) -> None:
    balancer, losses = (
        weighting("GradNorm", {"A": 1.0, "B": 1.0}),
        {"A": torch.tensor(value), "B": torch.tensor(1.0)},
    )
    before = balancer.state_dict()["weights"].clone()
    assert not balancer.combine(torch.tensor([[value, 1.0], [0.0, 1.0]]), losses).isfinite().all()
    assert torch.equal(balancer.state_dict()["weights"], before)
    balancer.combine(torch.tensor([[4.0, 1.0], [0.0, 1.0]]), {**losses, "A": torch.tensor(2.0)})
    state = balancer.state_dict()
    assert state["initial"].tolist() == [2.0, 1.0] and not torch.equal(state["weights"], before)
