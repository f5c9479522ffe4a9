"""`configs/suite.json`: eight tasks over one encoder, from training to the report.

On generated data in the published layouts always; on the corpora themselves if `MTL_DATA_DIR` (or the
workspace's own copy) has them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import mtl
from mtl.commands import main
from mtl.config.load import load_config
from mtl.plugins import discover

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / "configs/suite.json"
REAL = Path(os.environ.get("MTL_DATA_DIR", ROOT.parent / "shared/data"))
TASKS = ["SST2", "CoLA", "RTE", "MRPC", "STSB", "POS", "NER", "LM"]
SMALL = [
    "schedule=RoundRobin",
    "trainer.max_steps=8",
    "device=cpu",
    "tasks.SST2.DocClassificationTask.features.word_feat.embed_dim=8",
    "tasks.SST2.DocClassificationTask.features.ngram_feat.embed_dim=8",
    "tasks.SST2.DocClassificationTask.features.ngram_feat.buckets=50",
    "tasks.SST2.DocClassificationTask.representation.BiLSTMDocAttention.lstm.lstm_dim=8",
]


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a few steps over all eight tasks."""
    folder = tmp_path_factory.mktemp("suite")
    plugins = discover()
    for name in ("sst2", "wikitext-2", "task-samples"):
        spec = plugins.find("dataset", name).spec
        for path, text in spec.load_factory()(spec.load_config()()).sample(0).items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            kept = text if path.endswith(".json") else "".join(text.splitlines(keepends=True)[:81])
            (folder / path).write_text(kept)
    mtl.train(CONFIG, output=folder / "run", base_dir=folder, overrides=SMALL, plugins=plugins)
    return folder


@pytest.fixture
def invoke(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Runs a command in this process and gives its standard output."""
    monkeypatch.setattr("signal.signal", lambda *arguments: None)

    def run(*arguments: object) -> str:
        status = main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        assert status == 0, err
        return out

    return run


def test_the_tasks_share_one_encoder_and_are_valid_anywhere() -> None:
    config = load_config(json.loads(CONFIG.read_text()), plugins=discover(), check_paths=False).config
    assert list(config.tasks) == TASKS
    encoders = {id(_encoder(task.config)) for task in config.tasks.values()}
    embeddings = {id(task.config.features) for task in config.tasks.values()}
    assert len(encoders) == len(embeddings) == 1


def _encoder(config: Any) -> Any:
    own = config.representation.config
    return own.lstm.config if hasattr(own, "lstm") else own


def test_every_task_is_trained_scored_and_reported(suite: Path, invoke: Callable[..., str]) -> None:
    result = json.loads((suite / "run/result.json").read_text())
    assert [task["steps"] for task in result["tasks"].values()] == [1] * 8
    scores = json.loads(invoke("test", suite / "run", "--json"))
    assert list(scores) == TASKS
    page = suite / "report.html"
    invoke("report", suite / "run", "--output", page)
    assert all(task in page.read_text() for task in TASKS)


@pytest.mark.parametrize(
    ("task", "given", "keys"),
    [
        ("SST2", "a good film", {"label", "probabilities"}),
        ("CoLA", "the cat sleep", {"label", "probabilities"}),
        ("RTE", "it rains in Rome\tit rains", {"label", "probabilities"}),
        ("MRPC", '{"text1": "a b", "text2": "b a", "id": 3}', {"label", "probabilities", "id"}),
        ("STSB", "a plane\tan air plane", {"score"}),
        ("POS", '{"words": ["Ada", "slept", "."]}', {"tags"}),
        ("NER", '{"words": ["Ada", "slept", "."]}', {"tags"}),
        ("LM", "the river", {"tokens", "perplexity"}),
    ],
)
def test_every_task_predicts(suite: Path, task: str, given: str, keys: set[str]) -> None:
    [answer] = mtl.load(suite / "run", task=task, device="cpu").predict_lines(task, [given.encode()])
    assert keys <= answer.keys() and "error" not in answer
    if "tags" in keys:
        assert len(answer["tags"]) == 3
    if task == "STSB":
        assert 0 <= answer["score"] <= 5


def test_a_file_of_tagged_words_is_predicted(suite: Path, invoke: Callable[..., str]) -> None:
    file = suite / "WNUT17/emerging.dev.conll"
    answers = [
        json.loads(line) for line in invoke("predict", suite / "run", file, "--task", "NER").splitlines()
    ]
    sentences = file.read_text().strip().split("\n\n")
    assert [len(each["tags"]) for each in answers] == [len(each.splitlines()) for each in sentences]


@pytest.mark.slow
@pytest.mark.skipif(not (REAL / "WNUT17").is_dir(), reason="no real data: set MTL_DATA_DIR")
def test_the_corpora_are_read_as_published() -> None:
    planned = mtl.plan(CONFIG, base_dir=REAL, overrides=["device=cpu"])["tasks"]
    rows = {name: planned[name]["train"]["rows"] for name in TASKS[:-1]}
    assert list(rows.values()) == [67349, 8551, 2490, 4076, 4249, 3457, 3394]
    assert all(each["train"]["skipped"] == 0 for each in planned.values())


@pytest.mark.slow
@pytest.mark.skipif(not (REAL / "WNUT17").is_dir(), reason="no real data: set MTL_DATA_DIR")
def test_the_corpora_are_trained_on(tmp_path: Path) -> None:
    result = mtl.train(CONFIG, output=tmp_path / "run", base_dir=REAL, overrides=SMALL[2:], fast=True).data
    assert all(task["steps"] and task["test"] for task in result["tasks"].values())
