"""What batches of nearly equal lengths do to accuracy.

    python benchmarks/pools.py --data data --output benchmarks/results/pools.json

The tutorial's classifier is trained with rows pooled and sorted as mtl does it, with rows that meet by chance
alone, and with rows sorted all together, so that lengths never mix. The three have the same seeds and first
weights. Accuracy is that of the best epoch on dev, as the config selects it. As many runs go on side by side
as there are cores: their speed is not measured.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import mean, stdev
from tempfile import TemporaryDirectory
from typing import Any

from attrs import frozen
from record import measured_apart, options, prepare, recording
from tutorial import CONFIGS, generated

import mtl
from mtl.data import batching


@frozen
class Scale:
    """Seeds and epochs, and sentences where there is no data."""

    seeds: int
    epochs: int
    sentences: int


SCALES = {"full": Scale(5, 15, 67_349), "short": Scale(2, 1, 6400), "smoke": Scale(2, 1, 140)}
POOLS: Mapping[str, int] = {
    "pools of 100 batches": batching.POOL_BATCHES,
    "by chance": 1,
    "all sorted": 10**9,
}
"""Batches of rows that are sorted by length together."""


def accuracy(*, pool: int, seed: int, epochs: int, data: str, threads: int) -> float:
    """Return the accuracy of the best epoch, in percent."""
    batching.POOL_BATCHES = pool
    settings = {"trainer.epochs": epochs, "trainer.num_threads": threads}
    with TemporaryDirectory() as folder:
        result = mtl.train(
            CONFIGS / "sst2.json",
            output=Path(folder, "run"),
            base_dir=Path(data),
            overrides=[f"{name}={value}" for name, value in settings.items()],
            device="cpu",
            seed=seed,
        )
    return float(100 * result.data["best"]["value"])


def main() -> None:
    """Measure, print and write."""
    arguments = options(__doc__).parse_args()
    if arguments.apart:
        sys.stdout.write(json.dumps(accuracy(**arguments.apart)))
        return
    prepare("cpu", arguments.threads)
    scale = SCALES[arguments.scale]
    with recording(arguments) as results, TemporaryDirectory() as temporary:
        data = arguments.data or generated(Path(temporary, "data"), scale.sentences, lines=10)
        settings: dict[str, Any] = {"epochs": scale.epochs, "data": str(data.resolve())}

        def run(case: tuple[int, int]) -> float:
            pool, seed = case
            measured: float = measured_apart(
                Path(__file__), pool=pool, seed=seed, threads=arguments.threads, **settings
            )
            return measured

        cases = [(pool, seed) for pool in POOLS.values() for seed in range(scale.seeds)]
        with ThreadPoolExecutor(max(1, (os.cpu_count() or 1) // arguments.threads)) as side_by_side:
            found = dict(zip(cases, side_by_side.map(run, cases), strict=True))
        for name, pool in POOLS.items():
            each = [found[pool, seed] for seed in range(scale.seeds)]
            results[name] = {"accuracy": each, "mean": mean(each), "deviation": stdev(each)}


if __name__ == "__main__":
    main()
