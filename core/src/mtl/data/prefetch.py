"""Prefetching: batches are collated on a background thread while the device computes.

On a GPU this hides the time to index, pad, pin and copy a batch. A CPU would do the work on the same
cores, so there a batch is collated when its turn comes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from queue import Empty, Queue
from threading import Event, Thread
from typing import Generic, Self, TypeVar

import torch
from attrs import field, frozen

from mtl.data.columns import Batch

PlaceT = TypeVar("PlaceT")

AHEAD = 2
"""Batches that wait at most; one more may be in progress."""


@frozen(eq=False)
class _Ready(Generic[PlaceT]):
    """The batch of a place, or the error that prevented it; after `copied` a GPU may read it."""

    place: PlaceT
    batch: Batch | None = None
    error: BaseException | None = None
    copied: torch.cuda.Event | None = None


@frozen(eq=False)
class Prefetcher(Generic[PlaceT]):
    """Collates the batches of `places` ahead of their turn.

    `cut` returns the batch of a place, on the CPU; its memory should be pinned if `device` is a GPU, to
    which it is copied on a separate stream. What `cut` raises, `take` raises when the place's turn comes.
    A context manager that starts the thread and stops it.
    """

    places: Sequence[PlaceT]
    cut: Callable[[PlaceT], Batch]
    device: torch.device
    _waiting: Queue[_Ready[PlaceT] | None] = field(init=False, factory=lambda: Queue(AHEAD))
    _ends: Event = field(init=False, factory=Event)
    _thread: Thread = field(init=False)

    def __attrs_post_init__(self) -> None:
        thread = Thread(target=self._work, name="mtl-prefetch", daemon=True)
        object.__setattr__(self, "_thread", thread)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start the thread at the first place."""
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread, even if batches are left. It must have been started."""
        self._ends.set()
        while self._thread.is_alive():
            try:  # it may be waiting for room
                self._waiting.get(timeout=0.01)
            except Empty:
                continue
        self._thread.join()

    def take(self, place: PlaceT) -> Batch:
        """Return the batch of a place, on the device.

        Places must be taken in order; those left out are skipped. Raises `LookupError` for a place that
        is no longer ahead.
        """
        while (ready := self._waiting.get()) is not None:
            if ready.place == place:
                return self._received(ready)
        self._waiting.put(None)
        raise LookupError(f"{place} is not among the places that are left")

    def _work(self) -> None:
        on_gpu = self.device.type == "cuda"
        stream = torch.cuda.Stream(self.device) if on_gpu else None  # type: ignore[no-untyped-call]
        for place in self.places:
            if self._ends.is_set():
                return
            self._waiting.put(self._make(place, stream))
        self._waiting.put(None)

    def _make(self, place: PlaceT, stream: torch.cuda.Stream | None) -> _Ready[PlaceT]:
        try:
            with torch.cuda.stream(stream):
                batch = self.cut(place).to(self.device)
            return _Ready(place, batch, copied=stream.record_event() if stream is not None else None)
        except BaseException as error:
            return _Ready(place, error=error)

    def _received(self, ready: _Ready[PlaceT]) -> Batch:
        if ready.error is not None:
            raise ready.error
        assert ready.batch is not None
        if ready.copied is not None:
            computes = torch.cuda.current_stream(self.device)
            computes.wait_event(ready.copied)
            for tensor in (*ready.batch.tensors.values(), *ready.batch.lengths.values()):
                # The allocator must not give the memory away before the step has read it.
                tensor.record_stream(computes)
        return ready.batch
