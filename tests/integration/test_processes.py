"""A run of several processes is the run of one, up to rounding."""

from __future__ import annotations

import copy
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import mtl

Config = dict[str, Any]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

HARNESS = Path(__file__).parent / "harness/together.py"
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}

BALANCERS = ["Uncertainty", "DynamicWeightAverage", "GradNorm", "PCGrad", "MGDA", "GradDrop"]
VARIANTS: dict[str, Config] = {
    "as it is": {},
    "accumulation and clipping": {"trainer": {"accumulate_batches": 2, "max_clip_norm": 0.5}},
    "averaged weights": {"trainer": {"average_decay": 0.9}},
    "a rate that follows the metric": {"trainer": {"lr_scheduler": {"ReduceOnPlateau": {"patience": 0}}}},
    "early stopping": {"trainer": {"early_stop_after": 1, "epochs": 6}},
    "joint steps": {"schedule": "Joint"},
    **{f"joint steps with {name}": {"schedule": "Joint", "balancer": name} for name in BALANCERS},
}


def without_dropout(config: Config) -> Config:
    """Masks are drawn for each process's share."""
    config = copy.deepcopy(config)
    task = config["tasks"]["SST2"]["DocClassificationTask"]
    task["representation"]["BiLSTMDocAttention"] |= {"dropout": 0.0}
    task["representation"]["BiLSTMDocAttention"]["lstm"] |= {"dropout": 0.0}
    return config


def variant(tiny: Config, changes: Config) -> Config:
    config = without_dropout(tiny)
    for key, value in changes.items():
        config[key] = {**config.get(key, {}), **value} if isinstance(value, dict) else value
    return config


def together(processes: int, jobs: list[Config], folder: Path) -> None:
    """Train in several processes."""
    file = folder / f"jobs-{processes}.json"
    file.write_text(json.dumps(jobs))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]
    done = subprocess.run(
        [*command, str(processes), str(HARNESS), str(file)], env=ENVIRONMENT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[:4000]


def assert_same(one: Path, several: Path) -> None:
    """The same weights, up to rounding, and the same metrics and decisions."""
    left, right = (load_file(run / "model/weights.safetensors") for run in (one, several))
    assert left.keys() == right.keys()
    for name in left:
        torch.testing.assert_close(right[name], left[name], rtol=1e-4, atol=1e-5, msg=name)
    before, after = (json.loads((run / "result.json").read_text()) for run in (one, several))
    for key in ("steps", "stopped_early"):
        assert after[key] == before[key]
    assert after["best"]["step"] == before["best"]["step"]
    for task, results in before["tasks"].items():
        for key in ("rows_seen", "rows_trained", "steps", "stopped_at"):
            assert after["tasks"][task][key] == results[key]
        for split in ("eval", "test"):
            assert numbers(after["tasks"][task][split]) == pytest.approx(numbers(results[split]), rel=1e-4)


def numbers(metrics: Config) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if isinstance(value, int | float)}


@pytest.mark.parametrize("processes", [2, 3])
def test_several_processes_train_the_model_of_one(tiny: Config, tmp_path: Path, processes: int) -> None:
    """Three processes have no row each of batches of four, five and a rest."""
    configs = {name: variant(tiny, changes) for name, changes in VARIANTS.items()}
    jobs = [
        {"config": config, "output": str(tmp_path / f"{index}-several")}
        for index, config in enumerate(configs.values())
    ]
    together(processes, jobs, tmp_path)
    for index, config in enumerate(configs.values()):
        mtl.train(config, output=tmp_path / f"{index}-one")
        assert_same(tmp_path / f"{index}-one", tmp_path / f"{index}-several")
        result = json.loads((tmp_path / f"{index}-several/result.json").read_text())
        assert result["processes"] == processes


def start(config: Path, output: Path, *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "mtl", "train", str(config), "--output", str(output), *more]
    return subprocess.Popen(
        [*command, "--processes", "2"],
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_checkpoint(output: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while not any(output.glob("checkpoints/step-*/*")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)


def workers(process: subprocess.Popen[str]) -> list[int]:
    """The processes that train, in the order in which they were started."""
    found = map(int, Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split())
    return [pid for pid in found if b"train" in Path(f"/proc/{pid}/cmdline").read_bytes()]


@pytest.fixture
def long_run(tiny: Config, tmp_path: Path) -> Path:
    config = variant(tiny, {"trainer": {"epochs": 60, "checkpoint_every_steps": 5}})
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config))
    mtl.train(path, output=tmp_path / "one", quiet=True)
    return path


def test_a_run_interrupted_in_two_processes_goes_on_in_one(long_run: Path, tmp_path: Path) -> None:
    process = start(long_run, tmp_path / "several")
    wait_for_checkpoint(tmp_path / "several", process)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert said.count("its state is saved") == 1
    mtl.train(long_run, output=tmp_path / "several", resume=True, quiet=True)
    assert_same(tmp_path / "one", tmp_path / "several")


@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_process_ends_the_others_and_the_run_goes_on(
    long_run: Path, tmp_path: Path, rank: int
) -> None:
    process = start(long_run, tmp_path / "several")
    wait_for_checkpoint(tmp_path / "several", process)
    killed = time.monotonic()
    os.kill(workers(process)[rank], signal.SIGKILL)
    _, said = process.communicate(timeout=60)
    assert time.monotonic() - killed < 30
    assert process.returncode == 1
    assert said.count(f"process {rank} of 2 was ended by signal 9") == 1 and "Traceback" not in said
    process = start(long_run, tmp_path / "several", "--resume")
    _, said = process.communicate(timeout=300)
    assert process.returncode == 0, said
    assert_same(tmp_path / "one", tmp_path / "several")


def test_a_mistake_is_told_once(tiny: Config, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    tiny["tasks"]["SST2"]["DocClassificationTask"]["data"]["train_path"] = "missing.tsv"
    path.write_text(json.dumps(tiny))
    process = start(path, tmp_path / "several")
    _, said = process.communicate(timeout=120)
    assert process.returncode == 2, said
    assert said.count("missing.tsv") == 1 and "Traceback" not in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--processes", "0"], "`--processes` must be at least 1, but is 0"),
        (["--processes", "two"], "`--processes` must be a non-negative integer, but is `two`"),
    ],
)
def test_the_number_of_processes_is_checked(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from mtl.commands.cli import main

    assert main(["train", "config.json", *arguments]) == 2
    assert message in capsys.readouterr().err
