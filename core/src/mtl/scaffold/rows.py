"""A few generated film reviews for a new plugin to train on."""

from __future__ import annotations

import csv
import io
import random
from typing import Literal

SCORES = {"dreadful": -2, "dull": -1, "bright": 1, "splendid": 2}
NOUNS = ("ending", "film", "hero", "plot")
SIZES = {"train": 64, "eval": 32}

Target = Literal["score", "label"]
COLUMNS = ("text", "label")
"""The columns of the rows that an example is trained on, unless its kind brings others."""


def review_files(target: Target, extension: Literal["tsv", "csv"]) -> dict[str, str]:
    """Return rows to train on and to evaluate, {path: text}, the same each time: a text, and the sum of its
    adjectives' scores or whether that is `good` or `bad`."""
    generator = random.Random(0)
    return {
        f"data/{split}.{extension}": _reviews(generator, size, target, "\t" if extension == "tsv" else ",")
        for split, size in SIZES.items()
    }


def _reviews(generator: random.Random, size: int, target: Target, delimiter: str) -> str:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, lineterminator="\n")
    writer.writerow(["text", target])
    for _ in range(size):
        first, second = generator.choices(list(SCORES), k=2)
        score = SCORES[first] + SCORES[second] or SCORES[first]
        words = f"a {first} {generator.choice(NOUNS)} and a {second} {generator.choice(NOUNS)}"
        writer.writerow([words, score if target == "score" else "good" if score > 0 else "bad"])
    return text.getvalue()
