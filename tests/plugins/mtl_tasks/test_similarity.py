"""Similarity: the loss, the metrics, and vectors of texts from any task with a document encoder."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import nn

import mtl
from mtl import Batch, ConfigError, UsageError
from mtl.commands import main
from mtl.testing import check_task
from mtl_tasks.similarity import SimilarityModel
from mtl_tasks.similarity_metrics import SimilarityMetrics, SimilarityOutput

WORDS = "good bad dull fine odd new".split()
SMALL: dict[str, Any] = {
    "features": {"word_feat": {"embed_dim": 6}},
    "representation": {"BiLSTMDocAttention": {"lstm": {"BiLSTM": {"lstm_dim": 4}}}},
}


def row(number: int) -> dict[str, Any]:
    words = [WORDS[(number * place + number // 3) % 6] for place in range(1, 4 + number % 3)]
    return {"text1": " ".join(words), "text2": " ".join(words[::-1]), "score": number % 5}


ROWS = "".join(json.dumps(row(number)) + "\n" for number in range(24))


@pytest.mark.parametrize("more", [{}, {"positive_from": 3, "selection_metric": "spearman"}])
def test_the_task_passes_the_kit(more: dict[str, Any]) -> None:
    config = {**SMALL, **more, "data": {"JSONL": {"train_path": "train.jsonl"}}}
    checks = check_task("SimilarityTask", config=config, files={"train.jsonl": ROWS})
    assert all(check.outcome == "passed" for check in checks)


class Given(nn.Module):
    """Gives the vectors of a batch as they are: as an embedding and as a representation."""

    def forward(self, batch: Any, name: Any) -> Any:
        return (batch[name], None) if isinstance(name, str) else batch


def made(rows: int, seed: int) -> tuple[Batch, np.ndarray, np.ndarray, list[int], list[int]]:
    """Return a batch of random vectors, some of the texts and scores equal."""
    draw = np.random.default_rng(seed)
    ids = draw.integers(0, max(rows - 1, 1), rows)
    first = draw.normal(size=(rows, 3)).astype(np.float32)
    second = draw.normal(size=(rows, 3)).astype(np.float32)[ids]
    scores = draw.integers(0, 5, rows)
    tensors = {
        "text1": torch.from_numpy(first),
        "text2": torch.from_numpy(second),
        "texts": torch.from_numpy(np.stack([np.arange(rows) + 100, ids], 1)),
        "score": torch.from_numpy(scores.astype(np.float64)),
    }
    return Batch(tensors, {}, torch.arange(rows), words=0), first, second, ids.tolist(), scores.tolist()


def cosine(left: np.ndarray, right: np.ndarray) -> float:
    return float(left @ right / (np.linalg.norm(left) * np.linalg.norm(right)))


def model(positive_from: float | None) -> SimilarityModel:
    return SimilarityModel(
        embedding=Given(), representation=Given(), temperature=0.1, positive_from=positive_from
    )


@settings(max_examples=30)
@given(rows=st.integers(1, 7), seed=st.integers(0, 99))
def test_the_loss_is_the_cross_entropy_over_the_other_texts_of_the_batch(rows: int, seed: int) -> None:
    batch, first, second, ids, scores = made(rows, seed)
    loss = model(positive_from=2).train()(batch).loss
    total = 0.0
    for place in range(rows):
        if scores[place] < 2:
            continue
        texts = [each for each in range(rows) if each == place or ids[each] != ids[place]]
        forward = [cosine(first[place], second[each]) / 0.1 for each in texts]
        backward = [cosine(first[each], second[place]) / 0.1 for each in range(rows)]
        own = cosine(first[place], second[place]) / 0.1
        total += sum(math.log(sum(map(math.exp, each))) - own for each in (forward, backward)) / 2
    assert float(loss.total) == pytest.approx(total, abs=1e-3)
    assert float(loss.weight) == max(sum(score >= 2 for score in scores), 1)


@settings(max_examples=30)
@given(rows=st.integers(1, 12), seed=st.integers(0, 99), size=st.integers(1, 5))
def test_metrics_are_those_of_all_pairs(rows: int, seed: int, size: int) -> None:
    batch, first, second, ids, scores = made(rows, seed)
    output: SimilarityOutput = model(positive_from=2).eval()(batch)
    metrics = SimilarityMetrics()
    for start in range(0, rows, size):
        part = slice(start, start + size)
        tensors = {name: tensor[part] for name, tensor in batch.tensors.items()}
        metrics.update(
            SimilarityOutput(None, output.first[part], output.second[part], output.is_pair[part]),
            Batch(tensors, {}, batch.rows[part], words=0),
        )
    found = metrics.compute()
    ranks = [
        sum(
            ids[each] != ids[place]
            and cosine(first[place], second[each]) > cosine(first[place], second[place])
            for each in range(rows)
        )
        for place in range(rows)
        if scores[place] >= 2
    ]
    if not ranks:
        assert found["recall_at_1"] is None and found["mean_reciprocal_rank"] is None
    else:
        for nearest in (1, 5, 10):
            assert found[f"recall_at_{nearest}"] == pytest.approx(np.mean([rank < nearest for rank in ranks]))
        assert found["mean_reciprocal_rank"] == pytest.approx(np.mean([1 / (rank + 1) for rank in ranks]))
    cosines = [cosine(*each) for each in zip(first, second, strict=True)]
    if len(set(scores)) > 1:
        assert found["spearman"] == pytest.approx(stats.spearmanr(cosines, scores)[0], abs=1e-5)


def test_equal_vectors_find_nothing() -> None:
    same = torch.ones(4, 2) / 2**0.5
    metrics = SimilarityMetrics()
    texts = torch.arange(8).reshape(4, 2)
    batch = Batch({"texts": texts}, {}, torch.arange(4), words=0)
    metrics.update(SimilarityOutput(None, same, same, torch.ones(4, dtype=torch.bool)), batch)
    assert metrics.compute()["recall_at_1"] == 0


# --- vectors -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a similarity task, a classifier and a tagger, which share the features."""
    folder = tmp_path_factory.mktemp("vectors")
    (folder / "train.jsonl").write_text(ROWS)
    tagged = [{"words": row(number)["text1"].split()} for number in range(9)]
    lines = [
        {"text": " ".join(each["words"]), "label": str(len(each["words"]) % 2), **each} for each in tagged
    ]
    lines = [{**each, "tags": ["X"] * len(each["words"])} for each in lines]
    (folder / "rows.jsonl").write_text("".join(json.dumps(each) + "\n" for each in lines))
    data = {"JSONL": {"train_path": "rows.jsonl"}}
    words = {"shared_module_key": "W"}
    tasks = {
        "Pairs": {
            "SimilarityTask": {
                **SMALL,
                "features": {**SMALL["features"], **words},
                "data": {"JSONL": {"train_path": "train.jsonl"}},
            }
        },
        "Labels": {"DocClassificationTask": {**SMALL, "features": words, "data": data}},
        "Tags": {
            "TaggingTask": {"features": words, "representation": {"BiLSTM": {"lstm_dim": 4}}, "data": data}
        },
    }
    config = {"base_dir": str(folder), "tasks": tasks, "trainer": {"max_steps": 3}, "device": "cpu"}
    mtl.train(config, output=folder / "run")
    return folder / "run"


