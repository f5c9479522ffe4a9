"""Dropout that is fast on a CPU."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_LEVELS = 2**16


class Dropout(nn.Dropout):
    """`torch.nn.Dropout` whose masks take sixteen random bits per element on a CPU, several times faster than
    torch's.

    The probability is `p` rounded to 1/65,536, and kept values are scaled by the rounded one, so that the
    expectation is exact.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Zero some values of any shape in training."""
        if not self.training or self.p == 0.0:
            return input
        if self.inplace or input.device.type != "cpu" or torch.compiler.is_compiling():
            return F.dropout(input, self.p, self.training, self.inplace)
        dropped = round(self.p * _LEVELS)
        if dropped == _LEVELS:
            return input * 0.0
        words = torch.empty(-(-input.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
        bits = words.view(torch.int16)[: input.numel()].view(input.shape)
        return input * (bits >= dropped - _LEVELS // 2).to(input.dtype).mul_(_LEVELS / (_LEVELS - dropped))
