"""Answers to questions: spans, SQuAD's evaluation, windows over long contexts, and the source."""

from __future__ import annotations

import itertools
import json
import re
import string
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import mtl
from mtl import Batch, ConfigError, DataError
from mtl.testing import check_data_source, check_task
from mtl_tasks import sample
from mtl_tasks.answer_metrics import SpanMetrics, SpanOutput
from mtl_tasks.answer_text import exact_match, f1, first_characters, words_between

SMALL = {
    "features": {"word_feat": {"embed_dim": 6, "tokenizer": "unicode"}},
    "representation": {"BiLSTM": {"lstm_dim": 4}},
}
ROWS = json.loads(sample.files(0)["SQuAD/train-v2.0.json"])["data"][0]["paragraphs"][:24]


def squad(paragraphs: list[dict[str, Any]]) -> str:
    return json.dumps({"version": "v2.0", "data": [{"title": "T", "paragraphs": paragraphs}]}, indent=1)


def paragraph(context: str, *questions: dict[str, Any]) -> dict[str, Any]:
    return {"context": context, "qas": list(questions)}


def question(text: str, *answers: tuple[str, int], **more: Any) -> dict[str, Any]:
    found = [{"text": answer, "answer_start": start} for answer, start in answers]
    return {"id": text, "question": text, "answers": found, **more}


# --- the kit -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("more", [{}, {"reader": {"BiLSTM": {"lstm_dim": 3}}, "max_answer_words": 2}])
def test_the_task_passes_the_kit(more: dict[str, Any]) -> None:
    config = {**SMALL, **more, "data": {"SQuAD": {"train_path": "train.json"}}}
    checks = check_task("SpanTask", config=config, files={"train.json": squad(ROWS)})
    assert all(check.outcome == "passed" for check in checks)


def test_the_source_passes_the_kit() -> None:
    checks = check_data_source(
        "SQuAD", config={"train_path": "train.json"}, files={"train.json": squad(ROWS)}
    )
    assert all(check.outcome == "passed" for check in checks)


# --- what is compared with what -------------------------------------------------------------------------


def reference_normalized(answer: str) -> str:
    """As SQuAD's evaluation describes it: lower case, then without punctuation, articles and extra spaces."""
    kept = "".join(character for character in answer.lower() if character not in set(string.punctuation))
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", kept, flags=re.UNICODE).split())


def reference_f1(answer: str, predicted: str) -> float:
    right, said = reference_normalized(answer).split(), reference_normalized(predicted).split()
    common = sum((Counter(right) & Counter(said)).values())
    if not right or not said:
        return float(right == said)
    if not common:
        return 0.0
    precision, recall = common / len(said), common / len(right)
    return 2 * precision * recall / (precision + recall)


texts = st.text("aThe n.,' -é", max_size=14)


@given(predicted=texts, answers=st.lists(texts, max_size=3))
def test_answers_are_compared_as_by_squad(predicted: str, answers: list[str]) -> None:
    golds = [each for each in answers if reference_normalized(each)] or [""]
    expected = max(float(reference_normalized(each) == reference_normalized(predicted)) for each in golds)
    assert exact_match(predicted, answers) == expected
    assert f1(predicted, answers) == pytest.approx(max(reference_f1(each, predicted) for each in golds))


@given(words=st.lists(st.text("abé", min_size=1, max_size=3), min_size=1, max_size=9), data=st.data())
def test_an_answer_is_the_words_that_it_has_characters_of(words: list[str], data: Any) -> None:
    separators = data.draw(st.lists(st.sampled_from([" ", "  "]), min_size=len(words), max_size=len(words)))
    text = "".join(itertools.chain(*zip(words, separators, strict=True)))
    starts = first_characters(text, words)
    assert [text[start : start + len(word)] for start, word in zip(starts, words, strict=True)] == words
    start = data.draw(st.integers(0, len(text) - 1))
    answer = text[start : data.draw(st.integers(start + 1, len(text)))]
    if answer.strip():
        held = [
            place
            for place, (first, word) in enumerate(zip(starts, words, strict=True))
            if any(start <= first + at < start + len(answer) for at in range(len(word)))
        ]
        assert words_between(starts, start, answer) == (held[0], held[-1])


