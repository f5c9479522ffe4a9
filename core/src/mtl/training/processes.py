"""The processes that train one model together, each on its share of every batch."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from attrs import field, frozen
from torch import Tensor, nn

from mtl.components import Metrics
from mtl.data.batching import seed_generators
from mtl.errors import MtlError
from mtl.training.state import StepSums

BUCKET = 25 * 2**20
"""Bytes of gradients that are summed at once."""

Items = TypeVar("Items", Sequence[Any], np.ndarray)


class ProcessEnded(MtlError):
    """Another process of the run has ended, so that this one cannot go on; the other one said why."""


@frozen
class Processes:
    """The processes of a run, of which this is number `rank`; alone, all methods change nothing.

    Losses are sums with a weight, so shares of any sizes, also empty ones, add up to the whole batch: the
    result is that of one process, up to rounding and the draws of dropout.
    """

    rank: int = 0
    count: int = 1
    device: torch.device = field(factory=lambda: torch.device("cpu"))

    @property
    def leads(self) -> bool:
        """Whether this process writes the run folder."""
        return self.rank == 0

    def share(self, items: Items) -> Items:
        """Return this process's share: every `count`-th item."""
        return items if self.count == 1 else items[self.rank :: self.count]

    @contextmanager
    def own_draws(self, seed: int, step: int, span: int) -> Iterator[None]:
        """Draw other random numbers inside than the other processes, and go on outside as if none had been
        drawn: what a balancer draws is the same everywhere."""
        if self.count == 1:
            yield
            return
        with torch.random.fork_rng(enabled=True):
            seed_generators(seed, "step", step, "span", span, "process", self.rank)
            yield

    def reduce(self, parameters: Sequence[nn.Parameter], sums: StepSums) -> None:
        """Add up the gradients of a span and the sums of its losses and rows.

        A parameter without a gradient in any process keeps None.
        """
        if self.count == 1:
            return
        counts = [sums.total, sums.weight, sums.rows, sums.words, sums.pieces]
        used = [parameter.grad is not None for parameter in parameters]
        head = torch.stack([_scalar(value, self.device) for value in (*counts, *used)])
        self._sum(head)
        sums.total, sums.weight = head[0], head[1]
        sums.rows, sums.words, sums.pieces = (int(count) for count in head[2:5].tolist())
        gradients = []
        for parameter, users in zip(parameters, head[5:].tolist(), strict=True):
            if users:
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
                gradients.append(parameter.grad)
        for bucket in _buckets(gradients):
            if len(bucket) == 1 and bucket[0].is_contiguous():
                self._sum(bucket[0])
                continue
            flat = torch.cat([gradient.reshape(-1) for gradient in bucket])
            self._sum(flat)
            parts = torch.split(flat, [gradient.numel() for gradient in bucket])
            torch._foreach_copy_(
                bucket, [part.view_as(each) for part, each in zip(parts, bucket, strict=True)]
            )

    def add(self, total: Tensor, weight: Tensor) -> None:
        """Add up the sums of an evaluation, in place."""
        if self.count > 1:
            both = torch.stack([total, weight])
            self._sum(both)
            total.copy_(both[0])
            weight.copy_(both[1])

    def merged(self, own: Metrics[Any], fresh: Metrics[Any]) -> Metrics[Any]:
        """Return the metrics of the rows of all processes: `fresh` after it has merged them in order."""
        if self.count == 1:
            return own
        from safetensors.torch import load, save

        state = {name: tensor.cpu().contiguous() for name, tensor in own.state().items()}
        for content in self._gather(save(state)):
            fresh.merge(load(content))
        return fresh

    def tell(self, value: Any) -> Any:
        """Return the value, of JSON, that the leading process gave."""
        if self.count == 1:
            return value
        return json.loads(self._gather(json.dumps(value if self.leads else None).encode())[0])

    def any(self, *flags: bool) -> list[bool]:
        """Return for each flag whether it is set in any process."""
        if self.count == 1:
            return list(flags)
        votes = torch.tensor(flags, dtype=torch.float64, device=self.device)
        self._sum(votes)
        return [bool(vote) for vote in votes.tolist()]

    def spread(self, module: nn.Module) -> None:
        """Give the parameters and buffers of the leading process to all."""
        if self.count > 1:
            for tensor in (*module.parameters(), *module.buffers()):
                with _ended():
                    dist.broadcast(tensor.data, 0)

    def _sum(self, tensor: Tensor) -> None:
        with _ended():
            dist.all_reduce(tensor)

    def _gather(self, content: bytes) -> list[bytes]:
        length = torch.tensor([len(content)], device=self.device)
        lengths = [torch.zeros_like(length) for _ in range(self.count)]
        with _ended():
            dist.all_gather(lengths, length)
        longest = max(int(each) for each in lengths)
        padded = torch.frombuffer(bytearray(content.ljust(longest, b"\0")), dtype=torch.uint8)
        padded = padded.to(self.device)
        contents = [torch.empty_like(padded) for _ in range(self.count)]
        with _ended():
            dist.all_gather(contents, padded)
        return [
            bytes(each.cpu().numpy()[: int(size)].tobytes())
            for each, size in zip(contents, lengths, strict=True)
        ]


def can_merge(metrics: Metrics[Any]) -> bool:
    """Return whether metrics of shares can be merged. Otherwise, each process evaluates all rows."""
    return type(metrics).merge is not Metrics.merge and type(metrics).state is not Metrics.state


@contextmanager
def _ended() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise ProcessEnded("another process of this run has ended") from error


def _scalar(value: Tensor | float, device: torch.device) -> Tensor:
    return torch.as_tensor(value, dtype=torch.float64, device=device).detach()


def _buckets(gradients: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Yield groups of gradients of one type, each of at most `BUCKET` bytes if it has several."""
    bucket: list[Tensor] = []
    size = 0
    for gradient in gradients:
        bytes_ = gradient.numel() * gradient.element_size()
        if bucket and (size + bytes_ > BUCKET or gradient.dtype != bucket[0].dtype):
            yield bucket
            bucket, size = [], 0
        bucket.append(gradient)
        size += bytes_
    if bucket:
        yield bucket
