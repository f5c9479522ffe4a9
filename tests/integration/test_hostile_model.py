"""A model or checkpoint folder from a stranger: refused before it takes memory, and it runs nothing."""

from __future__ import annotations

import json
import os
import pickle
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import mtl
from mtl.errors import ComponentError, UsageError
from mtl.files import MANIFEST, write_manifest

Config = dict[str, Any]
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, corpus: Path) -> Path:
    folder = tmp_path_factory.mktemp("trained") / "run"
    task = {
        "DocClassificationTask": {
            "data": {"train_path": "SST-2/train.tsv", "eval_path": "SST-2/dev.tsv"},
            "features": {"word_feat": {"embed_dim": 6}},
            "representation": {"BiLSTMDocAttention": {"lstm": {"lstm_dim": 4}}},
        }
    }
    mtl.train(
        {"base_dir": str(corpus), "task": task, "trainer": {"epochs": 1}, "device": "cpu"}, output=folder
    )
    return folder


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(trained, tmp_path / "run"))


def edit(folder: Path, name: str, change: Callable[[Any], Any]) -> None:
    """Change a JSON file as a stranger would who knows the format: with a manifest that fits."""
    path = folder / name
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    reseal(folder)


def reseal(folder: Path) -> None:
    (folder / MANIFEST).unlink()
    write_manifest(folder)


def test_files_may_be_read_by_whom_the_umask_lets(trained: Path) -> None:
    files = [path for path in trained.rglob("*") if path.is_file()]
    modes = {path.stat().st_mode for path in files}
    assert any(path.suffix == ".safetensors" for path in files) and len(modes) == 1


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not a run folder"):
        mtl.load(tmp_path)


@pytest.mark.parametrize("name", ["weights.safetensors", "config.json", "tasks.json", "featurizers.json"])
def test_one_changed_byte_is_seen(run: Path, name: str) -> None:
    content = bytearray((run / "model" / name).read_bytes())
    content[-3] ^= 1
    (run / "model" / name).write_bytes(content)
    with pytest.raises(UsageError, match=rf"{name}: is not what was written"):
        mtl.load(run)


@pytest.mark.parametrize("name", ["weights.safetensors", "config.json", "tasks.json", MANIFEST])
def test_a_missing_file_is_named(run: Path, name: str) -> None:
    (run / "model" / name).unlink()
    with pytest.raises(UsageError, match=name):
        mtl.load(run)


def test_a_pipe_in_place_of_a_file_does_not_hang(run: Path) -> None:
    for name in ("config.json", MANIFEST):
        damaged = run / "model" / name
        damaged.unlink()
        os.mkfifo(damaged)
        with pytest.raises(UsageError, match=name):
            mtl.load(run)
        damaged.unlink()
        shutil.copy(run / "config.json", damaged)


def test_l8_a_pickle_in_place_of_the_weights_runs_nothing(run: Path, tmp_path: Path) -> None:
    class Payload:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "owned",)

    (run / "model/weights.safetensors").write_bytes(pickle.dumps(Payload()))
    reseal(run / "model")
    with pytest.raises(UsageError, match="not a file of weights"):
        mtl.load(run)
    for folder in (run / "checkpoints").iterdir():
        (folder / "tensors.safetensors").write_bytes(pickle.dumps(Payload()))
        reseal(folder)
    config = json.loads((run / "config.json").read_text())
    config["trainer"]["epochs"] = 2
    mtl.train(config, output=run, resume=True)
    assert not (tmp_path / "owned").exists()


def test_l8_no_source_file_unpickles_or_evaluates() -> None:
    forbidden = re.compile(
        r"^\s*(import|from) (pickle|dill|joblib|marshal|shelve)\b|torch\.(load|save)\(|allow_pickle(?!=False)"
        r"|(?<![.\w])(eval|exec|__import__)\("
    )
    sources = [
        path for folder in ROOT.glob("**/src") if ".venv" not in folder.parts for path in folder.rglob("*.py")
    ]
    assert len(sources) > 100
    found = [
        f"{path}: {line}"
        for path in sources
        for line in path.read_text(encoding="utf-8").splitlines()
        if forbidden.search(line)
    ]
    assert found == []


@pytest.mark.parametrize("lstm_dim", [1 << 26, 1 << 34])
def test_sizes_are_checked_before_memory_is_taken(run: Path, lstm_dim: int) -> None:
    """Terabytes of LSTM: to build it would fail with another error."""

    def enlarge(config: Config) -> Config:
        (task,) = config["tasks"].values()
        task["DocClassificationTask"]["representation"]["BiLSTMDocAttention"]["lstm"]["BiLSTM"][
            "lstm_dim"
        ] = lstm_dim
        return config

    edit(run / "model", "config.json", enlarge)
    with pytest.raises(UsageError, match=r"do not fit the model|fits no memory"):
        mtl.load(run)


