"""Record short runs that a refactoring must not change, and compare two records.

    python benchmarks/recorded_runs.py record FOLDER
    python benchmarks/recorded_runs.py compare FOLDER FOLDER

`record` trains on generated text, two runs at a time, and writes `FOLDER/digests.json`. For each run this
holds the SHA-256 of each tensor of its model and its last checkpoint, its metrics and its result in full, but
for what a clock or the machine says, and what its model predicts for its last task. `compare` prints every
difference, and exits with 1 if there is one. Processors and versions of torch round differently, so both
records must come from one machine. What is recorded is the mtl that is installed with this Python; `record`
prints where that is, so that a checkout is not taken for another one.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch

import mtl

Json = dict[str, Any]

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1", "MTL_CACHE_DIR": ""}
SENTENCES = ("the plot is funny and the scene feels good .", "a dull film", "Zyzzyva is set in London .")
TIMED = re.compile("seconds|time|peak_.*|.*_per_second")
"""Keys whose values say how fast a run was, and how large."""


def steps(number: int, **trainer: Any) -> Json:
    """Set the length of a run and other settings of the trainer."""
    return {"trainer.max_steps": number} | {f"trainer.{name}": value for name, value in trainer.items()}


SST2, LM = "tasks.SST2.DocClassificationTask", "tasks.LM.LMTask"
THREE_STEPS = {"epoch": "steps", "epoch_steps": 3}
READ = {"name": "read", "steps": 20, "schedule": "Proportional"}
TRANSFORMER = {"Transformer": {"shared_module_key": "ENCODER", "model_dim": 32, "feedforward_dim": 64}}
# Each step is evaluated and reported, as the last step of a run is, so that a stop adds nothing.
STATEFUL = {
    **steps(5, evaluate_every_steps=1, report_every_steps=1, compare_gradients_every=2, optimizer="AdamW"),
    **steps(5, accumulate_batches=2, average_decay=0.9, max_clip_norm=0.5),
    **{"trainer.lr_scheduler": {"Constant": {"warmup_steps": 4}}, "schedule": {"Joint": THREE_STEPS}},
    "balancer": "GradNorm",
}
STOPPED, WHOLE = "quickstart/stopped after each step", "quickstart/never stopped"

RUNS: Mapping[str, Json] = {
    STOPPED: STATEFUL,
    WHOLE: STATEFUL,
    "quickstart/short": steps(270),
    "sst2/short": steps(40),
    "sst2_best/short": steps(40),
    "multitask_sst_lm/short": steps(40),
    "multitask_sst_lm_best/short": {
        "phases": [{**READ, "tasks": ["WIKI", "REVIEWS"]}, {"tasks": ["SST2"], "steps": 20}],
        "trainer.lr_scheduler.Cosine.warmup_steps": 5,
    },
    "multitask_sst_lm_best/PCGrad": {
        **steps(6, lr_scheduler="Linear"),
        **{"phases": [], "schedule": "Joint", "balancer": "PCGrad"},
    },
    "quickstart/GradDrop": {
        **steps(12, accumulate_batches=2),
        **{"schedule": "Joint", "balancer": {"GradDrop": {"leak": 0.2}}},
    },
    "quickstart/Uncertainty": {
        **steps(40, evaluate_every_steps=10, report_every_steps=10, compare_gradients_every=5),
        "schedule": {"Dynamic": {"goals": {"SST2": 0.9, "LM": 50.0}}},
        "balancer": "Uncertainty",
    },
    "quickstart/phases": {
        "trainer": {"average_decay": 0.9, "report_every_steps": 7},
        "phases": [
            {**READ, "tasks": ["LM"], "optimizer": {"SGD": {"momentum": 0.9}}},
            {"steps": 20, "freeze": ["SHARED_EMBEDDING"], "lr_scheduler": "Cosine"},
            {"name": "last", "tasks": ["SST2"], "epochs": 3, "schedule": {"RoundRobin": THREE_STEPS}},
        ],
    },
    "quickstart/masked words": {
        **steps(30, accumulate_batches=3, average_decay=0.95, max_clip_norm=0.5, lr_scheduler="Linear"),
        f"{SST2}.representation": {"PooledRepresentation": {"encoder": TRANSFORMER, "pooling": "MeanPool"}},
        f"{LM}.representation": {"Transformer": {"shared_module_key": "ENCODER"}},
        **{f"{LM}.objective": "masked", f"{LM}.lr_factor": 0.5},
    },
    "quickstart/adaptive softmax": steps(40) | {f"{LM}.softmax": "adaptive"},
    "quickstart/sampled softmax": {
        **steps(40, optimizer={"SGD": {"lr": 0.5}}, max_clip_norm=1.0),
        **{f"{LM}.softmax": "sampled", f"{LM}.samples": 64, f"{LM}.tie_weights": True},
        **{f"{LM}.rows": "stream", f"{LM}.representation.bidirectional": False},
    },
    "quickstart/nothing shared": {
        **steps(40, precision="bf16", evaluate_every_steps=10, lr_scheduler="ReduceOnPlateau"),
        "trainer.parameter_groups": {"SST2.decoder": {"lr_factor": 3.0}},
        "schedule": {"Temperature": {"cap": 100}},
        f"{SST2}.features": {"word_feat": {}, "char_feat": {"embed_dim": 8, "kernel_num": 8}},
        f"{SST2}.representation": {"DocNN": {"kernel_num": 16}},
        f"{LM}.features": {"word_feat": {"vocab_size": 500}},
        **{f"{LM}.representation": "BiLSTM", f"{LM}.batch_tokens": 400},
    },
}
"""Settings in place of those of the config that a run's name begins with."""


