"""Runs that are killed, by SIGKILL or by Ctrl-C, again and again: in the end none differs from one that
was left alone."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import mtl

Config = dict[str, Any]
Differences = Callable[[Path, Path], list[str]]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

KILLING = Path(__file__).parent / "harness/killing.py"
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}


@pytest.fixture
def config_file(tiny: Config, tmp_path: Path) -> Path:
    """Dropout, accumulation, momentum, averages, an evaluation within the epoch; a checkpoint every
    other step."""
    tiny["schedule"] = {"Proportional": {"epoch": "all"}}
    tiny["trainer"] |= {
        "accumulate_batches": 2,
        "average_decay": 0.9,
        "evaluate_every_steps": 5,
        "checkpoint_every_steps": 2,
        "keep_checkpoints": 1,  # not the interruption's, which the whole run lacks
    }
    path = tmp_path / "config.json"
    path.write_text(json.dumps(tiny))
    return path


def kill(config: Path, rounds: int, when: str) -> tuple[Path, list[Path], list[list[str]]]:
    """The uninterrupted run, those that were killed, and where each attempt was."""
    whole, folders = config.parent / "whole", [config.parent / f"round-{index}" for index in range(rounds)]
    wanted = {"config": str(config), "whole": str(whole), "folders": list(map(str, folders)), "seed": 0}
    done = subprocess.run(
        [sys.executable, KILLING, json.dumps(wanted | {"when": when})],
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
    )
    assert done.returncode == 0, done.stderr
    return whole, folders, json.loads(done.stdout)


def usable(folder: Path) -> None:
    """The best model scores what the run says, and answers."""
    result = json.loads((folder / "result.json").read_text())
    loaded = mtl.load(folder)
    assert loaded.test() == {name: task["test"] for name, task in result["tasks"].items()}
    assert len(list(loaded.predict("SST2", [{"text": "a slow film"}]))) == 1


def test_l4_a_hundred_runs_killed_at_random_moments_equal_the_one_that_was_not(
    config_file: Path, differences: Differences
) -> None:
    whole, folders, killed = kill(config_file, 100, "any time")
    for folder in folders:
        assert differences(folder, whole) == []
    usable(whole)
    usable(folders[-1])
    stages = Counter(stage for stages in killed for stage in stages)
    assert stages.total() > 80
    assert stages.keys() >= {"before it began", "while writing", "after a checkpoint"}


def test_l4_runs_killed_while_a_checkpoint_or_model_is_written_equal_the_one_that_was_not(
    config_file: Path, differences: Differences
) -> None:
    config = json.loads(config_file.read_text())
    config["trainer"] |= {"checkpoint_every_steps": 1, "keep_checkpoints": 2, "evaluate_every_steps": 1}
    config_file.write_text(json.dumps(config))
    whole, folders, killed = kill(config_file, 15, "while writing")
    for folder in folders:
        assert differences(folder, whole) == []
    usable(folders[-1])
    assert sum(stages.count("while writing") for stages in killed) >= 15


def test_l4_runs_interrupted_twice_stop_at_once_and_lose_nothing(
    config_file: Path, differences: Differences
) -> None:
    whole, folders, killed = kill(config_file, 8, "two interrupts")
    for folder in folders:
        assert differences(folder, whole) == []
        said = folder.with_name(f"{folder.name}.log").read_text()
        # An interrupt within a finalizer, where none can be raised, is shown by the interpreter.
        assert said.count("Traceback") == said.count("Exception ignored in")
    assert sum(map(len, killed)) >= 5


def test_l4_a_spawned_command_killed_at_random_moments_equals_one_that_was_not(
    config_file: Path, tmp_path: Path, differences: Differences
) -> None:
    """As the harness does, but from the start of the interpreter to its end."""
    assert attempt(config_file, tmp_path / "first", None)  # so that the timed one finds its files in memory
    draw, started = random.Random(0), time.monotonic()
    assert attempt(config_file, tmp_path / "whole", None)
    seconds = time.monotonic() - started
    ended = [attempt(config_file, tmp_path / "killed", draw.uniform(0.4, 0.9) * seconds) for _ in range(3)]
    assert not all(ended)
    assert attempt(config_file, tmp_path / "killed", None)
    assert differences(tmp_path / "killed", tmp_path / "whole") == []


def attempt(config: Path, folder: Path, seconds: float | None) -> bool:
    """Whether a command ends before it is killed."""
    command = [sys.executable, "-m", "mtl", "train", config, "--output", folder, "--resume"]
    with subprocess.Popen(
        command, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            _, said = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            return False
    assert process.returncode == 0, said
    return True


PACING = """
import os, time
from pathlib import Path
from mtl import hookimpl
mtl_api = ">=1,<2"

@hookimpl
def mtl_step_ended(step):
    Path(os.environ["PACING"]).write_text(str(step))
    if step == 5:
        time.sleep(float(os.environ["PACING_SECONDS"]))
"""


@pytest.fixture
def paced(config_file: Path, tmp_path: Path) -> Iterator[Callable[[float], subprocess.Popen[str]]]:
    """Starts a real command that rests after step 5, which is within an epoch, by a plugin of its own."""
    site, place = tmp_path / "site", tmp_path / "step"
    (site / "pacing-1.dist-info").mkdir(parents=True)
    (site / "pacing.py").write_text(PACING)
    (site / "pacing-1.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: pacing\nVersion: 1\n")
    (site / "pacing-1.dist-info/entry_points.txt").write_text("[mtl.plugins]\npacing = pacing\n")
    started: list[subprocess.Popen[str]] = []

    def start(seconds: float) -> subprocess.Popen[str]:
        variables = {
            "PYTHONPATH": os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])]),
            "PACING": str(place),
            "PACING_SECONDS": str(seconds),
        }
        command = [sys.executable, "-m", "mtl", "train", config_file, "--output", tmp_path / "run"]
        process = subprocess.Popen(command, env=ENVIRONMENT | variables, stderr=subprocess.PIPE, text=True)
        started.append(process)
        while not place.exists() or place.read_text() != "5":
            assert process.poll() is None, process.communicate()[1]
            time.sleep(0.01)
        return process

    yield start
    for process in started:
        process.kill()
        with contextlib.suppress(ValueError):  # it has been waited for
            process.communicate()


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_l4_a_signal_ends_the_step_saves_the_state_and_says_how_to_go_on(
    number: signal.Signals,
    status: int,
    paced: Callable[[float], subprocess.Popen[str]],
    config_file: Path,
    tmp_path: Path,
    differences: Differences,
) -> None:
    process = paced(0.5)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == status
    (last,) = [line for line in said.splitlines() if line.startswith("mtl: ")]
    assert "stopped after step 5; its state is saved" in last
    assert last.endswith(f"repeat the command with --resume --output {tmp_path / 'run'}")
    assert (tmp_path / "run/checkpoints/step-00000005").is_dir()
    mtl.train(config_file, output=tmp_path / "whole")
    mtl.train(config_file, output=tmp_path / "run", resume=True)
    assert differences(tmp_path / "run", tmp_path / "whole") == []


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_l4_a_second_signal_stops_at_once(
    number: signal.Signals,
    status: int,
    paced: Callable[[float], subprocess.Popen[str]],
    config_file: Path,
    tmp_path: Path,
    differences: Differences,
) -> None:
    process = paced(600)
    process.send_signal(number)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.5)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == status
    assert "Traceback" not in said
    mtl.train(config_file, output=tmp_path / "whole")
    mtl.train(config_file, output=tmp_path / "run", resume=True)
    assert differences(tmp_path / "run", tmp_path / "whole") == []