def test_tensors_that_are_missing_extra_or_of_another_shape_are_refused(run: Path) -> None:
    path = run / "model/weights.safetensors"
    stored = load_file(path)
    first = next(iter(stored))
    for damaged in (
        {name: tensor for name, tensor in stored.items() if name != first},
        {**stored, "extra": torch.zeros(1)},
        {**stored, first: torch.zeros(2, 3, 4)},
    ):
        save_file(damaged, path)
        reseal(run / "model")
        with pytest.raises(UsageError, match="do not fit the model"):
            mtl.load(run)


def test_names_in_a_manifest_cannot_climb_out_of_the_folder(run: Path) -> None:
    for name in ("../../config.json", "/etc/hosts", "extra.json"):
        manifest = json.loads((run / "model" / MANIFEST).read_text())
        (run / "model" / MANIFEST).write_text(json.dumps({**manifest, name: "0" * 64}))
        with pytest.raises(UsageError, match="do not belong here"):
            mtl.load(run)
        (run / "model" / MANIFEST).write_text(json.dumps(manifest))


@pytest.mark.parametrize("state", [None, [], 3, {}, {"labels": 5}, {"labels": {"0": "1"}}])
def test_what_was_learnt_must_have_its_shape(run: Path, state: Any) -> None:
    edit(run / "model", "tasks.json", lambda stored: dict.fromkeys(stored, state))
    with pytest.raises(UsageError, match="DocClassificationTask"):
        mtl.load(run)


@pytest.mark.parametrize(
    "change",
    [
        lambda state: state["training"].pop("tasks"),
        lambda state: state["training"]["tasks"].update(other={}),
        lambda state: next(iter(state["training"]["tasks"].values())).update(__class__="os.system"),
        lambda state: next(iter(state["training"]["tasks"].values())).update(steps="many"),
        lambda state: state["training"].update(step=10**9),
        lambda state: state["training"].update(step=-5),
        lambda state: state["training"]["phase"].update(index=-1),
        lambda state: state["training"]["phase"].update(step=10**9),
        lambda state: state["training"]["phase"].update(places=[1]),
        lambda state: state["training"]["best"].update(figures=[1]),
        lambda state: state["training"]["best"].update(figures={"SST2": [1]}),
        lambda state: state["training"].update(best_value="high"),
        lambda state: next(iter(state["training"]["tasks"].values())).update(reported={}),
        lambda state: next(iter(state["training"]["tasks"].values())).update(scores=[1]),
        lambda state: next(iter(state["training"]["tasks"].values())).update(stopped_at="never"),
        lambda state: state["optimizer"]["state"].update({"99": {"step": 1}}),
        lambda state: state["optimizer"].pop("param_groups"),
        lambda state: state.pop("run"),
        lambda state: state["run"].update(rows=[]),
        lambda state: next(iter(state["run"]["rows"].values())).pop("rows"),
        lambda state: state.update(metrics_size="many"),
    ],
)
def test_a_checkpoint_of_another_kind_is_refused(run: Path, change: Callable[[Any], Any]) -> None:
    (folder,) = (run / "checkpoints").iterdir()

    def changed(state: Any) -> Any:
        change(state)
        return state

    edit(folder, "state.json", changed)
    config = json.loads((run / "config.json").read_text())
    config["trainer"]["epochs"] = 2
    with pytest.raises(UsageError, match=r"checkpoint|state|steps are done"):
        mtl.train(config, output=run, resume=True)


@pytest.mark.parametrize("name", ["extra", "other.weight", "optimizer.0.exp_avg", "report.other.total"])
def test_tensors_that_belong_nowhere_are_refused(run: Path, name: str) -> None:
    (folder,) = (run / "checkpoints").iterdir()
    tensors = load_file(folder / "tensors.safetensors")
    save_file({**tensors, name: torch.zeros(4_000_000)}, folder / "tensors.safetensors")
    reseal(folder)
    config = json.loads((run / "config.json").read_text())
    config["trainer"]["epochs"] = 2
    with pytest.raises(UsageError, match="does not fit the run"):
        mtl.train(config, output=run, resume=True)


def test_rates_that_cannot_go_on_from_their_state_are_named(run: Path) -> None:
    (folder,) = (run / "checkpoints").iterdir()
    rates = {"last_epoch": "late"}
    edit(folder, "state.json", lambda state: {**state, "lr_scheduler": state["lr_scheduler"] | rates})
    config = json.loads((run / "config.json").read_text())
    config["trainer"]["epochs"] = 2
    with pytest.raises(ComponentError, match=r"LambdaLR .* failed after step"):
        mtl.train(config, output=run, resume=True)