def record(folder: Path) -> bool:
    """Train all runs and write what they left. Return whether stopping changed nothing."""
    print(f"recording {mtl.__file__}", flush=True)
    command("data", "sample", folder / "data")
    with ThreadPoolExecutor(2) as pool:
        runs = dict(zip(RUNS, pool.map(lambda name: trained(name, folder), RUNS), strict=True))
    made_with = {"torch": torch.__version__, "processor": torch.backends.cpu.get_cpu_capability()}
    (folder / "digests.json").write_text(json.dumps({"made with": made_with, "runs": runs}, indent=1) + "\n")
    return report(runs[STOPPED], runs[WHOLE])


def command(*words: object, text: str = "") -> str:
    """Run a command of mtl and return what it prints; exit with its message where it fails."""
    line = [sys.executable, "-m", "mtl", *map(str, words)]
    done = subprocess.run(line, input=text, capture_output=True, text=True, env=os.environ | ENVIRONMENT)
    if done.returncode:
        raise SystemExit(f"{' '.join(line)}\n{done.stderr}")
    return done.stdout


def trained(name: str, folder: Path) -> Json:
    """Train one run and return what is recorded of it."""
    config, data, output = CONFIGS / f"{Path(name).parent}.json", folder / "data", folder / name
    words = ["train", config, "--base-dir", data, "--output", output, "--device", "cpu", "--resume"]
    words += [f"--set={path}={json.dumps(value)}" for path, value in RUNS[name].items()]
    for step in range(1, 5) if name == STOPPED else ():
        command(*words, f"--set=trainer.max_steps={step}")
    command(*words)
    result = json.loads((output / "result.json").read_text())
    lines = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    # Each stop writes a checkpoint, so that the one before the last may be another.
    *older, _ = sorted((output / "checkpoints").iterdir())
    files = [file for file in sorted(output.rglob("*.safetensors")) if file.parent not in older]
    *_, task = result["tasks"]
    predictions = command("predict", output, "--task", task, text="\n".join(SENTENCES)).splitlines()
    return {
        "tensors": {str(file.relative_to(output)): digests(file) for file in files},
        "metrics": {f"{number}, {title(line)}": timeless(line) for number, line in enumerate(lines, 1)},
        "result": timeless(result),
        "predictions": dict(zip(SENTENCES, map(json.loads, predictions), strict=True)),
    }


def digests(file: Path) -> dict[str, str]:
    """Return the SHA-256 of each tensor in a safetensors file: of its type, its shape and its bytes."""
    content = file.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    tensors = json.loads(content[8:start])
    tensors.pop("__metadata__", None)
    found = {}
    for name, tensor in tensors.items():
        first, last = (start + offset for offset in tensor["data_offsets"])
        found[name] = sha256(f"{tensor['dtype']}{tensor['shape']}".encode() + content[first:last]).hexdigest()
    return found


def title(line: Json) -> str:
    """Name a line of the metrics for the reader of a difference."""
    return " ".join(str(line[key]) for key in ("kind", "phase", "task", "module", "step") if key in line)


def timeless(value: Any) -> Any:
    """Leave out what a clock or the machine says."""
    if not isinstance(value, dict):
        return value
    return {key: timeless(each) for key, each in value.items() if not TIMED.fullmatch(key)}


def report(one: Json, other: Json) -> bool:
    """Print all differences and return whether there are none."""
    found = list(differences(one, other, ""))
    print(*found, f"{len(found)} differences", sep="\n")
    return not found


def differences(one: Any, other: Any, place: str) -> Iterator[str]:
    """Say where two records differ, and how."""
    if place.endswith(".safetensors"):
        yield from tensor_differences(one, other, place)
    elif isinstance(one, dict) and isinstance(other, dict):
        for name in [*one, *(name for name in other if name not in one)]:
            where = f"{place}: {name}" if place else name
            if name in one and name in other:
                yield from differences(one[name], other[name], where)
            else:
                yield f"{where}: only in the {'first' if name in one else 'second'} record"
        if one.keys() == other.keys() and list(one) != list(other):
            yield f"{place}: in another order"
    elif json.dumps(one) != json.dumps(other):  # as text, in which NaN is NaN and 1 is not 1.0
        yield f"{place}: {json.dumps(one)}, {json.dumps(other)}"


def tensor_differences(one: dict[str, str], other: dict[str, str], place: str) -> Iterator[str]:
    """Say which tensors have other values, and which the same under another name."""
    gone, new = one.items() - other.items(), other.items() - one.items()
    names = {digest: name for name, digest in sorted(new)}
    kept = names.keys() & {digest for _, digest in gone}
    for name, digest in sorted(gone):
        if digest in kept:
            yield f"{place}: {name}: the same values, now named {names[digest]}"
    for name in sorted({name for name, digest in gone | new if digest not in kept}):
        yield f"{place}: {name}: {'other values' if name in one and name in other else 'only in one record'}"


def main() -> None:
    """Record or compare, and exit with 1 where there are differences."""
    parser = argparse.ArgumentParser(description="Record short runs, or compare two records of them.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("record").add_argument("folder", type=Path)
    commands.add_parser("compare").add_argument("folders", type=Path, nargs=2, metavar="FOLDER")
    arguments = parser.parse_args()
    if arguments.command == "compare":
        same = report(*(json.loads((folder / "digests.json").read_text()) for folder in arguments.folders))
    elif arguments.folder.exists():
        parser.error(f"{arguments.folder} is there already")
    else:
        same = record(arguments.folder.resolve())
    raise SystemExit(not same)


if __name__ == "__main__":
    main()
