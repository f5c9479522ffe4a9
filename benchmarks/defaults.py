"""Compare starts of the word embedding, and other defaults, on rows held out of the training data.

    python benchmarks/defaults.py DATA --output FILE [--epochs 1,3] [--seeds 3] [--tasks SST2,CoLA]

DATA has the folders that `mtl data fetch sst2 cola` makes. Each run is trained in this process, one after the
other, and its metrics are appended to FILE as a line of JSON; runs that the file has are not repeated. The
development sets, whose metrics are recorded beside those of the held-out rows, must choose nothing.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import mtl

TASKS: Mapping[str, Mapping[str, str]] = {
    "SST2": {"train_path": "SST-2/train.tsv", "test_path": "SST-2/dev.tsv"},
    "CoLA": {"train_path": "CoLA/train.tsv", "test_path": "CoLA/dev.tsv"},
}
METRICS = {"SST2": "accuracy", "CoLA": "matthews_correlation"}
HELD_OUT = 0.05
VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "default": {},
    "uniform 0.02": {"init_range": 0.02},
    "uniform 0.05": {"init_range": 0.05},
    "uniform 0.1": {"init_range": 0.1},
}
"""Settings of the word features by name."""


def main() -> None:
    """Train what the file does not have yet, and print the means."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--epochs", default="1,3")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--tasks", default="SST2,CoLA")
    parser.add_argument("--variants", default=",".join(VARIANTS))
    options = parser.parse_args()
    done = {_key(record) for record in _records(options.output)}
    for task in options.tasks.split(","):
        for epochs in map(int, options.epochs.split(",")):
            for seed in range(options.seeds):
                for variant in options.variants.split(","):
                    if (task, variant, epochs, seed) not in done:
                        record = run(options.data, task, variant, epochs, seed)
                        with options.output.open("a") as file:
                            file.write(json.dumps(record) + "\n")
    for line in table(_records(options.output)):
        print(line)


def run(data: Path, task: str, variant: str, epochs: int, seed: int) -> dict[str, Any]:
    """Train one task with one variant, and return its metrics on held-out rows and the development set."""
    settings = {
        "data": {**TASKS[task], "eval_fraction": HELD_OUT, "split_seed": 0},
        "features": {"word_feat": dict(VARIANTS[variant])},
        "selection_metric": METRICS[task],
    }
    config = {
        "base_dir": str(data.absolute()),
        "tasks": {task: {"DocClassificationTask": settings}},
        "trainer": {"epochs": epochs, "num_threads": 1},
        "device": "cpu",
    }
    with tempfile.TemporaryDirectory() as folder:
        result = mtl.train(config, output=Path(folder, "run"), seed=seed).data
    of_task = result["tasks"][task]
    return {
        "task": task,
        "variant": variant,
        "epochs": epochs,
        "seed": seed,
        "held_out": of_task["eval"][METRICS[task]],
        "dev": of_task["test"][METRICS[task]],
        "seconds": result["seconds"]["train"],
    }


def _records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def _key(record: Mapping[str, Any]) -> tuple[str, str, int, int]:
    return record["task"], record["variant"], record["epochs"], record["seed"]


def table(records: list[dict[str, Any]]) -> Iterator[str]:
    """Yield the rows of a table: mean and deviation over seeds, in percent."""
    yield "| task | epochs | start of the embedding | seeds | held out | dev |"
    yield "|---|---|---|---|---|---|"
    groups: dict[tuple[str, int, str], list[dict[str, Any]]] = {}
    for record in records:
        groups.setdefault((record["task"], record["epochs"], record["variant"]), []).append(record)
    for (task, epochs, variant), group in groups.items():
        cells = [_mean([100 * record[name] for record in group]) for name in ("held_out", "dev")]
        yield f"| {task} | {epochs} | {variant} | {len(group)} | {' | '.join(cells)} |"


def _mean(values: list[float]) -> str:
    return f"{mean(values):.2f}" + (f" ± {stdev(values):.2f}" if len(values) > 1 else "")


if __name__ == "__main__":
    main()
