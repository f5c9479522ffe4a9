"""What the gradient methods promise, for any gradients; and what they do, beside formulas by hand."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchjd import aggregation

import mtl_balance
from mtl_balance.gradients import GramianMethod, bargain, gramian_of

METHODS = ["PCGrad", "GradVac", "CAGrad", "MGDA", "IMTLG", "NashMTL", "AlignedMTL", "UPGrad", "DualProj",
           "ConFIG", "GradDrop"]  # fmt: skip
HURTS_NONE = ["MGDA", "NashMTL", "UPGrad", "DualProj"]
DRAWS = ["PCGrad", "GradVac", "GradDrop"]

few = settings(max_examples=15, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])
every_method = pytest.mark.parametrize("name", METHODS)


def method(name: str, tasks: int = 4, **settings: Any) -> Any:
    config = getattr(mtl_balance, f"{name}Config")(**settings)
    return getattr(mtl_balance, name)(config, tasks=dict.fromkeys("ABCDEF"[:tasks], 1.0))


def combined(balancer: Any, gradients: Tensor, tasks: str | None = None, seed: int = 0) -> Tensor:
    torch.manual_seed(seed)
    names = tasks or "ABCDEF"[: len(gradients)]
    result: Tensor = balancer.combine(gradients, {task: torch.tensor(1.0) for task in names})
    assert result.shape == gradients.shape[1:] and result.dtype == torch.float32
    return result


@st.composite
def matrices(draw: st.DrawFn, least: int = 1, most: int = 4) -> Tensor:
    """Small whole numbers: rows of zeros, equal, opposite and dependent ones are all among them."""
    tasks, width = draw(st.integers(least, most)), draw(st.integers(1, 6))
    rows = st.lists(st.integers(-4, 4), min_size=width, max_size=width)
    return torch.tensor(draw(st.lists(rows, min_size=tasks, max_size=tasks)), dtype=torch.float32)


def independent(gradients: Tensor) -> bool:
    norms = gradients.norm(dim=1, keepdim=True)
    if not norms.all() or len(gradients) > gradients.shape[1]:
        return False
    return bool(torch.linalg.svdvals(gradients / norms)[-1] > 0.05)


def close(left: Tensor, right: Tensor, size: Tensor, tolerance: float = 1e-4) -> bool:
    """Whether two combined gradients are the same but for rounding, beside the gradients' own size."""
    return bool((left - right).norm() <= tolerance * (size.norm() + left.norm()))


@every_method
@few
@given(gradients=matrices(), scales=st.lists(st.integers(-18, 18), min_size=4, max_size=4))
def test_any_gradients_give_finite_numbers(name: str, gradients: Tensor, scales: list[int]) -> None:
    gradients = gradients * torch.tensor([10.0**scale for scale in scales])[: len(gradients), None]
    before = gradients.clone()
    assert combined(method(name), gradients).isfinite().all()
    assert torch.equal(gradients, before)


@every_method
@few
@given(gradients=matrices(), power=st.integers(-40, 40))
def test_twice_the_gradients_are_twice_the_step(name: str, gradients: Tensor, power: int) -> None:
    once, scaled = combined(method(name), gradients), combined(method(name), gradients * 2.0**power)
    assert close(scaled / 2.0**power, once, gradients)


@pytest.mark.parametrize("name", [name for name in METHODS if name not in ("PCGrad", "GradVac", "MGDA")])
@few
@given(gradients=matrices(), data=st.data())
def test_the_order_of_the_tasks_does_not_matter(name: str, gradients: Tensor, data: st.DataObject) -> None:
    assume(name != "IMTLG" or independent(gradients))  # else its weights may be as large as any
    order = data.draw(st.permutations(range(len(gradients))))
    there = combined(method(name), gradients[list(order)], "".join("ABCD"[place] for place in order))
    assert close(there, combined(method(name), gradients), gradients, 1e-3)


@pytest.mark.parametrize("name", ["PCGrad", "GradVac", "MGDA"])
@few
@given(gradients=matrices(least=2, most=2))
def test_the_order_of_two_tasks_never_matters(name: str, gradients: Tensor) -> None:
    there, here = combined(method(name), gradients.flip(0), "BA"), combined(method(name), gradients)
    assert close(there, here, gradients)


@pytest.mark.parametrize("name", HURTS_NONE)
@few
@given(gradients=matrices())
def test_no_task_is_hurt(name: str, gradients: Tensor) -> None:
    toward = gradients @ combined(method(name), gradients)
    # Frank and Wolfe's steps, with which MGDA is solved, end within a percent of the solution.
    tolerance = 0.05 if name == "MGDA" else 1e-3
    assert (toward >= -tolerance * gradients.norm() ** 2).all()


