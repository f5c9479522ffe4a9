"""The throughput of the tutorial's two runs beside a loop written by hand, step by step in turn.

    python benchmarks/tutorial.py --data data --threads 1 --output benchmarks/results/tutorial-1-thread.json

Each repeat runs `steps` steps of mtl and as many by hand, whole steps, data included, so that a machine
that slows down slows both down; what is quoted is the median of the repeats and of their ratios.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from time import perf_counter

import torch
from bare import Straightforward

from mtl.config.load import load_config
from mtl.plugins import discover
from mtl.prepare import make_training, prepare
from mtl.training.loop import Training
from mtl.training.timeline import Step

CONFIGS = Path(__file__).parent.parent / "configs"
Figures = dict[str, float]


class Mtl:
    """mtl's own loop over a config, a step of a chosen task at a time."""

    def __init__(self, config: Path, folder: Path) -> None:
        plugins = discover()
        loaded = load_config(config, plugins=plugins, base_dir=folder)
        self.training: Training = make_training(prepare(loaded, plugins))
        self.steps = {task: self._steps_of(task) for task in self.training.tasks}

    def _steps_of(self, task: str) -> Iterator[Step]:
        return (step for steps in self.training.timeline.walk() for step in steps if step.task == task)

    def step(self, task: str) -> tuple[int, int]:
        """One step of a task: rows and tokens."""
        progress = self.training.state.tasks[task]
        before = progress.rows, progress.tokens
        self.training._step(next(self.steps[task]))
        return progress.rows - before[0], progress.tokens - before[1]


def speed(step: Callable[[], tuple[int, int]], steps: int) -> Figures:
    """Examples and tokens a second over some steps."""
    begun = perf_counter()
    done = [step() for _ in range(steps)]
    seconds = perf_counter() - begun
    return {
        "examples_per_second": sum(rows for rows, _ in done) / seconds,
        "tokens_per_second": sum(tokens for _, tokens in done) / seconds,
    }


def compare(name: str, folder: Path, steps: int, repeats: int) -> dict[str, dict[str, Figures]]:
    """Both loops over one config, in turn."""
    multitask = name != "sst2"
    ours = Mtl(CONFIGS / f"{name}.json", folder)
    theirs = Straightforward(folder, multitask=multitask)
    results: dict[str, dict[str, Figures]] = {}
    for task, by_hand in zip(ours.training.tasks, (theirs.classify, theirs.model_language), strict=False):
        runs: list[tuple[Figures, Figures]] = []
        for _ in range(repeats + 1):
            runs.append((speed(lambda task=task: ours.step(task), steps), speed(by_hand, steps)))
        runs = runs[1:]
        results[task] = {
            loop: {figure: median(run[index][figure] for run in runs) for figure in runs[0][index]}
            for index, loop in enumerate(("mtl", "straightforward"))
        }
        results[task]["ratio"] = {
            figure: median(run[0][figure] / run[1][figure] for run in runs) for figure in runs[0][0]
        }
    return results


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with SST-2/ and wikitext-2/")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    results = {
        "command": " ".join(["python", "benchmarks/tutorial.py", "--threads", str(arguments.threads)]),
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "steps": arguments.steps,
        "repeats": arguments.repeats,
        **{
            name: compare(name, arguments.data, arguments.steps, arguments.repeats)
            for name in ("sst2", "multitask_sst_lm")
        },
        "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }
    text = json.dumps(results, indent=2)
    sys.stdout.write(text + "\n")
    if arguments.output:
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
