"""One pass over a split: loss and metrics."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from mtl.components import ModelOutput, Task
from mtl.data.batching import evaluation_batches
from mtl.data.columns import Rows
from mtl.errors import MtlError, blaming, is_out_of_memory


def evaluate(
    task: Task[Any], model: nn.Module, rows: Rows, *, device: torch.device, precision: torch.dtype
) -> dict[str, Any]:
    """The loss and the metrics of `rows`, the loss None where nothing was scored.

    The same rows give the same figures, however often and between whichever steps.

    Raises `ComponentError` where the task's model or metrics fail, `MtlError` where memory is short.
    """
    try:
        with blaming(task, f"to score {rows.path}"):
            return _evaluate(task, model, rows, device, precision)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        size = task.config.eval_batch_size or task.config.batch_size
        raise MtlError(
            f"out of memory while {task.name} is scored on {rows.path}, in batches of {size:,} rows;"
            " try a smaller `eval_batch_size`"
        ) from error


def _evaluate(
    task: Task[Any], model: nn.Module, rows: Rows, device: torch.device, precision: torch.dtype
) -> dict[str, Any]:
    config, metrics = task.config, task.metrics()
    total = torch.zeros((), dtype=torch.float64, device=device)
    weight = torch.zeros((), dtype=torch.float64, device=device)
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode(), autocast(device, precision):
            for row_numbers in evaluation_batches(rows.lengths, config.eval_batch_size or config.batch_size):
                batch = rows.batch(row_numbers).to(device)
                output: ModelOutput = model(batch)
                if output.loss is not None:
                    total += output.loss.total
                    weight += output.loss.weight
                with blaming(metrics, f"to add a batch of {rows.path}"):
                    metrics.update(output, batch)
    finally:
        model.train(was_training)
    loss = (total / weight).item() if weight.item() else None
    with blaming(metrics, f"to compute the figures of {rows.path}"):
        return {"loss": loss if loss is None or math.isfinite(loss) else None, **metrics.compute()}


def autocast(device: torch.device, precision: torch.dtype) -> torch.autocast:
    """The forward pass in `precision`; nothing changes with float32."""
    return torch.autocast(device.type, dtype=precision, enabled=precision is not torch.float32)