@pytest.mark.parametrize("name", ["PCGrad", "IMTLG", "ConFIG"])
@few
@given(gradients=matrices(least=2, most=2))
def test_neither_of_two_tasks_is_hurt(name: str, gradients: Tensor) -> None:
    assume(independent(gradients))
    assert (gradients @ combined(method(name), gradients) >= -1e-4 * gradients.norm() ** 2).all()


@every_method
@few
@given(gradients=matrices(most=1), tasks=st.integers(1, 4))
def test_tasks_that_agree_get_the_plain_sum(name: str, gradients: Tensor, tasks: int) -> None:
    gradients = gradients.repeat(tasks, 1)
    assert close(combined(method(name), gradients), gradients.sum(0), gradients, 1e-3)


@pytest.mark.parametrize("name", [name for name in METHODS if name != "CAGrad"])
@pytest.mark.parametrize("tasks", [2, 3])
def test_tasks_that_have_nothing_in_common_get_the_plain_sum(name: str, tasks: int) -> None:
    gradients = torch.eye(tasks, 5)
    factor = tasks**0.5 if name == "NashMTL" else 1.0  # as its docstring says
    assert close(combined(method(name), gradients), factor * gradients.sum(0), gradients)


@few
@given(gradients=matrices())
def test_a_ball_of_no_size_leaves_the_plain_sum(gradients: Tensor) -> None:
    assert close(combined(method("CAGrad", c=0.0), gradients), gradients.sum(0), gradients)


@pytest.mark.parametrize("name", ["PCGrad", "UPGrad", "DualProj"])
@few
@given(gradients=matrices())
def test_without_conflict_it_is_the_plain_sum(name: str, gradients: Tensor) -> None:
    assume(bool((gradients @ gradients.T >= 0).all()))
    assert close(combined(method(name), gradients), gradients.sum(0), gradients, 1e-3)


@every_method
@few
@given(gradients=matrices(most=1), empty=st.integers(0, 3))
def test_a_gradient_of_zeros_changes_nothing(name: str, gradients: Tensor, empty: int) -> None:
    with_zeros = torch.cat([gradients, torch.zeros(empty, gradients.shape[1])])
    assert torch.equal(combined(method(name), with_zeros), gradients[0])


@every_method
@pytest.mark.parametrize("value", [torch.inf, torch.nan])
def test_nonfinite_gradients_stay_nonfinite(name: str, value: float) -> None:
    """So that the loop finds it: it skips the step, or says where it was."""
    balancer = method(name)
    gradients = torch.tensor([[1.0, 2.0], [value, -1.0]])
    assert not combined(balancer, gradients).isfinite().all()
    assert all(tensor.isfinite().all() for tensor in balancer.state_dict().values())


@pytest.mark.parametrize("name", DRAWS)
def test_draws_come_from_torch_alone(name: str) -> None:
    gradients = torch.randn(4, 50, generator=torch.Generator().manual_seed(0))
    results = []
    for seed in range(3):
        random.seed(seed)
        np.random.seed(seed)
        results.append(combined(method(name), gradients, seed=7))
    assert torch.equal(results[0], results[1]) and torch.equal(results[0], results[2])
    assert any(not torch.equal(results[0], combined(method(name), gradients, seed=seed)) for seed in range(9))


@every_method
def test_weights_count(name: str) -> None:
    balancer = method(name, tasks=2)
    balancer.tasks = {"A": 1.0, "B": 0.25}
    assert [balancer.factor(task, torch.tensor(3.0)) for task in "AB"] == [1.0, 0.25]


# --- beside formulas by hand ---------------------------------------------------------------------------


@few
@given(gradients=matrices())
def test_the_gramian_is_that_of_all_columns(gradients: Tensor) -> None:
    wide = gradients.repeat(1, 40_000)
    assert torch.equal(gramian_of(wide), 40_000 * (gradients @ gradients.T).double())


def pairs() -> st.SearchStrategy[Tensor]:
    return matrices(least=2, most=2).filter(independent)


def project(one: Tensor, other: Tensor) -> Tensor:
    return one - min(0.0, float(one @ other / (other @ other))) * other


@few
@given(gradients=pairs())
def test_pcgrad_of_two(gradients: Tensor) -> None:
    one, other = gradients
    expected = project(one, other) + project(other, one)
    assert close(combined(method("PCGrad"), gradients), expected, gradients)


@few
@given(gradients=pairs())
def test_mgda_of_two(gradients: Tensor) -> None:
    one, other = gradients
    share = float(((other - one) @ other / (one - other).square().sum()).clamp(0, 1))
    expected = 2 * (share * one + (1 - share) * other)
    assert close(combined(method("MGDA"), gradients), expected, gradients, 5e-3)


