"""`mtl serve` under load: clients that send one row each, beside offline batched prediction.

    python benchmarks/serving.py RUN TASK [--clients 64] [--seconds 10]

The server and the clients share this process and machine, so the ratio is a lower bound.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import time
from pathlib import Path

import httpx

from mtl_serve import Limits, make_application
from mtl_serve.models import Models


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("task")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=10.0)
    options = parser.parse_args()
    models = Models(options.run, options.task, Limits(), "cpu")
    text = "an uneven but charming journey through a small town that nobody has left in years"
    offline = _offline(models, options.task, text, options.clients)
    times = asyncio.run(_served(models, options.task, text, options.clients, options.seconds))
    served = len(times) / options.seconds
    ordered = sorted(times)
    print(
        json.dumps(
            {
                "offline_rows_per_second": round(offline, 1),
                "served_rows_per_second": round(served, 1),
                "ratio": round(served / offline, 3),
                "p50_ms": round(1000 * statistics.median(times), 1),
                "p99_ms": round(1000 * ordered[int(0.99 * len(ordered))], 1),
                "batches": models.current.batchers[options.task].batches,
            },
            indent=2,
        )
    )


def _offline(models: Models, task: str, text: str, batch: int) -> float:
    rows = [text] * batch
    begun, count = time.perf_counter(), 0
    while time.perf_counter() - begun < 3:
        models.current.run.predict(task, rows)
        count += batch
    return count / (time.perf_counter() - begun)


async def _served(models: Models, task: str, text: str, clients: int, seconds: float) -> list[float]:
    """Return the time of each request of clients that send one after another."""
    transport = httpx.ASGITransport(app=make_application(models))
    content = json.dumps({"rows": [{"text": text}]}).encode()
    times: list[float] = []
    end = time.perf_counter() + seconds

    async def ask(client: httpx.AsyncClient) -> None:
        while (begun := time.perf_counter()) < end:
            answered = await client.post(f"/tasks/{task}/predict", content=content)
            assert answered.status_code == 200
            times.append(time.perf_counter() - begun)

    async with httpx.AsyncClient(transport=transport, base_url="http://test", timeout=60) as client:
        await asyncio.gather(*(ask(client) for _ in range(clients)))
    return times


if __name__ == "__main__":
    main()
