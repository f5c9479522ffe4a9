"""How time and memory grow with rows, length, vocabulary, tasks, and tasks that share their modules.

    python benchmarks/growth.py --output benchmarks/results/growth.json

Each point is a process of its own that loads its data, plans an epoch and takes a few steps of it. Each line
gets the exponent of its growth: 0 is flat, 1 in proportion. It is that of the upper half of the points.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any, TypeVar

import numpy as np
import torch
from attrs import evolve
from record import exponent, measured_apart, options, peak_bytes, prepare, recording
from texts import LINES, SENTENCES, generate, sentence_lengths, write_lines, write_sentences
from workloads import SIZES, Json, Size, config, copies

import mtl.runs.preparation
from mtl.config.load import load_config
from mtl.plugins import discover

T = TypeVar("T")

POINTS: Mapping[str, Mapping[str, Sequence[int]]] = {
    "rows": {
        "full": [10**3, 10**4, 10**5, 10**6, 10**7],
        "short": [10**3, 10**5],
        "smoke": [1024, 2048],
    },
    "length": {"full": [25, 50, 100, 200, 400, 800, 1600, 3200], "short": [50, 800]},
    "vocabulary": {"full": [10**3, 10**4, 10**5, 10**6], "short": [10**3, 3 * 10**4]},
    "tasks": {"full": [1, 2, 4, 8, 16, 32], "short": [1, 32]},
    "sharers": {"full": [1, 2, 4, 8, 16, 32], "short": [1, 32]},
}
"""What grows, and to what: `tasks` have modules of their own, `sharers` one embedding and one encoder."""

WARM, STEPS = 2, 6
"""Steps before the clock starts, at least one of each task, and steps that it times."""
SENTENCES_IN_ALL = 8192
"""Of all tasks together, however many these are."""


def measure(axis: str, value: int, *, folder: str, device: str) -> dict[str, float]:
    """Return one point: seconds of loading the data and building the model, and of planning an epoch, the
    time of a step, and the peak memory of all."""
    prepare(device, int(os.environ["OMP_NUM_THREADS"]))
    plugins = discover()
    loaded = load_config(make_config(axis, value, Path(folder), device), plugins=plugins)
    begun = perf_counter()
    prepared = mtl.runs.preparation.prepare(loaded, plugins)
    loading = perf_counter() - begun
    training = mtl.runs.preparation.make_trainer(prepared)
    begun = perf_counter()
    steps = next(training.phase.timeline.walk())
    warm = max(WARM, len(training.tasks))
    steps = steps[: warm + STEPS]
    for step in steps:
        training.phase.timeline.batching[step.task].batches(step.spans[0].pass_index)
    planning = perf_counter() - begun
    training.model.train()
    return {
        "seconds_to_load": loading,
        "seconds_to_plan": planning,
        "ms_per_step": 1000 * median([seconds(training.train_step, step) for step in steps][warm:]),
        "peak_bytes": peak_bytes(device),
    }


def make_config(axis: str, value: int, folder: Path, device: str) -> dict[str, Any]:
    """Return the config of a point; its text is written into `folder`."""

    def whole_epoch(size: Size, workload: str) -> Json:
        return config(size, workload, folder, device=device, epochs=1, max_steps=None)

    size = SIZES["small"]
    match axis:
        case "rows":
            write_sentences(folder / SENTENCES, generate(sentence_lengths(value), size.words))
            return whole_epoch(size, "sst2")
        case "length":
            size = evolve(size, sentences=16)
            lengths = np.full(size.sentences * (WARM + STEPS), value)
            write_sentences(folder / SENTENCES, generate(lengths, size.words))
            return whole_epoch(size, "sst2")
        case "vocabulary":
            size = evolve(size, words=value, lines=8)
            lengths = np.full(size.lines * (WARM + STEPS), 50)
            write_lines(folder / LINES, generate(lengths, value))
            return whole_epoch(size, "lm")
        case _:
            write_sentences(
                folder / SENTENCES, generate(sentence_lengths(SENTENCES_IN_ALL // value), size.words)
            )
            return copies(whole_epoch(size, "sst2"), value, shared=axis == "sharers")


def seconds(function: Callable[[T], object], argument: T) -> float:
    """Return how long a call takes, a GPU's work included."""
    begun = perf_counter()
    function(argument)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return perf_counter() - begun


def main() -> None:
    """Measure, print and write."""
    arguments = options(__doc__, takes_data=False).parse_args()
    if arguments.apart:
        sys.stdout.write(json.dumps(measure(**arguments.apart)))
        return
    prepare(arguments.device, arguments.threads)
    with recording(arguments) as results:
        for axis, points in POINTS.items():
            if arguments.scale in points:
                results[axis] = grow(axis, points[arguments.scale], arguments.device)


def grow(axis: str, values: Sequence[int], device: str) -> dict[str, Any]:
    """Return the measurements at each value, and the exponent of each figure."""
    points = {}
    for value in values:
        with TemporaryDirectory() as folder:
            points[value] = measured_apart(
                Path(__file__), axis=axis, value=value, folder=folder, device=device
            )
    measurements = points[values[0]]
    return {
        "points": points,
        "exponents": {
            name: exponent([(value, point[name]) for value, point in points.items()]) for name in measurements
        },
    }


if __name__ == "__main__":
    main()
