"""What it costs to compare the tasks' gradients: the share of the steps' time.

    python benchmarks/gradients.py --data data --output benchmarks/results/gradients.json

The tutorial's two tasks in turn, compared as often as `trainer.compare_gradients_every` says by default.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

from attrs import evolve
from record import middle, options, prepare, recording
from texts import write_texts
from workloads import SIZES, Size, all_steps, config, make

from mtl.training.conflicts import GradientComparison

SCALES = {"full": (600, 3), "short": (200, 2), "smoke": (4, 1)}
"""Steps, and how often they are repeated."""


class Timed:
    """A comparison of gradients, and the seconds that it has taken."""

    def __init__(self, comparison: GradientComparison) -> None:
        self.comparison = comparison
        self.seconds = 0.0

    def note(self, *arguments: Any) -> list[dict[str, Any]]:
        """As that of the comparison."""
        begun = perf_counter()
        measurements = self.comparison.note(*arguments)
        self.seconds += perf_counter() - begun
        return measurements


def share(size: Size, folder: Path, device: str, steps: int) -> float:
    """Return the share of the time of some steps that is spent on comparing gradients."""
    training = make(config(size, "multitask", folder, device=device, max_steps=steps))
    training.model.train()
    assert training.active.comparison is not None
    timed: Any = Timed(training.active.comparison)
    training.active.comparison = timed
    begun = perf_counter()
    for step in all_steps(training):
        training.train_step(step)
    return float(timed.seconds) / (perf_counter() - begun)


def main() -> None:
    """Measure, print and write."""
    arguments = options(__doc__).parse_args()
    prepare(arguments.device, arguments.threads)
    steps, repeats = SCALES[arguments.scale]
    with recording(arguments) as results, TemporaryDirectory() as folder:
        size = SIZES["small"] if arguments.scale != "smoke" else evolve(SIZES["small"], sentences=8, lines=2)
        write_texts(Path(folder), arguments.data, sentences=5_000, lines=500, words=size.words)
        shares = [share(size, Path(folder), arguments.device, steps) for _ in range(repeats)]
        results["steps"] = steps
        results["share_of_the_time"] = middle(shares)


if __name__ == "__main__":
    main()
