"""Score the baselines of `mtl data check --baseline` on real data: what a model must beat, with CPU seconds.

    python benchmarks/linear.py DATA

DATA has the folders that `mtl data fetch sst2 cola rte mrpc stsb` makes. Prints a row of Markdown per task.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from time import process_time
from typing import Any

from mtl.config.load import load_config
from mtl.data.splits import split_tables
from mtl.plugins import discover
from mtl_tasks.baselines import majority, ngrams

PAIRS = {"columns": {"text1": 7, "text2": 8, "score": 9}, "header": "no", "quotes": "text"}
TASKS: Mapping[str, Mapping[str, Any]] = {
    "SST2": {
        "DocClassificationTask": {"data": {"train_path": "SST-2/train.tsv", "eval_path": "SST-2/dev.tsv"}}
    },
    "CoLA": {
        "DocClassificationTask": {"data": {"train_path": "CoLA/train.tsv", "eval_path": "CoLA/dev.tsv"}}
    },
    "RTE": {"PairClassificationTask": {"data": {"train_path": "RTE/train.tsv", "eval_path": "RTE/dev.tsv"}}},
    "STSB": {
        "RegressionTask": {
            "pair": True,
            "data": {"train_path": "STS-B/train.tsv", "eval_path": "STS-B/dev.tsv", **PAIRS},
        }
    },
}
BASELINES: Mapping[str, Callable[..., dict[str, float | None] | None]] = {
    "most frequent": majority,
    "linear over 1-2-grams": ngrams,
}


def main(data: Path) -> None:
    """Print the table."""
    print("| task | baseline | metrics | CPU seconds |\n|---|---|---|---|")
    plugins = discover()
    for name, task in TASKS.items():
        loaded = load_config({"tasks": {name: task}, "base_dir": str(data)}, plugins=plugins).config
        config = loaded.tasks[name].config
        train, evaluated = (next(split_tables(config, split, 0)).table.frame for split in ("train", "eval"))
        for baseline, score in BASELINES.items():
            begun = process_time()
            metrics = score(config.columns, train, evaluated) or {}
            seconds = process_time() - begun
            said = ", ".join(f"{key} {value:.4f}" for key, value in metrics.items() if value is not None)
            print(f"| {name} | {baseline} | {said} | {seconds:.1f} |", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
