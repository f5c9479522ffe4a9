"""Tagging against plain references: loss, tags, metrics by conlleval's definition, counts of labels."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from seqeval.metrics import f1_score, precision_score, recall_score
from torch import Tensor, nn

import mtl
from mtl import Batch
from mtl_tasks.crf import LinearChainCRF
from mtl_tasks.tagging import Tagger
from mtl_tasks.tagging_metrics import TaggingMetrics, TaggingOutput

TAGS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
tag_rows = st.lists(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=6), min_size=1, max_size=6
)


def made(rows: list[list[tuple[int, int]]]) -> tuple[TaggingOutput, Batch]:
    """Return predicted and true tags of rows as a model and a batch give them, padded with another tag."""
    lengths = torch.tensor([len(row) for row in rows])
    predicted, true = (
        torch.tensor([[pair[which] for pair in row] + [1] * (int(lengths.max()) - len(row)) for row in rows])
        for which in (0, 1)
    )
    scores = torch.zeros(*predicted.shape, len(TAGS))
    return TaggingOutput(None, scores, predicted, lengths), Batch(
        {"tags": true}, {}, torch.arange(len(rows)), 0
    )


def spans_of(tags: list[str]) -> set[tuple[str, int, int]]:
    """The spans by conlleval: B begins one, and so does I after O or after another type."""
    found, start, kind = set(), 0, ""
    for place, tag in enumerate([*tags, "O"]):
        mark, _, own = tag.partition("-")
        if kind and (mark != "I" or own != kind):
            found.add((kind, start, place))
            kind = ""
        if mark in ("B", "I") and not kind:
            start, kind = place, own
    return found


def ratio(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


@settings(max_examples=60)
@given(rows=tag_rows, at=st.integers(0, 6))
def test_metrics_are_those_of_conlleval_and_seqeval(rows: list[list[tuple[int, int]]], at: int) -> None:
    metrics, rest = TaggingMetrics(TAGS, "BIO"), TaggingMetrics(TAGS, "BIO")
    for part, gathered in ((rows[:at], metrics), (rows[at:], rest)):
        if part:
            gathered.update(*made(part))
    metrics.merge(rest.state())
    found = metrics.compute()
    said, true = ([[TAGS[pair[which]] for pair in row] for row in rows] for which in (0, 1))
    pairs = [pair for row in rows for pair in row]
    assert found["accuracy"] == pytest.approx(sum(a == b for a, b in pairs) / len(pairs))
    numbered = [
        {(row, *span) for row, tags in enumerate(each) for span in spans_of(tags)} for each in (said, true)
    ]
    predicted, gold = numbered
    if not gold:
        assert found["span_f1"] is None
        return
    hits = len(predicted & gold)
    precision, recall = ratio(hits, len(predicted)), ratio(hits, len(gold))
    assert found["span_precision"] == pytest.approx(precision) == precision_score(true, said, zero_division=0)
    assert found["span_recall"] == pytest.approx(recall) == recall_score(true, said, zero_division=0)
    assert found["span_f1"] == pytest.approx(2 * hits / (len(predicted) + len(gold)))
    assert found["span_f1"] == pytest.approx(f1_score(true, said, zero_division=0))
    assert set(found["per_type"]) == {kind for _, kind, _, _ in predicted | gold}
    for kind, scores in found["per_type"].items():
        own, right = ({each for each in spans if each[1] == kind} for spans in numbered)
        assert scores["spans"] == len(right)
        assert scores["f1"] == pytest.approx(ratio(2 * len(own & right), len(own) + len(right)))


class Given(nn.Module):
    """Gives the scores of a batch, as embedding, encoder and decoder."""

    def forward(self, batch: Any, name: Any = None) -> Any:
        if isinstance(batch, Tensor):
            return batch
        return batch["scores"], batch.lengths["scores"]


@settings(max_examples=25)
@given(
    lengths=st.lists(st.integers(1, 4), min_size=1, max_size=4), crf=st.booleans(), seed=st.integers(0, 99)
)
def test_the_loss_and_the_tags_are_those_of_each_row_alone(lengths: list[int], crf: bool, seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    field = LinearChainCRF(3) if crf else None
    for parameter in field.parameters() if field is not None else ():
        parameter.requires_grad_(False).normal_(generator=draw)
    scores = torch.randn(len(lengths), max(lengths), 3, generator=draw)
    tags = torch.randint(3, scores.shape[:2], generator=draw)
    model = Tagger(Given(), Given(), Given(), field).eval()
    batch = Batch(
        {"scores": scores, "tags": tags}, {"scores": torch.tensor(lengths)}, torch.arange(len(lengths)), 0
    )
    output = model(batch)
    total = 0.0
    for row, length in enumerate(lengths):
        paths = list(itertools.product(range(3), repeat=length))
        values = torch.tensor([_score(field, scores[row], path) for path in paths])
        own = tuple(tags[row, :length].tolist())
        total += float(values.logsumexp(0)) - float(values[paths.index(own)])
        best = paths[int(values.argmax())]
        assert output.tags[row, :length].tolist() == list(best)
    assert output.loss is not None
    assert float(output.loss.total) == pytest.approx(total, abs=1e-3)
    assert float(output.loss.weight) == sum(lengths)


def _score(field: LinearChainCRF | None, scores: Tensor, path: tuple[int, ...]) -> float:
    """The score of a sequence of tags, by definition; without a field, that of each tag alone."""
    total = float(sum(scores[place, tag] for place, tag in enumerate(path)))
    if field is None:
        return total
    steps = sum(float(field.transitions[a, b]) for a, b in itertools.pairwise(path))
    return total + steps + float(field.start[path[0]] + field.end[path[-1]])


@pytest.mark.parametrize(
    ("scheme", "expected"), [("none", {"B-X": 3, "B-Y": 1, "I-X": 1, "O": 2}), ("BIO", {"X": 3, "Y": 1})]
)
def test_a_plan_counts_the_rows_with_each_tag_or_type(
    tmp_path: Path, scheme: str, expected: dict[str, int]
) -> None:
    rows = [["B-X", "I-X", "O"], ["B-X", "B-X"], ["B-Y", "B-X"], ["O", "O"]]
    (tmp_path / "train.conll").write_text(
        "\n\n".join("\n".join(f"w{place} {tag}" for place, tag in enumerate(row)) for row in rows) + "\n"
    )
    task = {"TaggingTask": {"scheme": scheme, "data": {"train_path": "train.conll"}}}
    planned = mtl.plan({"base_dir": str(tmp_path), "tasks": {"T": task}, "device": "cpu"})
    assert planned["tasks"]["T"]["train"]["labels"]["counts"] == expected
    json.dumps(planned)
