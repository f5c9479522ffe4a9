"""Counts and times in the text format of Prometheus."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from attrs import define, field

from mtl_serve.models import Model

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


@define(eq=False)
class ServerMetrics:
    """What a server has answered so far, by task and HTTP status."""

    requests: Counter[tuple[str, int]] = field(factory=Counter)
    rows: Counter[str] = field(factory=Counter)
    seconds: dict[str, float] = field(factory=dict)
    buckets: Counter[tuple[str, float]] = field(factory=Counter)
    reloads: int = 0

    def add(self, task: str, status: int, rows: int, seconds: float) -> None:
        """Count a request."""
        self.requests[task, status] += 1
        if status == 200:
            self.rows[task] += rows
            self.seconds[task] = self.seconds.get(task, 0.0) + seconds
            for bucket in BUCKETS:
                self.buckets[task, bucket] += seconds <= bucket

    def render(self, model: Model) -> str:
        """Return all of them as text."""
        return "".join(f"{line}\n" for line in self._lines(model))

    def _lines(self, model: Model) -> Iterator[str]:
        yield "# HELP mtl_requests_total Requests for predictions, by HTTP status."
        yield "# TYPE mtl_requests_total counter"
        for (task, status), count in sorted(self.requests.items()):
            yield f'mtl_requests_total{{task="{_escaped(task)}",status="{status}"}} {count}'
        yield "# HELP mtl_rows_total Rows predicted."
        yield "# TYPE mtl_rows_total counter"
        for task in model.batchers:
            yield f'mtl_rows_total{{task="{_escaped(task)}"}} {self.rows[task]}'
        yield "# HELP mtl_batches_total Batches predicted by the current model."
        yield "# TYPE mtl_batches_total counter"
        for task, batcher in model.batchers.items():
            yield f'mtl_batches_total{{task="{_escaped(task)}"}} {batcher.batches}'
        yield "# HELP mtl_queued_rows Rows that wait or are being predicted."
        yield "# TYPE mtl_queued_rows gauge"
        for task, batcher in model.batchers.items():
            yield f'mtl_queued_rows{{task="{_escaped(task)}"}} {batcher.queued}'
        yield "# HELP mtl_request_seconds Time from request to answer."
        yield "# TYPE mtl_request_seconds histogram"
        for task in model.batchers:
            count = self.requests[task, 200]
            for bucket in BUCKETS:
                labels = f'task="{_escaped(task)}",le="{bucket:g}"'
                yield f"mtl_request_seconds_bucket{{{labels}}} {self.buckets[task, bucket]}"
            yield f'mtl_request_seconds_bucket{{task="{_escaped(task)}",le="+Inf"}} {count}'
            yield f'mtl_request_seconds_sum{{task="{_escaped(task)}"}} {self.seconds.get(task, 0.0):.6f}'
            yield f'mtl_request_seconds_count{{task="{_escaped(task)}"}} {count}'
        yield "# HELP mtl_reloads_total Times that a new model was loaded."
        yield "# TYPE mtl_reloads_total counter"
        yield f"mtl_reloads_total {self.reloads}"


def _escaped(label: str) -> str:
    return label.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
