"""A task's model as a function of tensors, and the tensors of a batch."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import attrs
import numpy as np
import torch
from attrs import frozen
from torch import Tensor, nn
from torch.fx.experimental import _config as config

from mtl import Batch, Dense, Rows
from mtl.errors import MtlError


@frozen
class Input:
    """An input of a program: a padded column, or the lengths of those columns that `lengths_of` names.

    `axis` names the dimension of time, None without one; `padding` fills up short rows.
    """

    name: str
    axis: str | None = None
    lengths_of: tuple[str, ...] = ()
    shape: tuple[int, ...] = ()
    padding: int = 0

    @property
    def dynamic(self) -> dict[int, Any]:
        """The dimensions of any size, as torch.export takes them."""
        any_size = torch.export.Dim.DYNAMIC
        return {0: any_size} if self.axis is None else {0: any_size, 1: any_size}


def inputs_of(rows: Rows, sequences: Sequence[str]) -> list[Input]:
    """Return the inputs for rows without targets: their columns, and lengths once per sequence and unit."""
    inputs: list[Input] = []
    groups: dict[str, list[str]] = {}
    for name, column in rows.columns.items():
        shape = tuple(column.values.shape[1:])
        if isinstance(column, Dense):
            inputs.append(Input(name, shape=shape))
            continue
        sequence = next((each for each in sequences if name.startswith(f"{each}.")), name)
        axis = f"{sequence}.{column.unit.value}s"
        groups.setdefault(axis, []).append(name)
        inputs.append(Input(name, axis, shape=shape, padding=column.padding))
    inputs += [Input(f"{axis}.lengths", None, tuple(names)) for axis, names in groups.items()]
    return inputs


def tensors_of(batch: Batch, inputs: Sequence[Input]) -> list[Tensor]:
    """Return the tensors of a batch for the inputs of a program, integers as int64."""
    tensors = [
        batch.lengths[each.lengths_of[0]] if each.lengths_of else batch.tensors[each.name] for each in inputs
    ]
    return [tensor if tensor.is_floating_point() else tensor.long() for tensor in tensors]


class Program(nn.Module):
    """The model of a task as a function of the tensors of `inputs`, in their order.

    Returns the tensors of the model's output, `outputs` by name. Columns are padded by `room` positions:
    torch.export takes a convolution over several positions for one that is never over a single one.
    """

    def __init__(
        self, model: nn.Module, inputs: Sequence[Input], outputs: Sequence[str], *, room: int = 0
    ) -> None:
        super().__init__()
        self.room = room
        self.model = model
        self.inputs = tuple(inputs)
        self.outputs = tuple(outputs)

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        given = dict(zip((each.name for each in self.inputs), tensors, strict=True))
        lengths = {name: given[each.name] for each in self.inputs for name in each.lengths_of}
        columns = {
            each.name: given[each.name]
            if each.axis is None
            else self._with_room(given[each.name], each.padding)
            for each in self.inputs
            if not each.lengths_of
        }
        rows = torch.arange(tensors[0].shape[0])
        output = self.model(Batch(columns, lengths, rows, words=0))
        return tuple(getattr(output, name) for name in self.outputs)

    def _with_room(self, column: Tensor, padding: int) -> Tensor:
        """Pad a column `[batch, time, ...]`."""
        last = (0, 0) * (column.dim() - 2)
        return nn.functional.pad(column, (*last, 0, self.room), value=padding) if self.room else column


def output_names(output: Any) -> list[str]:
    """Return the fields of a model's output that are tensors."""
    names = [each.name for each in attrs.fields(type(output)) if each.name != "loss"]
    return [name for name in names if isinstance(getattr(output, name), Tensor)]


def with_tensors(output: Any, tensors: Mapping[str, Tensor]) -> Any:
    """Return a model's output with other tensors."""
    return attrs.evolve(output, **tensors)


def example(rows: Rows) -> Batch:
    """Return a few long rows: sizes of 0 and 1 would be taken for constants."""
    longest = np.argsort(-rows.lengths, kind="stable")[:3]
    return rows.batch(longest[[*range(len(longest)), *([0] * (3 - len(longest)))]])


@contextmanager
def exporting(what: str) -> Iterator[None]:
    """Export without torch's notes; failures are `MtlError`s."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            yield
    except MtlError:
        raise
    except Exception as error:
        lines = [line for line in str(error).splitlines() if line.strip()] or [""]
        raise MtlError(
            f"{what} cannot be exported: {type(error).__name__}: {lines[0][:300]}; --debug shows more"
        ) from error
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


def traced(program: Program, batch: Batch) -> torch.export.ExportedProgram:
    """Return a program for any batch size and length."""
    tensors = tuple(tensors_of(batch, program.inputs))
    shapes = (tuple(each.dynamic for each in program.inputs),)
    # Else what holds for the example, such as more than one row, becomes a condition of the program.
    with config.patch(backed_size_oblivious=True):  # type: ignore[attr-defined]
        return torch.export.export(program, tensors, dynamic_shapes=shapes, strict=False)
