"""A resumed run equals the uninterrupted one to the bit."""

from __future__ import annotations

import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

import mtl
from mtl import Interrupted, hookimpl
from mtl.data.columns import Rows
from mtl.errors import UsageError
from mtl.plugins import Plugins

Config = dict[str, Any]
Differences = Callable[[Path, Path], list[str]]
Train = Callable[..., Config]


class Killed(BaseException):
    """Stands for SIGKILL: nothing is saved."""


class KillAfter:
    def __init__(self, step: int) -> None:
        self.step = step

    @hookimpl
    def mtl_step_ended(self, step: int) -> None:
        if step == self.step:
            raise Killed


class InterruptAfter(KillAfter):
    """Ctrl-C: the run saves its state and ends."""

    @hookimpl
    def mtl_step_ended(self, step: int) -> None:
        if step == self.step:
            signal.raise_signal(signal.SIGINT)


@pytest.fixture
def train(plugins: Plugins) -> Train:
    """Trains, and goes on where the folder holds a run."""

    def run(config: Config, folder: Path, *callbacks: object, **options: Any) -> Config:
        options = {"resume": folder.exists(), "plugins": plugins, **options}
        return dict(mtl.train(config, output=folder, callbacks=callbacks, **options).data)

    return run


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, list[int]]]:
    """File and row numbers of every batch that is cut, evaluation included."""
    seen: list[tuple[str, list[int]]] = []
    original = Rows.batch

    def batch(self: Rows, rows: Any, **options: Any) -> Any:
        seen.append((self.path, rows.tolist()))
        return original(self, rows, **options)

    monkeypatch.setattr(Rows, "batch", batch)
    return seen


def with_characters(config: Config) -> None:
    features = config["tasks"]["SST2"]["DocClassificationTask"]["features"]
    features["char_feat"] = {"embed_dim": 3, "kernel_num": 2}


def with_dropout(config: Config, share: float) -> None:
    representation = config["tasks"]["SST2"]["DocClassificationTask"]["representation"]["BiLSTMDocAttention"]
    representation["dropout"] = representation["lstm"]["dropout"] = share


def test_l4_resumed_after_any_step_equals_uninterrupted(
    tiny: Config, train: Train, batches: list[Any], tmp_path: Path, differences: Differences
) -> None:
    with_characters(tiny)
    tiny["schedule"] = {"Proportional": {"epoch": "all"}}
    tiny["trainer"] |= {
        "optimizer": "AdamW",
        "lr_scheduler": {"Cosine": {"warmup_steps": 3}},
        "accumulate_batches": 2,
        "average_decay": 0.9,
        "max_clip_norm": 0.5,
        "early_stop_after": 20,
        "evaluate_every_steps": 5,
        "keep_checkpoints": 1,  # not the interruption's, which the whole run lacks
    }
    steps = train(tiny, tmp_path / "whole")["steps"]
    order = list(batches)
    assert steps == 12
    states = set()
    for step in range(1, steps + 1):
        batches.clear()
        folder = tmp_path / f"after-{step}"
        with pytest.raises(Interrupted, match=f"stopped after step {step}; its state is saved"):
            train(tiny, folder, InterruptAfter(step))
        states.add((folder / f"checkpoints/step-{step:08d}/tensors.safetensors").read_bytes())
        train(tiny, folder)
        assert differences(folder, tmp_path / "whole") == []
        assert batches == order
    assert len(states) == steps, "checkpoints of different steps must differ for this test to tell"