@settings(max_examples=40)
@given(
    lengths=st.lists(st.integers(1, 7), min_size=1, max_size=4),
    longest=st.integers(1, 8),
    seed=st.integers(0, 99),
)
def test_the_best_answer_is_that_of_all_spans(lengths: list[int], longest: int, seed: int) -> None:
    output, _ = made(lengths, seed)
    scores, first, last = output.best(longest)
    for row, length in enumerate(lengths):
        spans = {
            (start, end): float(output.starts[row, start] + output.ends[row, end])
            for start in range(length)
            for end in range(start, min(length, start + longest))
        }
        assert float(scores[row]) == pytest.approx(max(spans.values()))
        assert spans[int(first[row]), int(last[row])] == pytest.approx(max(spans.values()))


def made(lengths: list[int], seed: int) -> tuple[SpanOutput, Batch]:
    """Return random scores of contexts of one-letter words, and a batch in which every second one has an
    answer, its first word."""
    draw = torch.Generator().manual_seed(seed)
    rows, time = len(lengths), max(lengths)
    inside = torch.arange(time) < torch.tensor(lengths)[:, None]
    starts, ends = (
        torch.randn(rows, time, generator=draw).masked_fill(~inside, -torch.inf) for _ in range(2)
    )
    none = torch.randn(2, rows, generator=draw)
    output = SpanOutput(None, starts, ends, none[0], none[1], torch.zeros(()))
    contexts = [" ".join("bcdefgh"[:length]) for length in lengths]
    answers = ["b\0" if row % 2 else "" for row in range(rows)]
    offsets = torch.zeros(rows, time, 2, dtype=torch.int32)
    offsets[..., 0], offsets[..., 1] = 2 * torch.arange(time), 2 * torch.arange(time) + 1
    columns, counts = {"offsets": offsets}, {"offsets": torch.tensor(lengths)}
    for name, values in (("context_text", contexts), ("answers", answers)):
        counts[name] = torch.tensor([len(each) for each in values])
        columns[name] = torch.zeros(rows, int(counts[name].max()), dtype=torch.uint8)
        for row, each in enumerate(values):
            columns[name][row, : len(each)] = torch.tensor(list(each.encode()), dtype=torch.uint8)
    return output, Batch(columns, counts, torch.arange(rows), words=sum(lengths))


@settings(max_examples=40)
@given(lengths=st.lists(st.integers(1, 7), min_size=2, max_size=8), seed=st.integers(0, 99))
def test_metrics_are_the_means_of_the_rows_and_no_threshold_is_better(lengths: list[int], seed: int) -> None:
    output, batch = made(lengths, seed)
    metrics = SpanMetrics(longest=3)
    metrics.update(output, batch)
    score, first, last = output.best(3)
    margins = output.margins(score)

    def reference(threshold: float) -> float:
        total = 0.0
        for row, length in enumerate(lengths):
            said = " ".join("bcdefgh"[:length][int(first[row]) : int(last[row]) + 1])
            said = said if margins[row] > threshold else ""
            total += reference_f1("b" if row % 2 else "", said)
        return total / len(lengths)

    assert metrics.compute()["f1"] == pytest.approx(reference(0.0))
    metrics.threshold = metrics.fitted_threshold()
    best = max(
        reference(float(threshold)) for threshold in [*margins, 0, margins.max() + 1, margins.min() - 1]
    )
    assert metrics.compute()["f1"] == pytest.approx(best)


# --- runs --------------------------------------------------------------------------------------------------


