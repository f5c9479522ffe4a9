"""Cross-entropy over a large vocabulary, without the scores of all words in memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from attrs import frozen
from torch import Tensor
from torch.autograd.function import once_differentiable

# Scores of one chunk: they should fit a CPU's cache; a GPU needs few large chunks.
CPU_CHUNK_BYTES = 2 * 2**20
GPU_CHUNK_BYTES = 64 * 2**20


def linear_cross_entropy(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, *, chunk_rows: int | None = None
) -> tuple[Tensor, Tensor]:
    """Return the cross-entropy of `softmax(hidden @ weight.T + bias)` with `targets`.

    Shapes: `hidden` `[rows, dim]`, `weight` `[words, dim]`, `bias` `[words]`, `targets` `[rows]`
    (int64). Returns the sum over all rows, with gradient, and each row's part of it, `[rows]`, without.

    Equals `F.cross_entropy(F.linear(hidden, weight, bias), targets)`, but scores `chunk_rows` rows at a
    time (by default as many as suit the device) and computes gradients, if needed, from the same scores:
    `backward` only scales them. It cannot be differentiated twice. Under `torch.autocast`, products are
    in its dtype, sums in fp32.
    """
    if torch.compiler.is_compiling():  # the compiler fuses the plain formula itself
        losses = F.cross_entropy(F.linear(hidden, weight, bias).float(), targets, reduction="none")
        return losses.sum(), losses.detach()
    device = hidden.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else weight.dtype
    if bias is None:
        bias = weight.new_zeros(len(weight))
    chunk_rows = chunk_rows or _chunk_rows(weight)
    with torch.autocast(device, enabled=False):
        hidden = hidden.to(dtype)
        if torch.is_grad_enabled():
            apply: Callable[..., tuple[Tensor, Tensor]] = _LinearCrossEntropy.apply
            return apply(hidden, weight, bias, targets, chunk_rows)
        losses = _score(hidden, weight, bias, targets, chunk_rows, _Gradients(None, None, None))
        return losses.sum(), losses


def _chunk_rows(weight: Tensor) -> int:
    """Return the rows per chunk: at least the width, as each chunk reads and writes the whole gradient of
    the weight, which must not dominate its scores."""
    size = CPU_CHUNK_BYTES if weight.device.type == "cpu" else GPU_CHUNK_BYTES
    words, dim = weight.shape
    return max(size // (words * weight.element_size()), dim)


@frozen(eq=False)
class _Gradients:
    """Where to put the gradients of the sum; None for those not needed."""

    hidden: Tensor | None
    weight: Tensor | None
    bias: Tensor | None


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, chunk_rows: int
    ) -> tuple[Tensor, Tensor]:
        wants_hidden, wants_weight, wants_bias, *_ = ctx.needs_input_grad
        gradients = _Gradients(
            torch.empty_like(hidden, memory_format=torch.contiguous_format) if wants_hidden else None,
            torch.zeros_like(weight, dtype=_sum_dtype(weight)) if wants_weight else None,
            torch.zeros_like(bias, dtype=_sum_dtype(bias)) if wants_bias else None,
        )
        losses = _score(hidden, weight, bias, targets, chunk_rows, gradients)
        ctx.save_for_backward(gradients.hidden, gradients.weight, gradients.bias)
        ctx.mark_non_differentiable(losses)
        return losses.sum(), losses

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, scale: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        return *(None if part is None else part * scale for part in ctx.saved_tensors), None, None


def _score(
    hidden: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, chunk_rows: int, gradients: _Gradients
) -> Tensor:
    """Return the loss of each row, `[rows]`; fills `gradients` on the way."""
    weight, bias = weight.to(hidden.dtype), bias.to(hidden.dtype)
    scores = hidden.new_empty(min(chunk_rows, len(hidden)), len(weight))
    losses = torch.empty_like(targets, dtype=_sum_dtype(hidden))
    # Probabilities take the place of their scores where they are of one type.
    probabilities = scores if scores.dtype == losses.dtype else torch.empty_like(scores, dtype=losses.dtype)
    for start in range(0, len(hidden), chunk_rows):
        rows = slice(start, start + chunk_rows)
        inputs, wanted = hidden[rows], targets[rows, None]
        score = torch.addmm(bias, inputs, weight.t(), out=scores[: len(inputs)])
        highest, own = score.amax(-1).to(losses.dtype), score.gather(-1, wanted).squeeze(-1)
        probability = torch.softmax(score, -1, dtype=losses.dtype, out=probabilities[: len(inputs)])
        # Relative to the highest score the partition sum is one over the highest probability,
        # which never underflows, as the target's own may.
        losses[rows] = highest - probability.amax(-1).log() - own
        _accumulate(gradients, rows, probability, wanted, inputs, weight)
    return losses


def _accumulate(
    gradients: _Gradients, rows: slice, probability: Tensor, wanted: Tensor, inputs: Tensor, weight: Tensor
) -> None:
    """Add a chunk's part; the gradient of its scores is `probability`, less one at `wanted`."""
    if gradients.hidden is None and gradients.weight is None and gradients.bias is None:
        return
    error = probability.scatter_add_(-1, wanted, probability.new_full(wanted.shape, -1.0))
    if gradients.bias is not None:
        gradients.bias.add_(error.sum(0))
    error = error.to(weight.dtype)
    if gradients.hidden is not None:
        torch.mm(error, weight, out=gradients.hidden[rows])
    if gradients.weight is None:
        return
    if gradients.weight.dtype == inputs.dtype:
        gradients.weight.addmm_(error.t(), inputs)
    else:
        gradients.weight.add_(error.t() @ inputs)


def _sum_dtype(numbers: Tensor) -> torch.dtype:
    """Return the type to sum up in: fp32, or fp64 where the numbers come in it."""
    return torch.promote_types(numbers.dtype, torch.float32)