CHOICES: Mapping[str, list[Any]] = {
    "epoch": [
        {"epoch": "auto"},
        {"epoch": "all"},
        {"epoch": "first"},
        {"epoch": "task", "epoch_task": "LM"},
        {"epoch": "steps", "epoch_steps": 7},
    ],
    "lr_scheduler": [
        {"Constant": {"warmup_steps": 4}},
        "Linear",
        {"Cosine": {"warmup_steps": 2}},
        {"ReduceOnPlateau": {"patience": 0}},
    ],
    "schedule": ["RoundRobin", "Proportional", "Sequential", "Joint", "Shuffled", "Annealed"],
    "optimizer": ["Adam", "AdamW", {"SGD": {"momentum": 0.9, "nesterov": True}}],
    "inputs": ["words", "words and characters", "words, some masked"],
    "checkpoint_every_steps": [None, 1, 3],
    "accumulate_batches": [1, 3],
    "early_stop_after": [None, 2],
    "average_decay": [None, 0.9],
    "max_clip_norm": [None, 0.1],
    "evaluate_every_steps": [None, 2],
    "on_nonfinite_loss": ["error", "skip"],
    "precision": ["fp32", "bf16"],
    "dropout": [0.0, 0.5],
    "batch_tokens": [None, 30],
}


def all_pairs() -> Iterator[dict[str, Any]]:
    """Few combinations of `CHOICES` in which each two choices of different settings meet."""
    names = list(CHOICES)

    def pairs(chosen: Mapping[str, int]) -> set[tuple[tuple[str, int], ...]]:
        return set(itertools.combinations([(name, chosen[name]) for name in names if name in chosen], 2))

    left = {
        pair
        for combination in itertools.combinations(names, 2)
        for pair in itertools.product(
            *([(name, place) for place in range(len(CHOICES[name]))] for name in combination)
        )
    }
    while left:
        chosen = dict(min(left))
        for name in names:
            places = [chosen[name]] if name in chosen else range(len(CHOICES[name]))
            chosen[name] = max(places, key=lambda place: len(pairs({**chosen, name: place}) & left))
        left -= pairs(chosen)
        yield {name: CHOICES[name][place] for name, place in chosen.items()}


@pytest.mark.parametrize("choice", list(all_pairs()), ids=itertools.count())
def test_l4_resumed_equals_uninterrupted_in_every_way_to_train(
    choice: Config, tiny: Config, train: Train, tmp_path: Path, differences: Differences
) -> None:
    choice = dict(choice)
    tiny["schedule"] = {choice.pop("schedule"): choice.pop("epoch")}
    inputs = choice.pop("inputs")
    if inputs == "words and characters":
        with_characters(tiny)
    if inputs == "words, some masked":
        tiny["tasks"]["LM"]["LMTask"]["objective"] = "masked"
    with_dropout(tiny, choice.pop("dropout"))
    tiny["tasks"]["LM"]["LMTask"]["batch_tokens"] = choice.pop("batch_tokens")
    tiny["trainer"] |= choice | {"keep_checkpoints": 1}  # not the interruption's
    steps = train(tiny, tmp_path / "whole")["steps"]
    draw = random.Random(str(choice))
    first, second = sorted(draw.sample(range(1, steps), 2))
    with pytest.raises(Killed):
        train(tiny, tmp_path / "resumed", KillAfter(first))
    with pytest.raises(Interrupted):
        train(tiny, tmp_path / "resumed", InterruptAfter(second))
    with pytest.raises(Killed):
        train(tiny, tmp_path / "resumed", KillAfter(second + 1))
    train(tiny, tmp_path / "resumed")
    assert differences(tmp_path / "resumed", tmp_path / "whole") == []


@pytest.mark.parametrize("threads", [1, 2])
def test_l4_resumed_equals_uninterrupted_with_threads(
    threads: int, tiny: Config, train: Train, tmp_path: Path, differences: Differences
) -> None:
    """Wide enough that torch splits the work."""
    task = tiny["tasks"]["SST2"]["DocClassificationTask"]
    task["features"]["word_feat"]["embed_dim"] = 128
    task["representation"]["BiLSTMDocAttention"]["lstm"]["lstm_dim"] = 64
    task["batch_size"] = 22
    tiny["trainer"] = {"num_threads": threads, "max_steps": 6, "checkpoint_every_steps": 2}
    train(tiny, tmp_path / "whole")
    for step in (1, 3):
        with pytest.raises(Killed):
            train(tiny, tmp_path / "resumed", KillAfter(step))
    train(tiny, tmp_path / "resumed")
    assert differences(tmp_path / "resumed", tmp_path / "whole") == []


