"""What a server accepts, and how it refuses the rest."""

from __future__ import annotations

from attrs import frozen


@frozen
class Limits:
    """The largest request that is answered, and the longest queue.

    `body_bytes` and `rows` are those of a request, `queued_rows` those of all requests that wait,
    `seconds` the longest time that a request waits for its answer, `batch_rows` the rows that are predicted
    at once.
    """

    body_bytes: int = 1_000_000
    rows: int = 256
    queued_rows: int = 4096
    seconds: float = 30.0
    batch_rows: int = 64


class Refused(Exception):
    """A request that is not answered: an HTTP status and the reason in one line."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
