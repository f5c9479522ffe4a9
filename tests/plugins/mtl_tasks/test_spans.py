"""Spans of tags against seqeval, and repair."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from seqeval.metrics.sequence_labeling import get_entities

from mtl_tasks.spans import invalid_tags, repaired, spans

bio = st.lists(st.sampled_from(["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]), max_size=8)
BIOES_TAGS = ["O", *(f"{mark}-{kind}" for mark in "BIES" for kind in ("X", "Y"))]
bioes = st.lists(st.sampled_from(BIOES_TAGS), max_size=8)


def found(tags: list[str]) -> list[tuple[int, int, str]]:
    """The spans that seqeval finds, the end exclusive."""
    return sorted((start, end + 1, kind) for kind, start, end in get_entities(tags))


@given(bio)
def test_spans_of_bio_are_those_of_seqeval(tags: list[str]) -> None:
    assert sorted(spans(tags)) == found(tags)


@given(bio)
def test_repaired_bio_is_valid_and_keeps_the_spans(tags: list[str]) -> None:
    fixed = repaired(tags, "BIO")
    assert not list(invalid_tags(fixed, "BIO"))
    assert sorted(spans(fixed)) == found(tags)
    assert repaired(fixed, "BIO") == fixed


@given(bioes)
def test_repaired_bioes_is_valid_and_keeps_the_spans(tags: list[str]) -> None:
    fixed = repaired(tags, "BIOES")
    assert not list(invalid_tags(fixed, "BIOES"))
    assert sorted(spans(fixed)) == sorted(spans(tags))


@given(bio)
def test_valid_tags_stay_as_they_are(tags: list[str]) -> None:
    if not list(invalid_tags(tags, "BIO")):
        assert repaired(tags, "BIO") == tags
