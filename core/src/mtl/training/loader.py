"""The training batches of a phase, cut on demand or ahead of time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from attrs import define, field

from mtl.data.batching import Batching
from mtl.data.columns import Batch, Rows
from mtl.data.prefetch import Prefetcher
from mtl.training.processes import Processes
from mtl.training.timeline import BatchSpan, Step

BatchKey = tuple[str, int, int]
"""A batch: its task, the pass over the task's data, and its number in that pass."""


@define(eq=False)
class BatchLoader:
    """Load the batches of steps onto the device.

    On a GPU, `look_ahead` prepares them on a thread while earlier steps are computed; a CPU would prepare
    them on the cores that compute.
    """

    rows: Mapping[str, Rows]
    batching: Mapping[str, Batching]
    device: torch.device
    processes: Processes = field(factory=Processes)
    prefetches: bool = field(init=False)
    _prefetcher: Prefetcher[BatchKey] | None = field(init=False, default=None)

    def __attrs_post_init__(self) -> None:
        self.prefetches = self.device.type == "cuda"

    def look_ahead(self, steps: Sequence[Step]) -> None:
        """Prefetch the batches of `steps`, which must then be loaded in order; some may be left out."""
        self.stop()
        if self.prefetches:
            keys = [key for step in steps for span in step.spans for key in self.keys(span)]
            self._prefetcher = Prefetcher(keys, self._cut, self.device)
            self._prefetcher.start()

    def stop(self) -> None:
        """Stop prefetching."""
        if self._prefetcher is not None:
            self._prefetcher.stop()
            self._prefetcher = None

    def keys(self, span: BatchSpan) -> list[BatchKey]:
        """Return the keys of the batches of a span, in order, that this process has rows of."""
        return [key for key in batch_keys(span) if len(self._row_numbers(key))]

    def load(self, key: BatchKey) -> Batch:
        """Return a batch, on the device."""
        if self._prefetcher is not None:
            return self._prefetcher.take(key)
        return self._cut(key).to(self.device)

    def _cut(self, key: BatchKey) -> Batch:
        return self.rows[key[0]].batch(self._row_numbers(key), pin=self.device.type == "cuda")

    def _row_numbers(self, key: BatchKey) -> np.ndarray:
        task, pass_index, number = key
        return self.processes.share(self.batching[task].batches(pass_index)[number])

    def describe_rows(self, span: BatchSpan) -> str:
        """Name the rows of a span by file and line, for messages."""
        rows = self.rows[span.task]
        batches = self.batching[span.task].batches(span.pass_index)[span.start : span.stop]
        lines = sorted({int(rows.lines[row]) for batch in batches for row in batch})
        shown = ", ".join(map(str, lines[:20])) + (", ..." if len(lines) > 20 else "")
        return f"on the rows {rows.path}: {shown}"

    def describe_largest(self, step: Step) -> str:
        """Describe the largest batch of a step, for the message of an out-of-memory error."""
        size, longest, span = max(
            (
                (len(batch), int(self.rows[span.task].lengths[batch].max()), span)
                for span in step.spans
                for batch in self.batching[span.task].batches(span.pass_index)[span.start : span.stop]
            ),
            key=lambda found: found[0] * found[1],
        )
        where = self.describe_rows(span)
        return f"a batch of {span.task} with {size:,} rows of up to {longest:,} tokens, {where}"


def batch_keys(span: BatchSpan) -> list[BatchKey]:
    """Return the keys of a span's batches, in order."""
    return [(span.task, span.pass_index, number) for number in range(span.start, span.stop)]
