"""`--from`: a run starts from the vocabularies, labels and weights of another."""

from __future__ import annotations

import copy
import json
import random
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import mtl
from mtl.errors import UsageError
from mtl.runs import plan, read_json

Config = dict[str, Any]
WORDS = ["bright", "dull", "film", "plot", "scene", "story", "music", "pace"]

FEATURES: Config = {"shared_module_key": "features", "word_feat": {"embed_dim": 4}, "char_feat": {}}
LSTM: Config = {"lstm_dim": 3, "shared_module_key": "lstm"}


def write_rows(path: Path, words: list[str], labels: list[str], rows: int = 24) -> None:
    chance = random.Random(len(words))
    lines = [f"{' '.join(chance.sample(words, 4))}\t{labels[n % len(labels)]}\n" for n in range(rows)]
    # Every word occurs, the first ones most often.
    lines += [f"{' '.join(words[: n + 1])}\t{labels[n % len(labels)]}\n" for n in range(len(words))]
    path.write_text("text\tlabel\n" + "".join(lines))


def config(folder: Path, task: str = "Films", rows: str = "old", **changes: Any) -> Config:
    settings = {
        "batch_size": 8,
        "data": {"train_path": f"{rows}.tsv", "eval_path": f"{rows}.tsv"},
        "features": FEATURES,
        "representation": {"BiLSTMDocAttention": {"lstm": LSTM, "mlp_dims": [3]}},
        **changes,
    }
    return {
        "base_dir": str(folder),
        "seed": 3,
        "tasks": {task: {"DocClassificationTask": settings}},
        "trainer": {"num_threads": 1, "epochs": 1},
        "device": "cpu",
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("films")
    write_rows(folder / "old.tsv", WORDS, ["0", "1"])
    write_rows(folder / "new.tsv", [*reversed(WORDS), "fresh", "words"], ["2", "1", "0"])
    (folder / "bad.tsv").write_text("whoever reads this fails\n")
    mtl.train(config(folder), output=folder / "old")
    return folder


def weights(run: Path, task: str) -> tuple[Any, dict[str, torch.Tensor]]:
    loaded = mtl.load(run, device="cpu")
    return loaded, dict(loaded.model.tasks[task].named_parameters())


def untrained(settings: Config) -> Config:
    """A config whose run ends with the weights that it starts with."""
    return {**settings, "trainer": {"num_threads": 1, "max_steps": 1, "optimizer": {"SGD": {"lr": 1e-30}}}}


def test_same_config_starts_with_the_same_weights(folder: Path, tmp_path: Path) -> None:
    result = mtl.train(untrained(config(folder)), output=tmp_path / "run", from_run=folder / "old")
    _, before = weights(folder / "old", "Films")
    _, now = weights(tmp_path / "run", "Films")
    assert before.keys() == now.keys()
    assert all(torch.equal(before[name], now[name]) for name in before)
    started = result.data["from"]
    assert started["run"] == str(folder / "old") and started["new"] == [] and started["left"] == []
    assert len(started["taken"]) > 3


def test_new_words_labels_and_tasks(folder: Path, tmp_path: Path) -> None:
    settings = config(folder, rows="new")
    settings["tasks"] |= copy.deepcopy(config(folder, task="Other", rows="new")["tasks"])
    result = mtl.train(untrained(settings), output=tmp_path / "run", from_run=folder / "old")
    old, before = weights(folder / "old", "Films")
    new, now = weights(tmp_path / "run", "Films")
    old_words = old.tasks.featurizers["features.word_feat"].featurizer.vocabulary.tokens
    new_words = new.tasks.featurizers["features.word_feat"].featurizer.vocabulary.tokens
    assert new_words[: len(old_words)] == old_words and {"fresh", "words"} <= set(new_words)
    assert new.tasks.tasks["Films"].labels == ["0", "1", "2"]
    embedding = "embedding.parts.word_feat.embedding.weight"
    assert torch.equal(now[embedding][: len(old_words)], before[embedding])
    assert torch.equal(now["decoder.output.weight"][:2], before["decoder.output.weight"])
    # The new task reads with the old encoder; what only it has is new.
    other = new.model.tasks["Other"]
    assert other.representation.lstm is new.model.tasks["Films"].representation.lstm
    said = result.data["from"]
    assert any("0 moved, 2 new, 0 dropped" in each for each in said["taken"])
    assert said["new"] and all("tasks.Other" in each for each in said["new"])


def test_another_task_takes_what_has_a_shared_key(folder: Path, tmp_path: Path) -> None:
    result = mtl.train(
        untrained(config(folder, task="Other", rows="new")), output=tmp_path / "run", from_run=folder / "old"
    )
    _, before = weights(folder / "old", "Films")
    _, now = weights(tmp_path / "run", "Other")
    assert all(torch.equal(before[name], now[name]) for name in before if ".lstm." in name)
    assert not torch.equal(before["decoder.output.bias"], now["decoder.output.bias"][:2])
    assert any("decoder" in each for each in result.data["from"]["left"])


@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(order=st.permutations(WORDS))
def test_words_in_any_order_keep_their_vectors(folder: Path, order: list[str]) -> None:
    place = folder / "permuted"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    write_rows(place / "new.tsv", order, ["1", "0"])
    (place / "words.txt").write_text("".join(f"{word}\n" for word in order))
    features: Config = {
        "word_feat": {"embed_dim": 4, "vocab_file": "words.txt", "vocab_from_train_data": False}
    }
    settings = config(
        place, rows="new", features={"shared_module_key": "features", **features, "char_feat": {}}
    )
    mtl.train(untrained(settings), output=place / "run", from_run=folder / "old")
    old, new = (mtl.load(run, device="cpu") for run in (folder / "old", place / "run"))

    def vectors(run: Any) -> dict[str, list[float]]:
        part = run.model.tasks["Films"].embedding.parts["word_feat"]
        return dict(zip(part.tokens, part.weight.tolist(), strict=True))

    before, now = vectors(old), vectors(new)
    assert all(now[word] == before[word] for word in before)
    assert [*old.predict("Films", ["bright film"])] == [*new.predict("Films", ["bright film"])]


def test_weights_go_where_words_are_if_a_featurizer_starts_anew(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mtl_text.featurizers import WordFeat

    monkeypatch.setattr(WordFeat, "start_from", lambda self, state: None)
    result = mtl.train(
        untrained(config(folder, rows="new")), output=tmp_path / "run", from_run=folder / "old"
    )
    assert any("word_feat" in each and " moved" in each for each in result.data["from"]["taken"])
    old, new = (mtl.load(run, device="cpu") for run in (folder / "old", tmp_path / "run"))
    parts = [run.model.tasks["Films"].embedding.parts["word_feat"] for run in (old, new)]
    before, now = (dict(zip(part.tokens, part.weight.tolist(), strict=True)) for part in parts)
    assert list(before) != list(now)[: len(before)]
    assert all(now[word] == before[word] for word in before if word in now)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"features": {"shared_module_key": "features", "word_feat": {"embed_dim": 5}, "char_feat": {}}},
            "shape",
        ),
        ({"features": {"word_feat": {"embed_dim": 4}}}, "dimensions here"),
        ({"features": dict(reversed(FEATURES.items()))}, "in the same order"),
        (
            {
                "representation": {
                    "BiLSTMDocAttention": {"lstm": {"lstm_dim": 7, "shared_module_key": "lstm"}}
                }
            },
            "`lstm_dim` is 7 here, 3 there",
        ),
        ({"decoder": {"hidden_dims": [9]}}, "`hidden_dims` is"),
    ],
)
def test_what_cannot_fit_is_refused_before_data_are_read(
    folder: Path, tmp_path: Path, change: Config, message: str
) -> None:
    settings = config(folder, rows="bad", **change)
    with pytest.raises(UsageError, match=message) as refused:
        mtl.train(settings, output=tmp_path / "run", from_run=folder / "old")
    assert "tasks.Films.DocClassificationTask" in str(refused.value)
    assert not (tmp_path / "run").exists()


