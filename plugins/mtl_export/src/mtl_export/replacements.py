"""Modules in a form that can be exported: the same numbers, for any batch size and length."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch._higher_order_ops.scan import scan
from torch.nn import functional as F

from mtl.errors import UsageError

# torch traces an LSTM as a loop over the time of the example.


def _require_plain(lstm: nn.LSTM) -> None:
    if lstm.num_layers != 1 or lstm.bidirectional or lstm.proj_size or not lstm.batch_first:
        raise UsageError(
            "an LSTM can be exported if it has one layer, one direction, no projection and `batch_first`, but"
            f" one here is {lstm}"
        )


class ScanLSTM(nn.Module):
    """An LSTM as a scan over time, `[batch, time, dim]` to `[batch, time, hidden]`."""

    def __init__(self, lstm: nn.LSTM) -> None:
        super().__init__()
        _require_plain(lstm)
        self.weight_ih, self.weight_hh = (lstm.get_parameter(f"weight_{name}_l0") for name in ("ih", "hh"))
        biases = [lstm.get_parameter(f"bias_{name}_l0") for name in ("ih", "hh")] if lstm.bias else []
        self.bias = nn.Parameter(biases[0] + biases[1]) if biases else None

    def forward(self, inputs: Tensor) -> tuple[Tensor, None]:
        recurrent = self.weight_hh.t()

        def step(carry: tuple[Tensor, Tensor], gates: Tensor) -> tuple[tuple[Tensor, Tensor], Tensor]:
            hidden, cell = carry
            into, forget, new, out = (gates + hidden @ recurrent).chunk(4, dim=-1)
            cell = forget.sigmoid() * cell + into.sigmoid() * new.tanh()
            hidden = out.sigmoid() * cell.tanh()
            return (hidden, cell), hidden.clone()

        begin = inputs.new_zeros(inputs.shape[0], self.weight_hh.shape[1])
        gates = F.linear(inputs, self.weight_ih, self.bias).transpose(0, 1)
        _, states = scan(step, (begin, begin.clone()), gates)
        # A copy: a view would make its strides, and so the number of rows, a condition of the program.
        return states.transpose(0, 1).clone(memory_format=torch.contiguous_format), None


@torch.library.custom_op("mtl_export::lstm", mutates_args=())
def onnx_lstm(inputs: Tensor, weight: Tensor, recurrent: Tensor, bias: Tensor) -> Tensor:
    """Stand for the LSTM of ONNX: `inputs` `[time, batch, dim]` to `[time, 1, batch, hidden]`."""
    raise NotImplementedError("exists in an ONNX model only")


@onnx_lstm.register_fake
def _(inputs: Tensor, weight: Tensor, recurrent: Tensor, bias: Tensor) -> Tensor:
    return inputs.new_empty(inputs.shape[0], 1, inputs.shape[1], recurrent.shape[2])


class OnnxLSTM(nn.Module):
    """An LSTM as the operator of ONNX, which orders the gates in another way."""

    weight: Tensor
    recurrent: Tensor
    bias: Tensor

    def __init__(self, lstm: nn.LSTM) -> None:
        super().__init__()
        _require_plain(lstm)

        def ordered(tensor: Tensor) -> Tensor:
            into, forget, new, out = tensor.detach().chunk(4)
            return torch.cat([into, out, forget, new])[None]

        weights = [lstm.get_parameter(f"weight_{name}_l0") for name in ("ih", "hh")]
        biases = [weights[0].new_zeros(4 * lstm.hidden_size)] * 2
        if lstm.bias:
            biases = [lstm.get_parameter(f"bias_{name}_l0") for name in ("ih", "hh")]
        self.register_buffer("weight", ordered(weights[0]))
        self.register_buffer("recurrent", ordered(weights[1]))
        self.register_buffer("bias", torch.cat([ordered(bias) for bias in biases], dim=1))

    def forward(self, inputs: Tensor) -> tuple[Tensor, None]:
        states: Tensor = onnx_lstm(inputs.transpose(0, 1), self.weight, self.recurrent, self.bias)
        return states.squeeze(1).transpose(0, 1), None


class MeanBag(nn.Module):
    """`nn.EmbeddingBag` of mode "mean" with a padding index: `[bags, items]` to `[bags, dim]`."""

    def __init__(self, bag: nn.EmbeddingBag) -> None:
        super().__init__()
        if bag.mode != "mean" or bag.padding_idx is None:
            raise UsageError('an `EmbeddingBag` can be exported with mode "mean" and a `padding_idx` only')
        self.weight, self.padding = bag.weight, bag.padding_idx

    def forward(self, items: Tensor) -> Tensor:
        inside = (items != self.padding)[..., None]
        total = (F.embedding(items, self.weight) * inside).sum(dim=1)
        return total / inside.sum(dim=1).clamp(min=1)


def exportable(model: nn.Module, lstm: Callable[[nn.LSTM], nn.Module]) -> nn.Module:
    """Return a copy of a model on the CPU, in evaluation mode, with modules that can be exported."""
    copied = copy.deepcopy(model).cpu().eval().requires_grad_(False)
    made: dict[int, nn.Module] = {}
    for parent in list(copied.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is nn.LSTM:
                parent._modules[name] = made.setdefault(id(child), lstm(child))
            elif type(child) is nn.EmbeddingBag:
                parent._modules[name] = made.setdefault(id(child), MeanBag(child))
    return copied
