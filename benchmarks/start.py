"""How soon training starts: the first step after the command, and the data before it.

    python benchmarks/start.py --data data --output benchmarks/results/start.json

The first step is seen from outside, as the first line of `metrics.jsonl`; what `import torch` takes is
measured in turn with it and taken off. Cold is the first start on data that mtl has not seen, warm the next,
for which its cache has them. Turning the language model's text into numbers stands beside regular expressions
and lists in plain Python, with and without the places of words; each is a process of its own, and so is what
reads the numbers of both tasks from the cache.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, sleep
from typing import Any, NamedTuple

from record import measured_apart, middle, options, prepare, recording
from texts import LINES, write_texts
from workloads import SIZES, config

from mtl.config.load import load_config
from mtl.data.cache import load_cached
from mtl.data.load import make_tasks
from mtl.plugins import discover

SCALES = {"full": (5, 67_349, 13_000), "short": (1, 20_000, 2000), "smoke": (1, 300, 100)}
"""Repeats, sentences and lines."""
LOADS = 3
"""So often a repeat turns text into numbers: it takes a fraction of a second."""


# --- the first step --------------------------------------------------------------------------------------


def seconds_to_first_step(configuration: Path, output: Path, device: str) -> float:
    """From the command `mtl train` to the end of its first step."""
    command = [sys.executable, "-m", "mtl", "train", str(configuration), "--output", str(output), "--quiet"]
    command += ["--device", device]
    metrics = output / "metrics.jsonl"
    begun = perf_counter()
    with subprocess.Popen(command) as process:
        try:
            while process.poll() is None and not (metrics.exists() and metrics.stat().st_size):
                sleep(0.001)
            seconds = perf_counter() - begun
        finally:
            process.kill()
    if not metrics.exists():
        raise SystemExit(f"the command did not get to its first step: {' '.join(command)}")
    return seconds


def seconds_of_torch() -> float:
    """Return what `import torch` takes, without the start of Python."""

    def run(code: str) -> float:
        begun = perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        return perf_counter() - begun

    return run("import torch") - run("pass")


def start(settings: Mapping[str, Any], folder: Path, device: str) -> dict[str, float]:
    """Seconds from the command to the first step, cold and then warm, without those of `import torch`."""
    configuration = folder / "config.json"
    configuration.write_text(json.dumps(settings), encoding="utf-8")
    with cache(folder / "cache"):
        torch = seconds_of_torch()
        cold = seconds_to_first_step(configuration, folder / "cold", device)
        warm = seconds_to_first_step(configuration, folder / "warm", device)
    return {"import_torch": torch, "cold": cold - torch, "warm": warm - torch}


# --- text to numbers -------------------------------------------------------------------------------------


def seconds_to_load(settings: dict[str, Any]) -> float:
    """From files to columns by mtl, or from the cache where they are there."""
    plugins = discover()
    loaded = load_config(settings, plugins=plugins).config
    tasks = make_tasks(loaded)
    begun = perf_counter()
    load_cached(loaded, tasks, plugins)
    return perf_counter() - begun


class Token(NamedTuple):
    """A word and where in its line it stands, as tokenizers give it."""

    word: str
    start: int
    end: int


def seconds_with_tokens(settings: dict[str, Any]) -> float:
    """Return the lines as PyText reads them: a regular expression finds tokens, which know their places; then
    the words' counts, and a list of numbers a row."""
    begun = perf_counter()
    find = re.compile(r"\S+").finditer
    lines = Path(settings["base_dir"], LINES).read_text(encoding="utf-8").splitlines()
    tokens = [[Token(m.group(), m.start(), m.end()) for m in find(line.lower())] for line in lines if line]
    _number([["__BOS__", *(token.word for token in row), "__EOS__"] for row in tokens])
    return perf_counter() - begun


def seconds_with_words(settings: dict[str, Any]) -> float:
    """Return the same without places: the words of a line are found in one call."""
    begun = perf_counter()
    find = re.compile(r"\S+").findall
    lines = Path(settings["base_dir"], LINES).read_text(encoding="utf-8").splitlines()
    _number([["__BOS__", *find(line.lower()), "__EOS__"] for line in lines if line])
    return perf_counter() - begun


def _number(rows: Sequence[Sequence[str]]) -> list[list[int]]:
    counts = Counter(word for row in rows for word in row)
    numbers = {word: number for number, (word, _) in enumerate(counts.most_common(), start=5)}
    return [[numbers.get(word, 1) for word in row] for row in rows]


WAYS: Mapping[str, Callable[..., float]] = {
    "mtl": seconds_to_load,
    "tokens": seconds_with_tokens,
    "words": seconds_with_words,
}


def load(lines: Mapping[str, Any], both: Mapping[str, Any], folder: Path) -> dict[str, float]:
    """Seconds from the file of lines to numbers, in plain Python and with mtl without a cache; and to the
    numbers of both tasks with mtl when the cache has them."""

    def run(way: str, settings: Mapping[str, Any]) -> float:
        seconds: float = measured_apart(Path(__file__), way=way, settings=settings)
        return seconds

    measurements = {way: run(way, lines) for way in WAYS}
    with cache(folder):
        run("mtl", both)
        return {**measurements, "cached": run("mtl", both)}


@contextmanager
def cache(folder: Path) -> Iterator[None]:
    """What is started from here keeps its cache in `folder`."""
    before = os.environ["MTL_CACHE_DIR"]
    os.environ["MTL_CACHE_DIR"] = str(folder)
    yield
    os.environ["MTL_CACHE_DIR"] = before


def main() -> None:
    """Measure, print and write."""
    arguments = options(__doc__).parse_args()
    if arguments.apart:
        sys.stdout.write(json.dumps(WAYS[arguments.apart.pop("way")](**arguments.apart)))
        return
    prepare(arguments.device, arguments.threads)
    repeats, sentences, lines = SCALES[arguments.scale]
    with recording(arguments) as results, TemporaryDirectory() as temporary:
        texts, size = Path(temporary, "texts"), SIZES["small"]
        write_texts(texts, arguments.data, sentences=sentences, lines=lines, words=size.words)
        first_line = {"num_threads": arguments.threads, "report_every_steps": 1}
        single = config(size, "sst2", texts, **first_line)
        texts_of_lines, multitask = (
            config(size, tasks, texts, **first_line) for tasks in ("lm", "multitask")
        )
        starts, loads = [], []
        for _ in range(repeats):
            with TemporaryDirectory() as folder:
                starts.append(start(single, Path(folder), arguments.device))
            for _ in range(LOADS):
                with TemporaryDirectory() as folder:
                    loads.append(load(texts_of_lines, multitask, Path(folder)))
        results["seconds_to_first_step"] = {
            name: middle([each[name] for each in starts]) for name in starts[0]
        }
        results["seconds_to_load"] = {name: middle([each[name] for each in loads]) for name in loads[0]}
        for way in ("tokens", "words"):
            results[f"{way}_to_mtl"] = middle([each[way] / each["mtl"] for each in loads])


if __name__ == "__main__":
    main()