def test_the_same_seed_gives_the_same_bits_whatever_ran_before(
    tiny: Config, train: Train, tmp_path: Path, differences: Differences
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(tiny))
    command = [sys.executable, "-m", "mtl", "train", tmp_path / "config.json", "--output", tmp_path / "alone"]
    subprocess.run(
        list(map(str, command)), check=True, capture_output=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    other = {**tiny, "seed": 7, "schedule": "Proportional"}
    with pytest.raises(Killed):
        train(other, tmp_path / "other", KillAfter(3))
    torch.manual_seed(5)
    random.seed(5)
    train(tiny, tmp_path / "after another")
    assert differences(tmp_path / "alone", tmp_path / "after another") == []
    train({**tiny, "seed": 1}, tmp_path / "other seed")
    assert "model/weights.safetensors" in differences(tmp_path / "alone", tmp_path / "other seed")


def test_l4_killed_after_an_early_stop_it_stays_stopped(
    tiny: Config, train: Train, tmp_path: Path, differences: Differences
) -> None:
    tiny["trainer"] = {"epochs": 9, "early_stop_after": 1, "optimizer": {"SGD": {"lr": 1e-9}}}
    whole = train(tiny, tmp_path / "whole")
    assert whole["stopped_early"]
    shutil.copytree(tmp_path / "whole", tmp_path / "killed")
    (tmp_path / "killed/result.json").unlink()
    train(tiny, tmp_path / "killed")
    assert differences(tmp_path / "killed", tmp_path / "whole") == []


@pytest.mark.parametrize(("minutes", "saved"), [(1e-9, 24), (1e9, 2)])
def test_checkpoints_are_written_every_n_minutes(
    minutes: float, saved: int, tiny: Config, train: Train, tmp_path: Path
) -> None:
    class Count:
        def __init__(self) -> None:
            self.steps: list[int] = []

        @hookimpl
        def mtl_checkpoint_saved(self, path: str, step: int) -> None:
            self.steps.append(step)

    tiny["trainer"]["checkpoint_every_minutes"] = minutes
    callback = Count()
    assert train(tiny, tmp_path / "run", callback)["steps"] == 24
    assert len(callback.steps) == saved and callback.steps[-1] == 24


def test_resuming_a_completed_run_gives_its_result(
    tiny: Config, train: Train, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = train(tiny, tmp_path / "run")
    assert train(tiny, tmp_path / "run") == first
    assert "complete" in caplog.text


def test_d12_a_longer_run_resumed_equals_one_that_was_long_from_the_start(
    tiny: Config, train: Train, tmp_path: Path, differences: Differences
) -> None:
    tiny["trainer"]["keep_checkpoints"] = 1  # not that of the end of the shorter run
    train(tiny, tmp_path / "extended")
    tiny["trainer"]["epochs"] = 3
    train(tiny, tmp_path / "long")
    train(tiny, tmp_path / "extended")
    # Where the best model is an early one, beside it stands the config that it was trained with.
    of_the_model = {"model/config.json", "model/manifest.json"}
    assert set(differences(tmp_path / "extended", tmp_path / "long")) <= of_the_model


@pytest.mark.parametrize("lr_scheduler", ["Linear", "Cosine"])
def test_a_run_whose_rates_follow_from_its_length_cannot_be_made_longer(
    lr_scheduler: str, tiny: Config, train: Train, tmp_path: Path
) -> None:
    tiny["trainer"]["lr_scheduler"] = lr_scheduler
    train(tiny, tmp_path / "run")
    tiny["trainer"]["epochs"] = 3
    with pytest.raises(UsageError, match=rf"trainer.epochs: 2 before, 3 now \(the rates of {lr_scheduler}"):
        train(tiny, tmp_path / "run")
    assert json.loads((tmp_path / "run/result.json").read_text())["status"] == "completed"


def test_a_run_whose_order_follows_from_its_length_cannot_be_made_longer(
    tiny: Config, train: Train, tmp_path: Path
) -> None:
    tiny["schedule"] = {"Annealed": {"start": {"LM": 4.0}, "end": {"LM": 0.5}}}
    train(tiny, tmp_path / "run")
    tiny["trainer"]["epochs"] = 3
    with pytest.raises(UsageError, match=r"trainer.epochs: 2 before, 3 now \(the order of Annealed"):
        train(tiny, tmp_path / "run")
    tiny["schedule"]["Annealed"]["steps"], tiny["trainer"]["epochs"] = 5, 1
    train(tiny, tmp_path / "bounded")
    tiny["trainer"]["epochs"] = 2
    assert train(tiny, tmp_path / "bounded")["best"]["epoch"] <= 2


def test_a_run_cannot_be_made_shorter_than_it_is(tiny: Config, train: Train, tmp_path: Path) -> None:
    train(tiny, tmp_path / "run")
    tiny["trainer"]["max_steps"] = 3
    with pytest.raises(UsageError, match="steps are done already, but the config asks for 3"):
        train(tiny, tmp_path / "run")


def test_resuming_in_a_new_folder_starts_there_and_says_so(
    tiny: Config, train: Train, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "new/.config.json-leftover").mkdir(parents=True)
    assert train(tiny, tmp_path / "new", resume=True)["status"] == "completed"
    assert "there is no run to resume here" in caplog.text
    assert not list((tmp_path / "new").glob(".*"))


def test_resuming_in_a_folder_of_other_files_is_refused(tiny: Config, train: Train, tmp_path: Path) -> None:
    (tmp_path / "letters.txt").write_text("dear")
    with pytest.raises(UsageError, match="not a run folder"):
        train(tiny, tmp_path)


def test_data_that_have_moved_are_the_same_data(
    tiny: Config, train: Train, tmp_path: Path, differences: Differences
) -> None:
    train(tiny, tmp_path / "whole")
    with pytest.raises(Killed):
        train(tiny, tmp_path / "moved", KillAfter(17))
    tiny["base_dir"] = str(shutil.copytree(tiny["base_dir"], tmp_path / "elsewhere"))
    train(tiny, tmp_path / "moved")
    # These name the place.
    kept = ("config.json", "data.json", "manifest.json", "result.json", "state.json")
    assert [
        name for name in differences(tmp_path / "whole", tmp_path / "moved") if not name.endswith(kept)
    ] == []
    with (tmp_path / "elsewhere/train.tsv").open("a") as file:
        file.write("a row more\t1\n")
    tiny["trainer"]["epochs"] = 3
    with pytest.raises(UsageError, match=r"SST2.train: 22 rows before, 23 now"):
        train(tiny, tmp_path / "moved")


def test_a_kill_while_the_folder_of_no_files_is_removed_costs_nothing(
    tiny: Config, train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, differences: Differences
) -> None:
    train(tiny, tmp_path / "whole")
    removed = shutil.rmtree

    def removes_half(path: Path, *more: Any, **options: Any) -> None:
        if "files" in Path(path).name and (Path(path) / "manifest.json").exists():
            (Path(path) / "manifest.json").unlink()
            raise Killed
        removed(path, *more, **options)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr("mtl.runs.folder.shutil.rmtree", removes_half)
        train(tiny, tmp_path / "killed")
    train(tiny, tmp_path / "killed")
    assert differences(tmp_path / "whole", tmp_path / "killed") == []


def test_what_a_kill_leaves_of_a_removed_checkpoint_is_no_checkpoint(
    tiny: Config,
    train: Train,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    remove = shutil.rmtree

    def killed(path: Path, **options: Any) -> None:
        if (path / "state.json").exists():
            (path / "state.json").unlink()
            raise Killed
        remove(path, **options)

    tiny["trainer"] |= {"checkpoint_every_steps": 1, "keep_checkpoints": 1}
    with monkeypatch.context() as patched:
        patched.setattr("mtl.runs.folder.shutil.rmtree", killed)
        with pytest.raises(Killed):
            train(tiny, tmp_path / "run")
    folder = tmp_path / "run/checkpoints"
    assert len(list(folder.glob("step-*"))) == 1 and list(folder.glob(".step-*"))
    train(tiny, tmp_path / "run")
    assert not [record for record in caplog.records if "checkpoint" in record.message]
    assert not list(folder.glob(".*"))
