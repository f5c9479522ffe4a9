"""Generated sentences with names, in CoNLL's format: a small task that tells models apart.

One word may be part of a person's, a place's or a company's name ("Anna Hale", "Port Hale", "Hale
Motors"), and only its neighbours say which. Half of the names in the evaluation sentences never occur
in training, so that a model has to read what stands around them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random

TRAIN, EVAL = 600, 200
"""Sentences."""
SENTENCES_A_DOCUMENT = 50

FIRST_NAMES = "Anna Bruno Clara David Ella Felix Greta Hugo Ida Jonas Karla Leo".split()
STEMS = (
    "Hale Marsh Ford Lane Brook Stone Wells Ashby Dale Holm Kirk Thorn Vale Wick Moss Reed Birch Frost"
    " Penn Rowe"
).split()
UNSEEN_STEMS = "Garth Loxley Harrow Tarn Selby Quill".split()
"""Occur in evaluation sentences only."""
PLACE_FORMS = ("Port {}", "{} Bay", "North {}", "{}", "Mount {}")
COMPANY_FORMS = ("{} Motors", "{} and Sons", "{} Bank", "United {}", "{}")
TITLES = ("Mr", "Mrs", "Dr")

SENTENCES = (
    "{PER} moved from {LOC} to {LOC} .",
    "{PER} , who was born in {LOC} , now works for {ORG} .",
    "{ORG} opened an office in {LOC} .",
    "shares of {ORG} fell after {PER} left the company .",
    "{ORG} bought {ORG} for two million .",
    "the train from {LOC} to {LOC} was late again .",
    "the mayor of {LOC} thanked {PER} and {PER} .",
    "{PER} told reporters that {ORG} would stay in {LOC} .",
    "it rained in {LOC} all week .",
    "a spokesman of {ORG} said nothing about {PER} .",
    "{PER} sold the house near {LOC} last spring .",
    "nobody knew who would win the match .",
)


def files(seed: int, train: int = TRAIN, evaluation: int = EVAL) -> Mapping[str, str]:
    """Return `made-up-names/train.conll` and `made-up-names/eval.conll`, with so many sentences."""
    random = Random(f"made-up-names {seed}")
    return {
        "made-up-names/train.conll": _conll([_sentence(random, STEMS) for _ in range(train)]),
        "made-up-names/eval.conll": _conll(
            [_sentence(random, [*STEMS, *UNSEEN_STEMS * 3]) for _ in range(evaluation)]
        ),
    }


def _conll(sentences: Sequence[Sequence[tuple[str, str]]]) -> str:
    parts = []
    for number, sentence in enumerate(sentences):
        if number % SENTENCES_A_DOCUMENT == 0:
            parts.append("-DOCSTART- O\n\n")
        parts.append("".join(f"{word} {tag}\n" for word, tag in sentence) + "\n")
    return "".join(parts)


def _sentence(random: Random, stems: Sequence[str]) -> list[tuple[str, str]]:
    """Return words and their tags, in IOB2."""
    tagged: list[tuple[str, str]] = []
    for part in random.choice(SENTENCES).split():
        type_ = part.strip("{}")
        if type_ == part:
            tagged.append((part, "O"))
            continue
        name = _name(random, type_, random.choice(stems)).split()
        tagged += [(word, f"{'I' if place else 'B'}-{type_}") for place, word in enumerate(name)]
    return tagged


def _name(random: Random, type_: str, stem: str) -> str:
    if type_ == "PER":
        form = random.choice((random.choice(FIRST_NAMES), random.choice(TITLES), ""))
        return f"{form} {stem}".strip()
    return random.choice(PLACE_FORMS if type_ == "LOC" else COMPANY_FORMS).format(stem)
