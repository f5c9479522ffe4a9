"""The peak memory of training a language model: mtl's loop and others, each in a process of its own.

    python benchmarks/memory.py --output benchmarks/results/memory.json

Batches of 16 lines of 400 tokens, a vocabulary of 30,000 words, the tutorial's model. On a CPU it is the
memory of the process, Python and torch included; on a GPU what torch has taken there.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from record import measured_apart, options, peak_bytes, prepare, recording
from texts import LINES, generate, write_lines

LOOPS = ("mtl", "by hand", "straightforward")
SCALES = {
    "full": {"rows": 16, "length": 400, "words": 30_000, "steps": 3},
    "short": {"rows": 16, "length": 400, "words": 30_000, "steps": 1},
    "smoke": {"rows": 2, "length": 20, "words": 100, "steps": 1},
}


def measure(loop: str, *, folder: str, device: str, rows: int, words: int, steps: int) -> int:
    """Return the peak memory of some steps of one loop, in bytes."""
    prepare(device, int(os.environ["OMP_NUM_THREADS"]))
    if loop == "straightforward":
        _straightforward(Path(folder), device, rows, words, steps)
    else:
        _mtl_or_by_hand(loop, Path(folder), device, rows, words, steps)
    return peak_bytes(device)


def _straightforward(folder: Path, device: str, rows: int, words: int, steps: int) -> None:
    # Without mtl, whose own modules are not to count here.
    from straightforward import Straightforward, models

    vocabulary = {f"w{rank}": 4 + rank for rank in range(words)}
    built = models(["LM"], words + 4, 100, {"BiLSTM": {"lstm_dim": 32}})
    texts = {"LM": (folder / LINES).read_text(encoding="utf-8").splitlines()}
    order = [("LM", range(step * rows, (step + 1) * rows)) for step in range(steps)]
    loop = Straightforward(built, texts, vocabulary, order, device=device)
    for _ in range(steps):
        loop.step()


def _mtl_or_by_hand(loop: str, folder: Path, device: str, rows: int, words: int, count: int) -> None:
    from attrs import evolve
    from by_hand import ByHand
    from workloads import SIZES, all_steps, config, make

    size = evolve(SIZES["small"], words=words, lines=rows)
    training = make(config(size, "lm", folder, device=device, max_steps=count))
    training.model.train()
    order = all_steps(training)
    by_hand = ByHand(training, order)
    for step in order:
        if loop == "mtl":
            training.train_step(step)
        else:
            by_hand.step()


def main() -> None:
    """Measure, print and write."""
    arguments = options(__doc__, takes_data=False).parse_args()
    if arguments.apart:
        sys.stdout.write(json.dumps(measure(**arguments.apart)))
        return
    prepare(arguments.device, arguments.threads)
    scale: Mapping[str, Any] = SCALES[arguments.scale]
    with recording(arguments) as results, TemporaryDirectory() as folder:
        settings = dict(scale)
        length = settings.pop("length")
        lengths = np.full(scale["rows"] * scale["steps"], length - 2)  # and a begin and an end
        write_lines(Path(folder, LINES), generate(lengths, scale["words"]))
        peaks = {
            loop: measured_apart(
                Path(__file__), loop=loop, folder=folder, device=arguments.device, **settings
            )
            for loop in LOOPS
        }
        results["settings"] = scale
        results["peak_bytes"] = peaks
        results["mtl_to_straightforward"] = peaks["mtl"] / peaks["straightforward"]


if __name__ == "__main__":
    main()