def test_vectors_are_those_that_the_task_compares(run: Path) -> None:
    loaded = mtl.load(run, device="cpu")
    pair = ("good bad", "dull fine odd new")
    vectors = loaded.vectors("Pairs", pair)
    assert vectors.shape == (2, 8) and vectors.dtype == np.float32
    [answer] = loaded.predict("Pairs", [pair])
    assert answer["score"] == pytest.approx(cosine(*vectors), abs=1e-6)
    assert np.array_equal(
        loaded.vectors("Pairs", [["good", "bad"]])[0], loaded.vectors("Pairs", "good bad")[0]
    )
    assert loaded.vectors("Labels", [pair[0]] * 3).shape == (3, 8)
    assert loaded.vectors("Labels", []).shape == (0, 8)


@pytest.mark.parametrize("task", ["Pairs", "Labels", "Tags"])
def test_token_vectors_have_one_per_word(run: Path, task: str) -> None:
    vectors = mtl.load(run, device="cpu").vectors(task, ["good bad", "dull"], tokens=True)
    assert [each.shape for each in vectors] == [(2, 8), (1, 8)]
    assert all(np.abs(each).sum() > 0 for each in vectors)


def test_the_command_writes_vectors_with_the_other_columns(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("signal.signal", lambda *arguments: None)
    loaded = mtl.load(run, device="cpu")
    (tmp_path / "rows.jsonl").write_text('{"text": "good bad", "id": 7}\n')
    assert main(["predict", str(run), str(tmp_path / "rows.jsonl"), "--task", "Labels", "--vectors"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["vector"] == loaded.vectors("Labels", "good bad")[0].tolist() and "7" in str(answer["id"])
    [pair] = loaded.predict_lines("Pairs", [b"good bad\tdull"], vectors=True)
    assert pair["vectors"]["text2"] == pytest.approx(loaded.vectors("Pairs", "dull")[0].tolist(), abs=1e-6)


def test_what_has_no_vectors_is_refused(run: Path) -> None:
    loaded = mtl.load(run, device="cpu")
    with pytest.raises(UsageError, match="Tags has no document vectors"):
        loaded.vectors("Tags", ["good"])
    with pytest.raises(UsageError, match=r"`texts\[1\]` must be a text or a list of words, but is 3"):
        loaded.vectors("Labels", ["good", 3])
    with pytest.raises(mtl.DataError, match=r"`texts\[0\]` must have a word"):
        loaded.vectors("Labels", [" "])


def test_spearman_without_scores_is_refused(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_text(ROWS)
    task = {**SMALL, "selection_metric": "spearman", "data": {"JSONL": {"train_path": "train.jsonl"}}}
    with pytest.raises(ConfigError, match="`spearman` needs scores"):
        mtl.plan({"base_dir": str(tmp_path), "tasks": {"S": {"SimilarityTask": task}}})
