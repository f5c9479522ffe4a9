"""Answers to questions over words whose vectors come from pieces, in windows if the texts are long."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import mtl

pytest.importorskip("mtl_tasks")

FILLER = "the film is a very good film with unforgettable characters and a dull story "


def questions(fillers: int) -> str:
    """Each context names one place, the answer, at its beginning, in the middle or at its end."""
    paragraphs = []
    for number, place in enumerate(["music", "actors", "story", "nobody"] * 6):
        before = FILLER * (number % 3 * fillers // 2)
        context = f"{before}not {place} short {FILLER * fillers}".strip()
        start = len(before) + 4
        answer = {"text": place, "answer_start": start}
        asked = {"id": str(number), "question": "what is not short", "answers": [answer]}
        paragraphs.append({"context": context, "qas": [asked]})
    return json.dumps({"version": "1.1", "data": [{"title": "", "paragraphs": paragraphs}]})


@pytest.mark.slow
@pytest.mark.parametrize(("fillers", "long_texts"), [(1, "truncate"), (6, "windows")])
def test_answers_are_found_in_contexts_of_any_length(
    tmp_path: Path, model_folder: Callable[[str], Path], fillers: int, long_texts: str
) -> None:
    (tmp_path / "train.json").write_text(questions(fillers))
    features = {
        "pretrained_feat": {"model": str(model_folder("bert")), "long_texts": long_texts, "stride": 16}
    }
    task: dict[str, Any] = {
        "data": {"train_path": "train.json", "eval_path": "train.json"},
        "features": features,
        "representation": "Identity",
        "batch_size": 8,
    }
    config = {
        "base_dir": str(tmp_path),
        "tasks": {"QA": {"SpanTask": task}},
        "trainer": {"epochs": 30, "optimizer": {"Adam": {"lr": 0.01}}},
        "device": "cpu",
    }
    result = mtl.train(config, output=tmp_path / "run").data
    assert result["tasks"]["QA"]["eval"]["exact_match"] > 0.9
    context = json.loads(questions(fillers))["data"][0]["paragraphs"][2]["context"]
    [answer] = mtl.load(tmp_path / "run", device="cpu").predict("QA", ("what is not short", context))
    assert context[answer["start"] : answer["end"]] == answer["answer"]
