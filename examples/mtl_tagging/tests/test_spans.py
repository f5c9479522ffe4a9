"""Spans and their metrics against seqeval, by its defaults."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mtl import Batch
from seqeval.metrics import accuracy_score, f1_score, precision_score, recall_score
from seqeval.metrics.sequence_labeling import get_entities
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from mtl_tagging.metrics import SpanMetrics
from mtl_tagging.model import TaggerOutput
from mtl_tagging.spans import SpanReader, complete_tags

TYPES = ("LOC", "PER", "LOC-OF")
TAGS = complete_tags([f"{prefix}-{type_}" for prefix in "BIES" for type_ in TYPES])
READER = SpanReader(TAGS)

sentences = st.lists(st.sampled_from(TAGS), min_size=1, max_size=7)
Pair = tuple[list[str], list[str]]


@st.composite
def pairs(draw: st.DrawFn) -> Pair:
    """True tags of a sentence and predicted ones, which are often the same."""
    true = draw(sentences)
    changes = draw(st.dictionaries(st.integers(0, len(true) - 1), st.sampled_from(TAGS), max_size=3))
    return true, [changes.get(place, tag) for place, tag in enumerate(true)]


def padded(rows: Sequence[Sequence[str]], padding: int) -> Tensor:
    numbers = [torch.tensor([TAGS.index(tag) for tag in row]) for row in rows]
    return pad_sequence(numbers, batch_first=True, padding_value=padding)


def spans(rows: Sequence[Sequence[str]]) -> list[list[tuple[str, int, int]]]:
    lengths = torch.tensor([len(row) for row in rows])
    read = READER.read(padded(rows, TAGS.index("I-PER")), lengths)  # padding must not be looked at
    found: list[list[tuple[str, int, int]]] = [[] for _ in rows]
    ends = read.ends.nonzero().tolist()
    for (row, first), (same, last) in zip(read.begins.nonzero().tolist(), ends, strict=True):
        assert row == same
        found[row].append((READER.types[int(read.types[row, first])], first, last))
    return found


def metrics(batches: Sequence[Sequence[Pair]]) -> dict[str, Any]:
    return gathered(batches).compute()


def gathered(batches: Sequence[Sequence[Pair]]) -> SpanMetrics:
    metrics = SpanMetrics(READER)
    for rows in batches:
        true, predicted = padded([row[0] for row in rows], -100), padded([row[1] for row in rows], 0)
        lengths = torch.tensor([len(row[0]) for row in rows])
        output = TaggerOutput(loss=None, tags=predicted, lengths=lengths)
        metrics.update(output, Batch({"tags": true}, {"tags": lengths}, torch.arange(len(rows)), 0))
    return metrics


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(pairs(), min_size=1, max_size=3), max_size=4), st.integers(0, 4))
def test_metrics_of_two_halves_merge_to_those_of_the_whole(batches: list[list[Pair]], cut: int) -> None:
    merged = gathered(batches[:cut])
    merged.merge(gathered(batches[cut:]).state())
    assert merged.compute() == metrics(batches)


@settings(max_examples=300, deadline=None)
@given(st.lists(sentences, min_size=1, max_size=4))
def test_spans_are_those_of_seqeval(rows: list[list[str]]) -> None:
    assert spans(rows) == [get_entities(row) for row in rows]


@settings(max_examples=150, deadline=None)
@given(st.lists(st.lists(pairs(), min_size=1, max_size=3), min_size=1, max_size=3))
def test_metrics_are_those_of_seqeval(batches: list[list[Pair]]) -> None:
    ours = metrics(batches)
    true, predicted = map(list, zip(*(row for rows in batches for row in rows), strict=True))
    theirs = {
        "span_precision": precision_score(true, predicted, zero_division=0),
        "span_recall": recall_score(true, predicted, zero_division=0),
        "span_f1": f1_score(true, predicted, zero_division=0),
        "accuracy": accuracy_score(true, predicted),
    }
    assert {name: ours[name] or 0.0 for name in theirs} == pytest.approx(theirs)


def test_metrics_by_type() -> None:
    rows = [(["B-PER", "I-PER", "O", "B-LOC"], ["B-PER", "I-PER", "O", "B-PER"])]
    assert metrics([rows])["per_type"] == {
        "LOC": {"precision": None, "recall": 0.0, "f1": 0.0, "spans": 1},
        "LOC-OF": {"precision": None, "recall": None, "f1": None, "spans": 0},
        "PER": {"precision": 0.5, "recall": 1.0, "f1": pytest.approx(2 / 3), "spans": 1},
    }


def test_nothing_is_defined_without_rows() -> None:
    nothing = metrics([])
    assert [nothing[name] for name in ("span_f1", "span_precision", "span_recall", "accuracy")] == [None] * 4


@pytest.mark.parametrize(
    "tags",
    [
        ["B-PER", "I-PER", "O", "B-LOC", "B-LOC"],  # IOB2
        ["I-PER", "I-PER", "O", "I-LOC", "B-LOC"],  # IOB1
        ["B-PER", "E-PER", "O", "S-LOC", "S-LOC"],  # IOBES
    ],
)
def test_one_text_in_three_schemes(tags: list[str]) -> None:
    assert spans([tags]) == [[("PER", 0, 1), ("LOC", 3, 3), ("LOC", 4, 4)]]


def test_each_type_gets_the_prefixes_that_any_has() -> None:
    assert complete_tags(["I-LOC", "O", "B-PER"]) == ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]
    assert complete_tags([]) == ["O"]
