"""One pass over a split: loss and metrics."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from mtl.components import ModelOutput, Task
from mtl.data.batching import evaluation_batches
from mtl.data.columns import Rows
from mtl.errors import MtlError, component_errors, is_out_of_memory
from mtl.training.processes import Processes, can_merge

ALONE = Processes()
Progress = Callable[[int, int], None]
"""Called with the batches evaluated so far, from 0, and their number."""
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class EvaluationInterrupted(MtlError):
    """The run is to be interrupted before an evaluation has ended."""


def evaluate(
    task: Task[Any],
    model: nn.Module,
    rows: Rows,
    *,
    device: torch.device,
    precision: torch.dtype,
    batches: Sequence[np.ndarray] | None = None,
    progress: Progress = lambda done, batches: None,
    calibrate: bool = False,
    processes: Processes = ALONE,
) -> dict[str, Any]:
    """Return the loss and the metrics of `rows`, None for each that is undefined or not finite. `batches` are
    the row numbers of each batch to evaluate; all rows if absent. What `progress` raises ends it.
    With `calibrate` the task first fits thresholds and the like to these rows. Several `processes` evaluate
    a share of the batches each.

    The same rows give the same values, however often and between whichever steps.

    Raises `ComponentError` if the task's model or metrics fail, `MtlError` if it runs out of memory.
    """
    try:
        with component_errors(task, f"to evaluate {rows.path}"):
            return _evaluate(task, model, rows, device, precision, batches, progress, calibrate, processes)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        size = task.config.eval_batch_size or task.config.batch_size
        raise MtlError(
            f"out of memory while evaluating {task.name} on {rows.path}, in batches of {size:,} rows;"
            " try a smaller `eval_batch_size`"
        ) from error


def _evaluate(
    task: Task[Any],
    model: nn.Module,
    rows: Rows,
    device: torch.device,
    precision: torch.dtype,
    batches: Sequence[np.ndarray] | None,
    progress: Progress,
    calibrate: bool,
    processes: Processes,
) -> dict[str, Any]:
    metrics = task.metrics()
    if batches is None:
        batches = batches_to_score(task, rows)
    shared = processes if can_merge(metrics) else ALONE
    batches = shared.share(batches)
    total = torch.zeros((), dtype=torch.float64, device=device)
    weight = torch.zeros((), dtype=torch.float64, device=device)
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode(), autocast(device, precision):
            progress(0, len(batches))
            for done, row_numbers in enumerate(batches, 1):
                batch = rows.batch(row_numbers).to(device)
                output: ModelOutput = model(batch)
                if output.loss is not None:
                    total += output.loss.total
                    weight += output.loss.weight
                with component_errors(metrics, f"to add a batch of {rows.path}"):
                    metrics.update(output, batch)
                progress(done, len(batches))
    finally:
        model.train(was_training)
    shared.add(total, weight)
    metrics = shared.merged(metrics, task.metrics())
    loss = (total / weight).item() if weight.item() else None
    if calibrate:
        task.calibrate(model, metrics)
    with component_errors(metrics, f"to compute the metrics of {rows.path}"):
        values: dict[str, Any] = finite({"loss": loss, **metrics.compute()})
        return values


def finite(value: Any) -> Any:
    """Return a JSON value with None for each number in it that is not finite: such a metric is undefined."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: finite(each) for name, each in value.items()}
    return [finite(each) for each in value] if isinstance(value, (list, tuple)) else value


def batches_to_score(task: Task[Any], rows: Rows) -> list[np.ndarray]:
    """Return the row numbers of each evaluation batch."""
    return evaluation_batches(rows.lengths, task.config.eval_batch_size or task.config.batch_size)


def autocast(device: torch.device, precision: torch.dtype) -> torch.autocast:
    """Run the forward pass in `precision`; float32 changes nothing."""
    return torch.autocast(device.type, dtype=precision, enabled=precision is not torch.float32)
