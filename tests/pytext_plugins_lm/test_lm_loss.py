"""The chunked loss is torch's own."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pytext_plugins_lm.loss import linear_cross_entropy


def inputs(
    rows: int, dim: int, words: int, *, dtype: torch.dtype = torch.float64, seed: int = 0
) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    shapes = ((rows, dim), (words, dim), (words,))
    numbers = [torch.randn(shape, generator=generator, dtype=dtype).requires_grad_() for shape in shapes]
    return *numbers, torch.randint(words, (rows,), generator=generator)


def plain(hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor) -> Tensor:
    return F.cross_entropy(F.linear(hidden, weight, bias), targets, reduction="sum")


def gradients(total: Tensor, *parts: Tensor) -> tuple[Tensor, ...]:
    return torch.autograd.grad(total, parts)


@settings(deadline=None)
@given(
    rows=st.integers(0, 20),
    dim=st.integers(1, 8),
    words=st.integers(1, 30),
    chunk_rows=st.one_of(st.none(), st.integers(1, 25)),
    with_bias=st.booleans(),
    scale=st.sampled_from([1.0, -0.3, 0.0]),
    seed=st.integers(0, 99),
)
def test_values_and_gradients_are_those_of_cross_entropy(
    rows: int, dim: int, words: int, chunk_rows: int | None, with_bias: bool, scale: float, seed: int
) -> None:
    hidden, weight, bias, targets = inputs(rows, dim, words, seed=seed)
    parts = (hidden, weight, bias) if with_bias else (hidden, weight)
    total, losses = linear_cross_entropy(
        hidden, weight, bias if with_bias else None, targets, chunk_rows=chunk_rows
    )
    expected = plain(hidden, weight, bias if with_bias else None, targets)
    torch.testing.assert_close(total, expected)
    torch.testing.assert_close(losses.sum(), expected.detach())
    wanted = gradients(expected * scale, *parts)
    for ours, theirs in zip(gradients(total * scale, *parts), wanted, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_gradcheck() -> None:
    *parts, targets = inputs(7, 3, 5)
    assert torch.autograd.gradcheck(lambda *p: linear_cross_entropy(*p, targets, chunk_rows=3)[0], parts)


def test_each_rows_loss_is_its_own_and_has_no_gradient() -> None:
    hidden, weight, bias, targets = inputs(9, 4, 11)
    _, losses = linear_cross_entropy(hidden, weight, bias, targets, chunk_rows=2)
    expected = F.cross_entropy(F.linear(hidden, weight, bias), targets, reduction="none")
    torch.testing.assert_close(losses, expected.detach())
    assert not losses.requires_grad


def test_backward_may_run_twice_and_one_weight_may_be_used_twice() -> None:
    hidden, weight, bias, targets = inputs(6, 4, 9)
    total, _ = linear_cross_entropy(hidden, weight, bias, targets, chunk_rows=4)
    first = torch.autograd.grad(total, (hidden, weight, bias), retain_graph=True)
    second = torch.autograd.grad(total, (hidden, weight, bias))
    assert all(torch.equal(one, two) for one, two in zip(first, second, strict=True))

    def twice(loss: Callable[..., Tensor]) -> tuple[Tensor, ...]:
        total = loss(weight[targets], weight, bias, targets) + 2 * loss(hidden, weight, bias, targets)
        return gradients(total, weight)

    for ours, theirs in zip(twice(lambda *p: linear_cross_entropy(*p)[0]), twice(plain), strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("frozen", range(3))
def test_a_frozen_part_leaves_the_other_gradients_as_they_are(frozen: int) -> None:
    *parts, targets = inputs(6, 4, 9)
    parts[frozen].requires_grad_(False)
    wanted = [part for part in parts if part.requires_grad]
    ours = gradients(linear_cross_entropy(*parts, targets)[0], *wanted)
    for one, other in zip(ours, gradients(plain(*parts, targets), *wanted), strict=True):
        torch.testing.assert_close(one, other)


def test_without_gradients_the_values_are_the_same() -> None:
    *parts, targets = inputs(6, 4, 9)
    total, losses = linear_cross_entropy(*parts, targets)
    for context in (torch.no_grad(), torch.inference_mode()):
        with context:
            again, again_losses = linear_cross_entropy(*parts, targets)
        assert torch.equal(again, total) and torch.equal(again_losses, losses)
        assert not again.requires_grad


def test_a_word_of_no_probability_costs_what_it_must() -> None:
    hidden = torch.tensor([[1.0], [1.0]])
    weight = torch.tensor([[0.0], [300.0], [-300.0]])
    total, losses = linear_cross_entropy(hidden, weight, None, torch.tensor([2, 1]))
    assert losses.tolist() == [600.0, 0.0]
    assert torch.isfinite(total)


@pytest.mark.parametrize("chunk_rows", [3, None])
def test_autocast_multiplies_in_its_type_and_sums_in_fp32(chunk_rows: int | None) -> None:
    hidden, weight, bias, targets = inputs(64, 16, 50, dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        total, losses = linear_cross_entropy(hidden.bfloat16(), weight, bias, targets, chunk_rows=chunk_rows)
    assert total.dtype == losses.dtype == torch.float32
    expected = plain(hidden, weight, bias, targets)
    torch.testing.assert_close(total, expected, rtol=0.01, atol=0)
    for ours, theirs in zip(gradients(total, weight, bias), gradients(expected, weight, bias), strict=True):
        assert ours.dtype == torch.float32
        assert (ours - theirs).norm() < 0.02 * theirs.norm()


def test_weights_in_bfloat16() -> None:
    hidden, weight, bias, targets = (part.detach() for part in inputs(32, 16, 50, dtype=torch.float32))
    parts = [part.bfloat16().requires_grad_() for part in (hidden, weight, bias)]
    total, _ = linear_cross_entropy(*parts, targets, chunk_rows=8)
    expected = plain(hidden, weight, bias, targets)
    torch.testing.assert_close(total, expected, rtol=0.01, atol=0)
    assert all(part.dtype == torch.bfloat16 for part in gradients(total, *parts))


def test_what_the_compiler_sees_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    *parts, targets = inputs(6, 4, 9, dtype=torch.float32)
    total, losses = linear_cross_entropy(*parts, targets)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    compiled, compiled_losses = linear_cross_entropy(*parts, targets)
    torch.testing.assert_close(compiled, total)
    torch.testing.assert_close(compiled_losses, losses)
    for ours, theirs in zip(gradients(compiled, *parts), gradients(total, *parts), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_no_buffer_holds_the_scores_of_all_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, words = 512, 20_000
    hidden, weight, bias, targets = inputs(rows, 4, words, dtype=torch.float32)
    with torch.profiler.profile(profile_memory=True) as profile:
        linear_cross_entropy(hidden, weight, bias, targets)[0].backward()
    largest = max(event.cpu_memory_usage for event in profile.events())
    assert 0 < largest < rows * words * 4 / 4