def test_nothing_to_start_from_is_refused(folder: Path, tmp_path: Path) -> None:
    settings = config(
        folder, task="Other", rows="bad", features={"word_feat": {}}, representation={"DocNN": {}}
    )
    with pytest.raises(UsageError, match=r"nothing to start from.*Films, features.*lstm"):
        mtl.train(settings, output=tmp_path / "run", from_run=folder / "old")
    with pytest.raises(UsageError, match="not a run folder"):
        mtl.train(settings, output=tmp_path / "run", from_run=folder / "none")


def test_resuming_is_exact_after_the_first_run_is_gone(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "old", tmp_path / "old")
    settings = config(folder, rows="new")
    settings["trainer"] = {"num_threads": 1, "max_steps": 6, "checkpoint_every_steps": 2}
    mtl.train(settings, output=tmp_path / "whole", from_run=tmp_path / "old")

    class Stop:
        def __init__(self, step: int) -> None:
            self.step = step

        @mtl.hookimpl
        def mtl_step_ended(self, step: int) -> None:
            if step == self.step:
                import os
                import signal

                os.kill(os.getpid(), signal.SIGINT)

    for step in (1, 3):
        run = tmp_path / f"run-{step}"
        with pytest.raises(mtl.runs.Interrupted):
            mtl.train(settings, output=run, from_run=tmp_path / "old", callbacks=[Stop(step)])
        if step == 1:  # as if it had been killed before its first checkpoint
            shutil.rmtree(run / "checkpoints")
            (run / "checkpoints").mkdir()
        (tmp_path / "old").rename(tmp_path / "gone")
        with pytest.raises(UsageError, match="leave that out"):
            mtl.train(settings, output=run, from_run=folder / "old", resume=True)
        resumed = mtl.train(settings, output=run, resume=True)
        (tmp_path / "gone").rename(tmp_path / "old")
        whole = tmp_path / "whole"
        for name in ("weights.safetensors", "featurizers.json", "tasks.json"):
            assert (run / "model" / name).read_bytes() == (whole / "model" / name).read_bytes()
        assert resumed.data["from"] == read_json(whole / "result.json")["from"]


def test_command_prints_what_it_takes(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config(folder, rows="new")))
    planned = plan(path, from_run=folder / "old")
    assert any("starts from" in notice and "taken" in notice for notice in planned["notices"])
