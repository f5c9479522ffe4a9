"""Predictions: one JSON object a row, in order, the same alone as in a batch."""

from __future__ import annotations

from pathlib import Path

import pytest

import mtl
from mtl.errors import UsageError
from mtl.runs import LoadedRun

TEXTS = [
    "a fine film",
    "the plot",
    "a dull and weak scene with a slow and very long ending",
    "",
    "unheardof words",
]


@pytest.fixture(scope="module")
def run(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier and a language model over a stream, trained for a few steps."""
    data = {"train_path": "SST-2/train.tsv", "eval_path": "SST-2/dev.tsv"}
    text = {"train_path": "wikitext-2/wiki.train.tokens"}
    config = {
        "base_dir": str(corpus),
        "tasks": {
            "SST2": {"DocClassificationTask": {"data": data, "eval_batch_size": 3}},
            "LM": {"LMTask": {"data": text, "rows": "stream", "max_tokens": 5, "eval_batch_size": 3}},
        },
        "trainer": {"max_steps": 6},
        "device": "cpu",
    }
    return mtl.train(config, output=tmp_path_factory.mktemp("predict") / "run").folder


@pytest.fixture(scope="module")
def loaded(run: Path) -> LoadedRun:
    return mtl.load(run)


def rows(texts: list[str]) -> list[dict[str, str]]:
    return [{"text": text} for text in texts]


def test_c2_predictions_carry_labels_and_probabilities(loaded: LoadedRun) -> None:
    answers = list(loaded.predict("SST2", rows(TEXTS[:3])))
    assert len(answers) == 3
    for answer in answers:
        assert answer["label"] in ("0", "1")
        assert answer["probabilities"][answer["label"]] == max(answer["probabilities"].values())
        assert sum(answer["probabilities"].values()) == pytest.approx(1)


@pytest.mark.parametrize("task", ["SST2", "LM"])
def test_a_row_alone_gets_the_answer_that_it_gets_in_a_batch(loaded: LoadedRun, task: str) -> None:
    texts = [text for text in TEXTS if text] * 3
    together = list(loaded.predict(task, rows(texts)))
    figure = "perplexity" if task == "LM" else "probabilities"
    for text, answer in zip(texts, together, strict=True):
        (alone,) = loaded.predict(task, rows([text]))
        assert alone[figure] == pytest.approx(answer[figure], rel=1e-4)


def test_a_language_model_over_a_stream_answers_each_line_whole(loaded: LoadedRun) -> None:
    answers = list(loaded.predict("LM", rows(TEXTS)))
    assert len(answers) == len(TEXTS)
    assert answers[2]["tokens"] > answers[0]["tokens"] > answers[3]["tokens"]


def test_an_empty_text_is_refused_by_a_classifier(loaded: LoadedRun) -> None:
    with pytest.raises(UsageError, match="input:2"):
        list(loaded.predict("SST2", rows(["fine", ""])))


def test_what_is_no_row_is_refused_with_its_number(loaded: LoadedRun) -> None:
    for row in ({}, {"text": 3}, {"texts": "a"}):
        with pytest.raises(UsageError, match="row 2: 'text' must be a string"):
            list(loaded.predict("SST2", [{"text": "a"}, row]))


def test_an_unknown_task_is_refused_with_those_there_are(loaded: LoadedRun) -> None:
    with pytest.raises(UsageError, match="SST2, LM"):
        list(loaded.predict("SST", rows(["a"])))


def test_more_rows_than_a_chunk_come_back_in_order(loaded: LoadedRun) -> None:
    texts = [TEXTS[index % 3] for index in range(2500)]
    labels = [answer["label"] for answer in loaded.predict("SST2", rows(texts))]
    expected = [answer["label"] for answer in loaded.predict("SST2", rows(TEXTS[:3]))]
    assert labels == [expected[index % 3] for index in range(2500)]


def test_a_model_trained_with_a_plugin_that_is_gone_says_which(run: Path, tmp_path: Path) -> None:
    from mtl.plugins import discover

    with pytest.raises(UsageError) as error:
        mtl.load(run, plugins=discover(blocked=["pytext-plugins-lm"]))
    assert "LMTask" in str(error.value) and "pytext-plugins-lm" in str(error.value)
