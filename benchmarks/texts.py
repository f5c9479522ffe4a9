"""The text that is trained on: generated, or cut from the real datasets, in the real datasets' files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np

SENTENCES = "SST-2/train.tsv"
LINES = "wikitext-2/wiki.train.tokens"
LINE_WORDS = range(60, 401)
"""How long a line of text is: paragraphs, without headings and the few that are longer."""
BLOCK = 10_000


def sentence_lengths(rows: int) -> np.ndarray:
    """Return words a sentence, as in SST-2: 1 to 52, a mean of 9."""
    return np.random.default_rng(0).geometric(1 / 9.4, rows).clip(1, 52)


def line_lengths(rows: int) -> np.ndarray:
    """Return words a line, as in WikiText-2's paragraphs: 60 to 400, a median of 131."""
    drawn = np.random.default_rng(1).lognormal(np.log(131), 0.45, rows)
    return drawn.astype(np.int64).clip(LINE_WORDS.start, LINE_WORDS.stop - 1)


def generate(lengths: np.ndarray, words: int) -> Iterator[str]:
    """Yield texts of these lengths, of `words` different words at most, frequent and rare as in real text.

    After ten thousand texts their words come again: what is measured does not depend on them.
    """
    generator = np.random.default_rng(2)
    share = 1 / (np.arange(words) + 2.7)
    cumulated = np.cumsum(share / share.sum())
    names = np.array([f"w{rank}" for rank in range(words)])
    drawn = names[np.searchsorted(cumulated, generator.random(lengths[:BLOCK].sum())).clip(max=words - 1)]
    for start in range(0, len(lengths), BLOCK):
        place = 0
        for length in lengths[start : start + BLOCK].tolist():
            place = place if place + length <= len(drawn) else 0
            yield " ".join(drawn[place : place + length])
            place += length


def write_sentences(path: Path, sentences: Iterable[str]) -> None:
    """Sentences with labels in turn, as a file like SST-2's."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        file.write("sentence\tlabel\n")
        file.writelines(f"{sentence}\t{row % 2}\n" for row, sentence in enumerate(sentences))


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Lines of text, as a file like WikiText-2's."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in lines)


def write_words(path: Path, words: int) -> None:
    """The names of the generated words, a line each: they fill a vocabulary up to any size."""
    path.write_text("".join(f"w{rank}\n" for rank in range(words)), encoding="utf-8")


def write_texts(folder: Path, data: Path | None, *, sentences: int, lines: int, words: int) -> None:
    """So many sentences and lines, of the datasets in `data` or generated ones of `words` words."""
    if data is None:
        write_sentences(folder / SENTENCES, generate(sentence_lengths(sentences), words))
        write_lines(folder / LINES, generate(line_lengths(lines), words))
        return
    write_sentences(folder / SENTENCES, islice(_read_sentences(data), sentences))
    write_lines(folder / LINES, islice(_read_lines(data), lines))


def _read_sentences(data: Path) -> Iterator[str]:
    with (data / SENTENCES).open(encoding="utf-8") as file:
        next(file)
        yield from (row.rpartition("\t")[0].strip() for row in file)


def _read_lines(data: Path) -> Iterator[str]:
    with (data / LINES).open(encoding="utf-8") as file:
        yield from (line.strip() for line in file if len(line.split()) in LINE_WORDS)


def read_texts(folder: Path) -> dict[str, list[str]]:
    """Return the texts of a folder that `write_texts` wrote, by task."""
    return {"SST2": list(_read_sentences(folder)), "LM": (folder / LINES).read_text("utf-8").splitlines()}
