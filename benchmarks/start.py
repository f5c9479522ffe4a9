"""How soon training starts: the first step after the command, and the data before it.

    python benchmarks/start.py --data data --output benchmarks/results/start.json

The first step is seen from outside, as the first line of `metrics.jsonl`; what `import torch` takes is
measured in turn with it and taken off. Cold is the first start on data that mtl has not seen, warm the next,
for which its cache has them. Turning the text into numbers stands beside regular expressions and lists; each
is a process of its own.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, sleep
from typing import Any

from record import measured_apart, middle, options, prepare, recording
from texts import LINES, SENTENCES, write_texts
from workloads import SIZES, config

from mtl.config.load import load_config
from mtl.data.cache import load_cached
from mtl.data.load import make_tasks
from mtl.plugins import discover

SCALES = {"full": (5, 67_349, 13_000), "short": (1, 20_000, 2000), "smoke": (1, 300, 100)}
"""Repeats, sentences and lines."""


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


def seconds_of_torch() -> tuple[float, float]:
    """What `import torch` takes, without the start of Python; and what torch imports later, by itself, when
    the first optimizer is made."""

    def run(code: str) -> float:
        begun = perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        return perf_counter() - begun

    imported = run("import torch")
    optimizer = run("import torch; torch.optim.Adam([torch.zeros(1, requires_grad=True)])")
    return imported - run("pass"), optimizer - imported


def start(settings: Mapping[str, Any], folder: Path, device: str) -> dict[str, float]:
    """Seconds from the command to the first step, cold and then warm, without those of `import torch`."""
    configuration = folder / "config.json"
    configuration.write_text(json.dumps(settings), encoding="utf-8")
    with cache(folder / "cache"):
        torch, optimizer = seconds_of_torch()
        cold = seconds_to_first_step(configuration, folder / "cold", device)
        warm = seconds_to_first_step(configuration, folder / "warm", device)
    return {"import_torch": torch, "torch_optimizer": optimizer, "cold": cold - torch, "warm": warm - torch}


# --- text to numbers -------------------------------------------------------------------------------------


def seconds_to_load(settings: dict[str, Any]) -> float:
    """From files to columns by mtl, of both tasks, or from the cache where they are there."""
    plugins = discover()
    loaded = load_config(settings, plugins=plugins).config
    tasks = make_tasks(loaded)
    begun = perf_counter()
    load_cached(loaded, tasks, plugins)
    return perf_counter() - begun


def seconds_with_lists(settings: dict[str, Any]) -> float:
    """The same with regular expressions and lists: words, their counts, and a list of numbers a row."""
    folder = Path(settings["base_dir"])
    begun = perf_counter()
    find = re.compile(r"\S+").findall
    rows = (folder / SENTENCES).read_text(encoding="utf-8").splitlines()[1:]
    sentences = [find(row.rpartition("\t")[0].lower()) for row in rows]
    lines = [find(line.lower()) for line in (folder / LINES).read_text(encoding="utf-8").splitlines()]
    texts = [sentences, [["__BOS__", *line, "__EOS__"] for line in lines if line]]
    counts = Counter(word for rows in texts for row in rows for word in row)
    numbers = {word: number for number, (word, _) in enumerate(counts.most_common(), start=5)}
    [[[numbers.get(word, 1) for word in row] for row in rows] for rows in texts]
    return perf_counter() - begun


WAYS: Mapping[str, Callable[..., float]] = {
    "mtl": seconds_to_load,
    "lists": seconds_with_lists,
}


def load(settings: Mapping[str, Any], folder: Path) -> dict[str, float]:
    """Seconds from the files of both tasks to numbers: with lists, with mtl without a cache, and with mtl
    when the cache has them."""

    def run(way: str) -> float:
        seconds: float = measured_apart(Path(__file__), way=way, settings=settings)
        return seconds

    figures = {"lists": run("lists"), "mtl": run("mtl")}
    with cache(folder):
        run("mtl")
        return {**figures, "cached": run("mtl")}


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
        multitask = config(size, "multitask", texts, **first_line)
        starts, loads = [], []
        for _ in range(repeats):
            with TemporaryDirectory() as folder:
                starts.append(start(single, Path(folder), arguments.device))
            with TemporaryDirectory() as folder:
                loads.append(load(multitask, Path(folder)))
        results["seconds_to_first_step"] = {
            name: middle([each[name] for each in starts]) for name in starts[0]
        }
        results["seconds_to_load"] = {name: middle([each[name] for each in loads]) for name in loads[0]}
        results["lists_to_mtl"] = middle([each["lists"] / each["mtl"] for each in loads])


if __name__ == "__main__":
    main()
