"""The generated corpus is in WikiText's format and rewards a model that looks at context."""

from __future__ import annotations

import math
import re
from collections import Counter
from itertools import pairwise

import pytest

from pytext_plugins_lm import sample

SPLITS = ("train", "valid", "test")


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    files = sample.files(0)
    return {split: files[f"wikitext-2/wiki.{split}.tokens"] for split in SPLITS}


def lines(text: str) -> list[list[str]]:
    return [["<start>", *line.split(), "<end>"] for line in text.splitlines() if line.strip()]


def test_the_same_seed_gives_the_same_text_and_another_seed_another() -> None:
    assert sample.files(1) == sample.files(1)
    assert not set(sample.files(1).values()) & set(sample.files(2).values())


def test_it_has_the_promised_size(texts: dict[str, str]) -> None:
    assert {split: len(lines(text)) for split, text in texts.items()} == sample.LINES
    assert 50_000 < len(texts["train"].split()) < 70_000


def test_it_has_the_shape_of_wikitext(texts: dict[str, str]) -> None:
    for text in texts.values():
        for line in text.splitlines():
            assert re.fullmatch(r" (= \w.* = |= = \w+ = = |\S.*\. )?", line), line
        assert {"<unk>", "The", "the"} <= set(text.split())
        assert " \n = = Plot = = \n \n" in text


def test_words_unseen_in_training_are_unknown(texts: dict[str, str]) -> None:
    known = set(texts["train"].split())
    assert set(texts["valid"].split()) <= known
    assert set(texts["test"].split()) <= known


def test_context_tells_far_more_than_frequency(texts: dict[str, str]) -> None:
    """Interpolated maximum-likelihood models: each longer context beats the shorter one clearly."""
    train, valid = lines(texts["train"]), lines(texts["valid"])
    words = Counter(word for line in train for word in line[1:])
    pairs = Counter(pair for line in train for pair in pairwise(line))
    triples = Counter(three for line in train for three in zip(line, line[1:], line[2:], strict=False))
    starts = Counter(word for line in train for word in line[:-1])

    def unigram(_: str, __: str, word: str) -> float:
        return words[word] / words.total()

    def bigram(before: str, last: str, word: str) -> float:
        return (pairs[last, word] + 3 * unigram(before, last, word)) / (starts[last] + 3)

    def trigram(before: str, last: str, word: str) -> float:
        return (triples[before, last, word] + 3 * bigram(before, last, word)) / (pairs[before, last] + 3)

    contexts = [three for line in valid for three in zip(["", *line], line, line[1:], strict=False)]
    perplexities = [
        math.exp(-sum(math.log(model(*context)) for context in contexts) / len(contexts))
        for model in (unigram, bigram, trigram)
    ]
    assert perplexities[0] > 5 * perplexities[1]
    assert perplexities[1] > 1.2 * perplexities[2]
