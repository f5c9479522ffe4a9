"""`mtl init` writes configs that are complete, valid and train."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

import mtl
from mtl.commands import main
from mtl.config.dumping import dump
from mtl.config.load import load_config
from mtl.config.run_config import TrainerConfig
from mtl.config.source import read
from mtl.fields import fields_of
from mtl.plugins import Plugins


@pytest.fixture
def folder(tiny_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with the data of the tiny corpus in `data`."""
    (tmp_path / "data").symlink_to(tiny_corpus)
    monkeypatch.chdir(tmp_path)
    return tmp_path


TASKS = (
    *("--task", "Reviews=DocClassificationTask:data/train.tsv,data/eval.tsv,data/test.tsv"),
    *("--task", "LMTask:data/train.txt"),
)


def test_a_config_is_the_same_in_each_format_and_complete(folder: Path, plugins: Plugins) -> None:
    dumped = []
    for ending in ("json", "yaml", "toml"):
        path = folder / f"configs/c.{ending}"
        path.parent.mkdir(exist_ok=True)
        assert main(["init", str(path), *TASKS]) == 0
        assert main(["config", "validate", str(path)]) == 0
        config = load_config(path, plugins=plugins).config
        dumped.append(dump(config))
        stated: Any = read(path).value
        if ending != "toml":  # which cannot state that a setting is absent
            assert stated["trainer"].keys() == dump(config)["trainer"].keys()
    assert dumped[0] == dumped[1] == dumped[2]
    data = dumped[0]["tasks"]["LMTask"]["LMTask"]["data"]["TextLines"]
    assert (data["train_path"], data["eval_fraction"]) == ("../data/train.txt", 0.1)
    classifier, model = (next(iter(task.values())) for task in dumped[0]["tasks"].values())
    assert classifier["features"]["shared_module_key"] == model["features"]["shared_module_key"] is not None
    inner = classifier["representation"]["BiLSTMDocAttention"]["lstm"]
    assert inner == model["representation"]
    for ending in ("yaml", "toml"):
        text = " ".join((folder / f"configs/c.{ending}").read_text().replace("#", " ").split())
        for field in fields_of(TrainerConfig).values():
            assert " ".join(field.help.split()) in text


def test_a_config_trains(folder: Path) -> None:
    assert main(["init", "c.yaml", *TASKS]) == 0
    path = folder / "c.yaml"
    text = path.read_text().replace("lstm_dim: 32", "lstm_dim: 3")
    path.write_text(text.replace("embed_dim: 100", "embed_dim: 4"))
    mtl.train(path, output=folder / "run", fast=True)
    assert json.loads((folder / "run/result.json").read_text())["tasks"].keys() == {"Reviews", "LMTask"}


def test_tasks_share_nothing_if_they_must_not(folder: Path) -> None:
    assert main(["init", "c.json", *TASKS, "--no-share"]) == 0
    assert "SHARED" not in (folder / "c.json").read_text()


def test_a_column_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = (folder / "data/train.tsv").read_text().replace("sentence\tlabel", "body\tstars")
    (folder / "rows.tsv").write_text("id\t" + rows.replace("\n", "\n7\t").removesuffix("7\t"))
    task = ("--task", "R=DocClassificationTask:rows.tsv")
    assert main(["init", "c.toml", *task]) == 2
    said = capsys.readouterr().err
    assert "`--columns R.COLUMN=NAME`" in said and "1: 'body', 2: 'stars'" in said
    assert not (folder / "c.toml").exists()
    assert main(["init", "c.toml", *task, "--columns", "R.text=body", "--columns", "R.label=2"]) == 0
    config = tomllib.loads((folder / "c.toml").read_text())
    data = config["tasks"]["R"]["DocClassificationTask"]["data"]
    assert data["TSV"]["columns"] == {"text": "body", "label": 2}


@pytest.mark.parametrize(
    ("name", "source"),
    [("rows.jsonl", "JSONL"), ("rows.csv", "CSV"), ("rows", "TSV"), ("rows.data", "JSONL")],
)
def test_the_source_is_chosen_by_the_file(name: str, source: str, folder: Path) -> None:
    rows = [line.split("\t") for line in (folder / "data/train.tsv").read_text().splitlines()[1:]]
    texts = {
        "JSONL": "".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in rows),
        "CSV": "text,label\n" + "".join(f'"{text}","{label}"\n' for text, label in rows),
        "TSV": "".join(f"{text}\t{label}\n" for text, label in rows),
    }
    Path(name).write_text(texts[source])
    assert main(["init", "c.json", "--task", f"DocClassificationTask:{name}"]) == 0
    task = json.loads(Path("c.json").read_text())["tasks"]["DocClassificationTask"]
    assert list(task["DocClassificationTask"]["data"]) == [source]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "`--task` is needed"),
        (["--task", "LMTask"], "must be NAME=TASK:TRAIN"),
        (["--task", "LMTask:"], "must be NAME=TASK:TRAIN"),
        (["--task", "LMTask:a,b,c,d"], "must be NAME=TASK:TRAIN"),
        (["--task", "LMTsk:data/train.txt"], "did you mean `LMTask`"),
        (["--task", "LMTask:none.txt"], "none.txt: there is no such file"),
        (["--task", "a.b=LMTask:data/train.txt"], "no dot"),
        (["--task", "LMTask:data/train.txt", "--task", "LMTask:data/train.txt"], "two tasks called LMTask"),
        (["--task", "LMTask:data/train.txt", "--columns", "text=1"], "must be TASK.COLUMN=NAME"),
        (["--task", "LMTask:data/train.txt", "--columns", "LM.text=1"], "no task is called `LM`"),
    ],
)
def test_mistakes_are_reported(
    words: list[str], said: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["init", "c.yaml", *words]) == 2
    assert said in capsys.readouterr().err
    assert not (folder / "c.yaml").exists()


def test_a_file_is_not_replaced_unasked(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "c.yaml").write_text("mine")
    assert main(["init", "c.yaml", *TASKS]) == 2
    assert "c.yaml: exists already; `--force` replaces it" in capsys.readouterr().err
    assert (folder / "c.yaml").read_text() == "mine"
    assert main(["init", "c.yaml", *TASKS, "--force"]) == 0
    assert main(["init", "-", "--task", "LMTask:data/train.txt"]) == 0
    assert capsys.readouterr().out.rstrip().endswith('device: "auto"')
