"""Dynamic batching: rows of different requests are predicted together."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from attrs import define, field

from mtl.runs import LoadedRun
from mtl_serve.limits import Limits, Refused


@define(eq=False)
class _Waiting:
    """Rows of a request that wait for their answers."""

    rows: Sequence[Any]
    answers: asyncio.Future[list[dict[str, Any]]]


@define(eq=False)
class Batcher:
    """Predicts the rows of one task.

    While a batch is predicted, requests wait; the next batch takes all that have come by then, up to
    `batch_rows`. So a lone request is answered at once, and many together make large batches.
    """

    run: LoadedRun
    task: str
    limits: Limits
    executor: ThreadPoolExecutor
    queued: int = 0
    batches: int = 0
    _waiting: deque[_Waiting] = field(init=False, factory=deque)
    _worker: asyncio.Task[None] | None = field(init=False, default=None)

    async def predict(self, rows: Sequence[Any]) -> list[dict[str, Any]]:
        """Return the answers for rows. Raises `Refused` if too many wait, or it takes too long."""
        if self.queued + len(rows) > self.limits.queued_rows:
            raise Refused(503, f"{self.queued:,} rows are waiting already; try again later")
        waiting = _Waiting(rows, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        self.queued += len(rows)
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        try:
            return await asyncio.wait_for(waiting.answers, self.limits.seconds)
        except TimeoutError:
            raise Refused(503, f"there is no answer after {self.limits.seconds:g} seconds") from None

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            batch = self._take()
            rows = [row for each in batch for row in each.rows]
            try:
                answers = await loop.run_in_executor(self.executor, self._predict, rows)
            except Exception as error:
                for each in batch:
                    if not each.answers.done():
                        each.answers.set_exception(error)
                continue
            finally:
                self.queued -= len(rows)
            self.batches += 1
            place = 0
            for each in batch:
                if not each.answers.done():
                    each.answers.set_result(answers[place : place + len(each.rows)])
                place += len(each.rows)

    def _take(self) -> list[_Waiting]:
        """Return the requests of the next batch: at least one, those that nobody waits for left out."""
        batch: list[_Waiting] = []
        rows = 0
        while self._waiting and (not batch or rows + len(self._waiting[0].rows) <= self.limits.batch_rows):
            each = self._waiting.popleft()
            if each.answers.done():
                self.queued -= len(each.rows)
                continue
            batch.append(each)
            rows += len(each.rows)
        return batch

    def _predict(self, rows: list[Any]) -> list[dict[str, Any]]:
        answers: list[dict[str, Any]] = self.run.predict(self.task, rows, on_bad_row="report") if rows else []
        return answers