def config_of(folder: Path, paragraphs: list[dict[str, Any]], **task: Any) -> dict[str, Any]:
    (folder / "train.json").write_text(squad(paragraphs))
    data = {"SQuAD": {"train_path": "train.json", "eval_path": "train.json"}}
    return {
        "base_dir": str(folder),
        "tasks": {"QA": {"SpanTask": {**SMALL, "data": data, "batch_size": 8, **task}}},
        "trainer": {"epochs": 1},
        "device": "cpu",
    }


def test_it_learns_to_answer_and_to_leave_open(tmp_path: Path) -> None:
    places = ["Rome", "Oslo", "Lima", "Quito"]
    paragraphs = [
        paragraph(
            f"Ada lives in {there} now .",
            question("Where ?", (there, 13)) if number % 3 else question("Why ?", is_impossible=True),
        )
        for number, there in enumerate(places * 12)
    ]
    config = config_of(tmp_path, paragraphs)
    config["trainer"] = {"epochs": 25, "optimizer": {"Adam": {"lr": 0.02}}}
    found = mtl.train(config, output=tmp_path / "run").data["tasks"]["QA"]["eval"]
    assert found["f1"] == found["exact_match"] == 1.0
    run = mtl.load(tmp_path / "run", device="cpu")
    context = "  Ada lives in Lima now ."
    there, open_ = run.predict("QA", [("Where ?", context), ("Why ?", context)])
    assert there["answer"] == "Lima" == context[there["start"] : there["end"]]
    assert (open_["answer"], open_["start"], open_["end"]) == ("", None, None)
    assert 0 < there["score"] <= 1 and 0 < open_["score"] <= 1
    [answer] = run.predict_file("QA", _without_answers(tmp_path))
    assert answer["id"] == "Where ?" and answer["answer"] == "Oslo"


def _without_answers(folder: Path) -> Path:
    asked = {key: value for key, value in question("Where ?").items() if key != "answers"}
    (folder / "asked.json").write_text(squad([paragraph("Ada lives in Oslo now .", asked)]))
    return folder / "asked.json"


def test_a_reader_of_texts_that_are_read_jointly_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("mtl_transformers")
    config = config_of(tmp_path, ROWS, reader="BiLSTM")
    model = {"model": "none", "hidden_size": 4, "positions": 64, "vocabulary": 9, "model_type": "bert"}
    config["tasks"]["QA"]["SpanTask"]["features"] = {
        "pretrained_feat": {**model, "causal": False, "tokenizer_hash": "0"}
    }
    with pytest.raises(ConfigError, match="`reader` needs texts that are read one by one"):
        mtl.plan(config)


@pytest.mark.parametrize(
    ("paragraphs", "message"),
    [
        (
            [paragraph("a b", question("q", ("b", 0)))],
            r"train\.json:1: the answer 'b' must be at character 0",
        ),
        (
            [paragraph("a b", question("q", ("b", 9)))],
            r"train\.json:1: data\[0\]\.paragraphs\[0\]\.qas\[0\]\.answers\[0\]: `answer_start` must be",
        ),
        ([paragraph("", question("q"))], r"train\.json:1: `context` must not be empty"),
        ([{"context": "a"}], r"paragraphs\[0\]: must be an object whose `qas` is a list"),
        ([paragraph("a", {"question": "q"})], "`answers` must be there, empty if there is none"),
    ],
)
def test_what_is_wrong_is_named_by_its_place(
    tmp_path: Path, paragraphs: list[dict[str, Any]], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        mtl.plan(config_of(tmp_path, paragraphs))


def test_offsets_count_from_the_first_word_of_a_context(tmp_path: Path) -> None:
    rows = [paragraph("  a b", question("q", ("b", 4))), paragraph("a b", question("p", ("a", 0)))]
    planned = mtl.plan(config_of(tmp_path, rows * 4))
    assert planned["tasks"]["QA"]["train"]["rows"] == 8


def test_starts_beyond_the_first_word_are_numbers() -> None:
    assert first_characters("aa a", ["aa", "a"]).dtype == np.int64
