"""The tutorial's two configs as whole commands, `mtl train`, beside what PyText 0.1.4 took for them.

    python benchmarks/tutorial.py --data data --output benchmarks/results/tutorial.json

PyText's measurements are those of its own tutorial, on the real datasets and one core of such a machine.
"""

from __future__ import annotations

import json
import subprocess
import sys
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

from record import options, prepare, recording
from texts import SENTENCES, generate, sentence_lengths, write_sentences, write_texts, write_words

CONFIGS = Path(__file__).resolve().parent.parent / "configs"
PYTEXT: Mapping[str, Mapping[str, float]] = {
    "sst2": {"examples_per_second": 2090},
    "multitask_sst_lm": {"seconds_an_epoch": 680, "peak_bytes": 3.3e9},
}
SCALES: Mapping[str, Mapping[str, int]] = {
    "full": {"sst2": 15, "multitask_sst_lm": 2, "sentences": 67_349, "lines": 24_000},
    "short": {"sst2": 2, "multitask_sst_lm": 1, "sentences": 6400, "lines": 200},
    "smoke": {"sst2": 1, "multitask_sst_lm": 1, "sentences": 140, "lines": 10},
}
"""Epochs of the configs, and sentences and lines where there is no data: as many as there, or fewer."""


def train(name: str, epochs: int, data: Path, output: Path, arguments: Namespace) -> dict[str, Any]:
    """Run a config of the tutorial: the whole command's seconds, and what its result says."""
    command = [sys.executable, "-m", "mtl", "train", str(CONFIGS / f"{name}.json"), "--quiet"]
    command += ["--base-dir", str(data), "--output", str(output), "--device", arguments.device]
    command += ["--set", f"trainer.epochs={epochs}"]
    command += ["--set", f"trainer.num_threads={arguments.threads}"]
    begun = perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    seconds = perf_counter() - begun
    result = json.loads((output / "result.json").read_text(encoding="utf-8"))
    tasks = result["tasks"]
    return {
        "epochs": epochs,
        "steps": result["steps"],
        "seconds_of_the_command": seconds,
        "examples_per_second_of_the_command": sum(task["rows_trained"] for task in tasks.values()) / seconds,
        "seconds_an_epoch": result["seconds"]["train"] / epochs,
        "examples_per_second": {name: task["examples_per_second"] for name, task in tasks.items()},
        "words_per_second": {name: task["words_per_second"] for name, task in tasks.items()},
        "peak_bytes": result["peak_rss_bytes"],
        "data_share": result["seconds"]["data"] / result["seconds"]["train"],
    }


def generated(folder: Path, sentences: int, lines: int) -> Path:
    """Return a folder with all files that the tutorial's configs name."""
    words = 15_000
    write_texts(folder, None, sentences=sentences, lines=lines, words=words)
    write_sentences((folder / SENTENCES).with_name("dev.tsv"), generate(sentence_lengths(872), words))
    write_words((folder / SENTENCES).with_name("sst_vocab.txt"), words)
    for split in ("valid", "test"):
        (folder / f"wikitext-2/wiki.{split}.tokens").write_text("w0 w1 w2 w3\n", encoding="utf-8")
    return folder


def main() -> None:
    """Measure, print and write."""
    arguments = options(__doc__).parse_args()
    prepare(arguments.device, arguments.threads)
    with recording(arguments) as results, TemporaryDirectory() as temporary:
        scale = SCALES[arguments.scale]
        data = arguments.data or generated(Path(temporary, "data"), scale["sentences"], scale["lines"])
        for name in PYTEXT:
            results[name] = train(name, scale[name], data.resolve(), Path(temporary, name), arguments)
        if arguments.data:
            results["to_pytext"] = to_pytext(results["sst2"], results["multitask_sst_lm"])


def to_pytext(sst2: Mapping[str, Any], multitask: Mapping[str, Any]) -> dict[str, float]:
    """Return how many times as fast as PyText, and what share of its memory."""
    theirs = PYTEXT["multitask_sst_lm"]
    speed = sst2["examples_per_second_of_the_command"] / PYTEXT["sst2"]["examples_per_second"]
    return {
        "sst2_speed": speed,
        "multitask_speed": theirs["seconds_an_epoch"] / multitask["seconds_an_epoch"],
        "multitask_memory": multitask["peak_bytes"] / theirs["peak_bytes"],
    }


if __name__ == "__main__":
    main()
