"""The generated reviews: read right, and hard for those who only look at words."""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from pytext_plugins_sst import sample
from pytext_plugins_sst.sample import ADJECTIVES, NEGATIONS, NOISE, VERB_NEGATIONS, VERBS, Review

POLARITIES = {
    word: polarity for words in (ADJECTIVES, VERBS) for polarity in (0, 1) for word in words[polarity]
}
BEST = 1 - NOISE


def read(text: str) -> int:
    """The polarity of a review, from the rules that the module states."""
    text = re.sub(r"^(set|shot|with|based|from the life) [^,]* , ", "", text.removesuffix(" ."))
    text = re.sub(r" about an? \w+ \w+", "", text)
    text = re.sub(r"^although .* , ", "", text)
    text = re.sub(r" , even though .*", "", text)
    clause = re.split(r"(?:^| )but ", text)[-1]
    clause = re.split(r" and (?:the|this) ", clause)[0]
    judged = [word for word in clause.split() if word in POLARITIES]
    negated = any(f" {negation} " in f" {clause} " for negation in (*NEGATIONS, *VERB_NEGATIONS))
    return POLARITIES[judged[-1]] ^ negated


def naive_bayes(train: Sequence[Review], features: Callable[[str], set[Any]]) -> Callable[[str], int]:
    """Bernoulli features that occur, add-one smoothing."""
    rows = Counter(review.label for review in train)
    counts: dict[int, Counter[Any]] = {0: Counter(), 1: Counter()}
    for review in train:
        counts[review.label].update(features(review.text))

    def score(label: int, text: str) -> float:
        chances = ((counts[label][feature] + 1) / (rows[label] + 2) for feature in features(text))
        return math.log(rows[label]) + sum(map(math.log, chances))

    return lambda text: int(score(1, text) > score(0, text))


def accuracy(classify: Callable[[str], int], reviews: Sequence[Review]) -> float:
    return sum(classify(review.text) == review.label for review in reviews) / len(reviews)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_who_reads_the_rules_finds_every_label_but_the_noise(seed: int) -> None:
    train, dev = sample.reviews(seed)
    assert all(read(review.text) == review.polarity for review in [*train, *dev])
    assert accuracy(read, dev) == pytest.approx(BEST)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_who_only_looks_at_words_is_far_from_the_best(seed: int) -> None:
    train, dev = sample.reviews(seed)
    words = accuracy(naive_bayes(train, lambda text: set(text.split())), dev)
    pairs = accuracy(
        naive_bayes(train, lambda text: {*text.split(), *zip(text.split(), text.split()[1:], strict=False)}),
        dev,
    )
    assert 0.55 < words < BEST - 0.2
    assert 0.6 < pairs < BEST - 0.12


def test_half_of_the_reviews_are_good_and_dev_sentences_are_new() -> None:
    train, dev = sample.reviews(5)
    assert (len(train), len(dev)) == (sample.TRAIN_ROWS, sample.DEV_ROWS)
    for reviews in (train, dev):
        assert sum(review.polarity for review in reviews) * 2 == len(reviews)
    assert not {review.text for review in dev} & {review.text for review in train}


def test_some_adjectives_are_rare() -> None:
    train, _ = sample.reviews(0)
    counts = Counter(word for review in train for word in review.text.split())
    adjectives = sorted(counts[word] for words in ADJECTIVES.values() for word in words)
    assert adjectives[0] >= 1
    assert adjectives[7] <= 15 < 300 < adjectives[-1]


def test_articles_fit() -> None:
    train, dev = sample.reviews(0)
    assert not any(re.search(r"\ba [aeiou]|\ban [^aeiou]", review.text) for review in [*train, *dev])


def test_d10_a_seed_gives_the_same_files_in_any_process() -> None:
    program = (
        "import json, sys; from pytext_plugins_sst import sample; json.dump(sample.files(3), sys.stdout)"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1
    assert sample.files(3) != sample.files(4)


def test_the_files_read_back_as_they_were_meant(tmp_path: Path, config: Callable[..., Any]) -> None:
    for name, text in sample.files(0).items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    data = config().data
    source = data.spec.load_factory()(data.config)
    for name, reviews in zip(("train", "dev"), sample.reviews(0), strict=True):
        frame = source.read(tmp_path / f"SST-2/{name}.tsv", config().columns).frame
        assert frame["text"].str.strip_chars().to_list() == [review.text for review in reviews]
        assert frame["label"].to_list() == [str(review.label) for review in reviews]
        assert frame["line"].to_list() == list(range(2, len(reviews) + 2))


def test_the_vocabulary_file_lists_the_training_words_frequent_ones_first() -> None:
    train, _ = sample.reviews(0)
    counts = Counter(word for review in train for word in review.text.split())
    words = sample.files(0)["SST-2/sst_vocab.txt"].splitlines()
    assert sorted(words) == sorted(counts)
    assert [counts[word] for word in words] == sorted(counts.values(), reverse=True)
