"""Texts of answers: where words are in a text, and how SQuAD's evaluation compares two answers."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence

import numpy as np

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_WITHOUT_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalized(answer: str) -> str:
    """Return an answer in lower case, without ASCII punctuation, articles and repeated spaces."""
    return " ".join(_ARTICLES.sub(" ", answer.lower().translate(_WITHOUT_PUNCTUATION)).split())


def exact_match(predicted: str, answers: Sequence[str]) -> float:
    """Return whether a prediction is one of the answers, normalized; no answer is the empty text."""
    return float(normalized(predicted) in {normalized(answer) for answer in _compared(answers)})


def f1(predicted: str, answers: Sequence[str]) -> float:
    """Return the F1 of the words of a prediction, normalized, by the answer that gives the highest."""
    return max(_f1(normalized(predicted).split(), normalized(each).split()) for each in _compared(answers))


def _compared(answers: Sequence[str]) -> Sequence[str]:
    return [answer for answer in answers if normalized(answer)] or [""]


def _f1(predicted: Sequence[str], right: Sequence[str]) -> float:
    if not predicted or not right:
        return float(predicted == right)
    common = sum((Counter(predicted) & Counter(right)).values())
    return 2 * common / (len(predicted) + len(right))


def first_characters(text: str, words: Sequence[str]) -> np.ndarray:
    """Return where each word begins in the text that consists of them, int64 `[words]`."""
    starts = np.zeros(len(words), dtype=np.int64)
    end = 0
    for place, word in enumerate(words):
        starts[place] = text.index(word, end)
        end = starts[place] + len(word)
    return starts


def words_between(starts: np.ndarray, start: int, answer: str) -> tuple[int, int]:
    """Return the first and the last word of an answer, which begins at the character `start`; `starts` are
    the first characters of the words."""
    start, end = start + len(answer) - len(answer.lstrip()), start + len(answer.rstrip())
    first = int(np.searchsorted(starts, start, side="right")) - 1
    last = int(np.searchsorted(starts, end, side="left")) - 1
    return max(first, 0), last