@few
@given(gradients=matrices().filter(independent))
def test_imtlg_goes_as_far_along_each(gradients: Tensor) -> None:
    units = gradients / gradients.norm(dim=1, keepdim=True)
    along = units @ combined(method("IMTLG"), gradients)
    assert (along - along.mean()).abs().max() <= 1e-3 * (1 + along.abs().max())


@few
@given(gradients=matrices().filter(independent))
def test_aligned_mtl_gives_all_directions_one_size(gradients: Tensor) -> None:
    left, sizes, right = torch.linalg.svd(gradients.double(), full_matrices=False)
    expected = (left * sizes[-1] @ right).sum(0).float()
    assert close(combined(method("AlignedMTL"), gradients), expected, gradients)


@few
@given(gradients=matrices().filter(independent))
def test_config_is_torchjds_on_the_whole_gradients(gradients: Tensor) -> None:
    expected = aggregation.ConFIG()(gradients)
    assert close(combined(method("ConFIG"), gradients), expected, gradients)


@few
@given(gradients=matrices(least=2))
def test_the_bargain_is_struck(gradients: Tensor) -> None:
    assume(all(row.any() for row in gradients))
    units = gradients.double() / gradients.double().norm(dim=1, keepdim=True)
    cosines = units @ units.T
    found = bargain(cosines)
    assert (found > 0).all() and found.isfinite().all()
    if torch.linalg.eigvalsh(cosines)[0] > 1e-3:
        assert ((cosines @ found) * found - 1).abs().max() < 1e-4
        expected = (len(gradients) ** 0.5) * gradients.norm()
        assert abs(float(combined(method("NashMTL"), gradients).norm() / expected) - 1) < 1e-3


@few
@given(steps=st.lists(pairs(), min_size=1, max_size=4), beta=st.floats(0, 1))
def test_gradvac_of_two(steps: list[Tensor], beta: float) -> None:
    balancer, usual = method("GradVac", beta=beta), [0.0, 0.0]
    for gradients in steps:
        expected = torch.zeros(gradients.shape[1], dtype=torch.float64)
        for place in (0, 1):
            one, other = gradients.double()[[place, 1 - place]]
            cosine, wanted = float(one @ other / one.norm() / other.norm()), usual[place]
            expected += one
            if cosine < wanted:
                sines = (1 - cosine**2) ** 0.5, (1 - wanted**2) ** 0.5
                expected += (
                    one.norm() * (wanted * sines[0] - cosine * sines[1]) / (other.norm() * sines[1]) * other
                )
            usual[place] = (1 - beta) * wanted + beta * cosine
        assert close(combined(balancer, gradients), expected.float(), gradients, 1e-3)


def test_gradvac_remembers_pairs_whatever_the_step() -> None:
    """A step of some of the tasks moves their averages, and no others."""
    balancer = method("GradVac", tasks=4, beta=0.5)
    combined(balancer, torch.tensor([[1.0, 0.0], [1.0, 1.0]]), "BD")
    cosine = 0.5 * 0.5**0.5
    expected = torch.zeros(4, 4, dtype=torch.float64)
    expected[1, 3] = expected[3, 1] = cosine
    torch.testing.assert_close(balancer.state_dict()["cosines"], expected)


@pytest.mark.parametrize("leak", [0.0, 0.25, 1.0])
def test_grad_drop_keeps_a_sign(leak: float) -> None:
    """In the mean as often as its share of all that pulls."""
    gradients = torch.tensor([[3.0], [-1.0]]).repeat(1, 4000)
    result = combined(method("GradDrop", leak=leak), gradients)
    kept = {3.0 - leak, 3 * leak - 1.0}
    assert set(result.tolist()) == kept
    if leak < 1:
        assert abs(float((result == 3.0 - leak).float().mean()) - 0.75) < 0.03


def test_cagrad_lifts_the_worst_off() -> None:
    gradients = torch.tensor([[3.0, 0.0], [-1.0, 1.0]])
    worst = [float((gradients @ combined(method("CAGrad", c=c), gradients)).min()) for c in (0.0, 0.4, 0.8)]
    assert worst[0] < worst[1] < worst[2]
    mean = gradients.mean(0)
    step = combined(method("CAGrad", c=0.4), gradients) * 1.4 / 2
    assert float((step - mean).norm()) == pytest.approx(0.4 * float(mean.norm()), rel=1e-3)


def test_the_cost_in_memory_is_a_copy_at_most() -> None:
    """The Gramian is made a piece at a time."""
    assert isinstance(method("UPGrad"), GramianMethod)
    shape: list[int] = []
    double = Tensor.double

    def watched(tensor: Tensor) -> Tensor:
        shape.append(tensor.numel())
        return double(tensor)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Tensor, "double", watched)
        gramian_of(torch.ones(2, 1_000_000))
    assert max(shape) <= 2 * 65_536 and sum(shape) == 2_000_000
