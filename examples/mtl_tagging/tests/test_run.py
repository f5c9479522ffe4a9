"""config.json trains, and learns more than which words are names."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from pathlib import Path

import pytest
import torch
from mtl import Batch, ColumnSpec, Features, FeaturesConfig, InputPaths
from mtl.commands import main

from mtl_tagging.config import CoNLLConfig
from mtl_tagging.data import CoNLL, prepare_rows
from mtl_tagging.metrics import SpanMetrics
from mtl_tagging.model import TaggerOutput
from mtl_tagging.spans import SpanReader, complete_tags

DATA = Path(__file__).parents[1] / "data"

FEATURES = Features(FeaturesConfig(), {})


def tagged(split: str) -> list[tuple[list[str], list[str]]]:
    """The words and tags of each sentence."""
    path = DATA / f"{split}.conll"
    columns = [ColumnSpec("text"), ColumnSpec("tags", input=False)]
    table = CoNLL(CoNLLConfig(train_path=InputPaths(path))).read(path, columns)
    return list(prepare_rows(table, FEATURES).select("text", "tags").iter_rows())


def f1_of_the_most_frequent_tag() -> float:
    """Span F1 where each word gets the tag that it has most often in training."""
    seen: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for words, tags in tagged("train"):
        for word, tag in zip(words, tags, strict=True):
            seen[word][tag] += 1
    names = complete_tags([tag for counts in seen.values() for tag in counts])
    metrics = SpanMetrics(SpanReader(names))
    for words, tags in tagged("eval"):
        guessed = [seen[word].most_common(1)[0][0] if word in seen else "O" for word in words]
        numbers, true = ([[names.index(tag) for tag in row]] for row in (guessed, tags))
        length = torch.tensor([len(words)])
        output = TaggerOutput(loss=None, tags=torch.tensor(numbers), lengths=length)
        metrics.update(
            output, Batch({"tags": torch.tensor(true)}, {"tags": length}, torch.tensor([0]), len(words))
        )
    return float(metrics.compute()["span_f1"])


def test_it_beats_the_most_frequent_tag_of_each_word(run: Path) -> None:
    result = json.loads((run / "result.json").read_text())
    assert result["best"]["metric"] == "Names.span_f1"
    assert result["tasks"]["Names"]["rows_seen"] == len(tagged("train"))
    assert result["best"]["value"] > 0.9 > 0.3 > f1_of_the_most_frequent_tag()


def test_lines_that_begin_a_document_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", str(DATA.parent / "config.json"), "--json"]) == 0
    notices = json.loads(capsys.readouterr().out)["notices"]
    left_out = "lines of -DOCSTART-, which are left out"
    assert [notice.rpartition("/")[2] for notice in notices if left_out in notice] == [
        f"Names: train.conll: {left_out}: 3",
        f"Names: eval.conll: {left_out}: 1",
    ]
