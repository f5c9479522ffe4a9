"""Generated files for each task, in the layouts in which public corpora come.

All of them are made of sentences such as "Ada Moss sold the red boat in New Harbor .", whose parts tell what
is true of them: which words are names, whether two sentences say the same, and what a question asks for.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from random import Random
from typing import Any

from attrs import evolve, fields, frozen

TRAIN_ROWS, DEV_ROWS = 600, 120

PEOPLE = (
    "Ada Moss",
    "Bruno",
    "Clara Lind",
    "Dan",
    "Edith Crane",
    "Farid",
    "Greta Holm",
    "Hugo",
    "Ines",
    "Jon",
)
VERBS = ("sold", "found", "painted", "lost", "repaired", "stole", "bought", "borrowed")
COLORS = ("red", "old", "small", "broken", "green", "heavy", "new", "blue")
THINGS = ("boat", "lamp", "violin", "clock", "wagon", "mirror", "ladder", "drum", "kettle", "saddle")
PLACES = ("New Harbor", "Oslo", "Lima", "Grey Valley", "Rome", "Port Ellis", "Quito", "Bergen")
TOPICS = {"water": ("boat",), "music": ("violin", "drum"), "house": ("lamp", "clock", "mirror", "kettle")}


@frozen
class Event:
    """Who did what to which thing, and where."""

    person: str
    verb: str
    color: str
    thing: str
    place: str

    def tagged(self) -> Iterator[tuple[str, str, str]]:
        """Yield each word with its part of speech and its tag as a name."""
        yield from _named(self.person, "person")
        yield from ((self.verb, "VERB", "O"), ("the", "DET", "O"))
        yield from ((self.color, "ADJ", "O"), (self.thing, "NOUN", "O"), ("in", "ADP", "O"))
        yield from _named(self.place, "location")
        yield ".", "PUNCT", "O"

    @property
    def active(self) -> str:
        """The sentence."""
        return f"{self.person} {self.verb} the {self.color} {self.thing} in {self.place} ."

    @property
    def passive(self) -> str:
        """A sentence of the same meaning."""
        verb = {"stole": "stolen"}.get(self.verb, self.verb)
        return f"In {self.place} , the {self.color} {self.thing} was {verb} by {self.person} ."


CHOICES = {"person": PEOPLE, "verb": VERBS, "color": COLORS, "thing": THINGS, "place": PLACES}


def files(seed: int) -> dict[str, str]:
    """Return the files of all tasks, {path: text}."""
    found: dict[str, str] = {}
    for split, rows in (("train", TRAIN_ROWS), ("dev", DEV_ROWS)):
        for layout, (paths, write) in _LAYOUTS.items():
            draw = Random(f"{seed} {layout} {split}")
            found[paths[split]] = write(draw, rows)
    found[_LAYOUTS["UD"][0]["test"]] = _conllu(Random(f"{seed} UD test"), DEV_ROWS)
    found[_LAYOUTS["WNUT"][0]["test"]] = _conll(Random(f"{seed} WNUT test"), DEV_ROWS)
    return found


def _event(draw: Random) -> Event:
    return Event(**{name: draw.choice(choices) for name, choices in CHOICES.items()})


def _changed(event: Event, draw: Random, parts: int = 1) -> Event:
    """Return an event that differs in some parts."""
    names = draw.sample([field.name for field in fields(Event)], parts)
    return evolve(
        event,
        **{
            name: draw.choice([each for each in CHOICES[name] if each != getattr(event, name)])
            for name in names
        },
    )


def _named(name: str, kind: str) -> Iterator[tuple[str, str, str]]:
    for place, word in enumerate(name.split()):
        yield word, "PROPN", f"{'I' if place else 'B'}-{kind}"


def _lines(rows: Sequence[Sequence[object]]) -> str:
    return "".join("\t".join(map(str, row)) + "\n" for row in rows)


# --- pairs and scores -------------------------------------------------------------------------------------


def _acceptable(draw: Random, rows: int) -> str:
    """Write sentences in lower case, of which some have two neighboring words exchanged, without a header."""

    def row() -> tuple[str, int]:
        words, is_right = _event(draw).active.lower().split(), draw.random() < 0.6
        at = draw.randrange(len(words) - 2)
        if not is_right:
            words[at : at + 2] = words[at + 1], words[at]
        return " ".join(words), int(is_right)

    return _lines([row() for _ in range(rows)])


def _entailed(draw: Random, rows: int) -> str:
    """Write pairs of which the second sentence follows from the first, or not: GLUE's layout."""

    def row(number: int) -> tuple[object, ...]:
        first, second = _event(draw), _event(draw)
        is_true = draw.random() < 0.5
        said = first if is_true else _changed(first, draw)
        return f"{first.active} {second.passive}", said.active, int(not is_true), number

    return _lines([("sentence1", "sentence2", "label", "idx"), *map(row, range(rows))])


def _paraphrases(draw: Random, rows: int) -> str:
    """Write pairs of sentences that mean the same, or not: in the layout of MSR's corpus."""

    def row(number: int) -> tuple[object, ...]:
        event, is_same = _event(draw), draw.random() < 0.6
        other = event if is_same else _changed(event, draw)
        return int(is_same), 2 * number, 2 * number + 1, event.active, other.passive

    header = ("\ufeffQuality", "#1 ID", "#2 ID", "#1 String", "#2 String")
    return _lines([header, *map(row, range(rows))])


def _similar(draw: Random, rows: int) -> str:
    """Write pairs with a score from 0 to 5, the number of parts in common, in GLUE's layout."""

    def row(number: int) -> tuple[object, ...]:
        event, parts = _event(draw), draw.randint(0, 5)
        other = _changed(event, draw, parts)
        return (
            number,
            "main",
            "sample",
            2000,
            number,
            "none",
            "none",
            event.active,
            other.active,
            f"{5 - parts:.3f}",
        )

    return _lines([row(number) for number in range(rows)])


def _pairs(draw: Random, rows: int) -> str:
    """Write pairs of sentences that mean the same."""
    events = [_event(draw) for _ in range(rows)]
    return _lines([("text1", "text2"), *((event.active, event.passive) for event in events)])


# --- labels, tags, answers ---------------------------------------------------------------------------------


def _topics(draw: Random, rows: int) -> str:
    """Write texts with the topics of their words, none, one or two."""

    def row() -> tuple[str, str]:
        text = f"{_event(draw).active} {_event(draw).passive}"
        labels = [topic for topic, things in TOPICS.items() if any(f" {each} " in text for each in things)]
        return text, ",".join(labels)

    return _lines([("text", "labels"), *(row() for _ in range(rows))])


def _counts(draw: Random, rows: int) -> str:
    """Write texts of one to four sentences, and how many there are."""
    counts = [draw.randint(1, 4) for _ in range(rows)]
    texts = [" ".join(_event(draw).active for _ in range(count)) for count in counts]
    return _lines([("text", "score"), *zip(texts, counts, strict=True)])


def _conllu(draw: Random, rows: int) -> str:
    """Write sentences with parts of speech as CoNLL-U."""
    sentences = []
    for number in range(1, rows + 1):
        event = _event(draw)
        words = [
            (place, word, word.lower(), tag, "_", "_", 0, "dep", "_", "_")
            for place, (word, tag, _) in enumerate(event.tagged(), start=1)
        ]
        sentences.append(f"# sent_id = {number}\n# text = {event.active}\n{_lines(words)}\n")
    return "".join(sentences)


def _conll(draw: Random, rows: int) -> str:
    """Write words with BIO tags, a blank line after each sentence."""
    sentences = ([(word, name) for word, _, name in _event(draw).tagged()] for _ in range(rows))
    return "".join(_lines(words) + "\n" for words in sentences)


QUESTIONS: Mapping[str, Callable[[Event], str]] = {
    "person": lambda event: f"Who {event.verb} the {event.color} {event.thing} ?",
    "place": lambda event: f"Where was the {event.color} {event.thing} ?",
    "thing": lambda event: f"What did {event.person} have in {event.place} ?",
}


def _answers(draw: Random, rows: int) -> str:
    """Write questions about short texts, a quarter of them without an answer, as SQuAD 2.0."""

    def paragraph(number: int) -> dict[str, Any]:
        events = [_event(draw) for _ in range(3)]
        context = " ".join(event.active for event in events)
        asked, is_impossible = draw.randrange(3), draw.random() < 0.25
        event = events[asked]
        part, ask = draw.choice(list(QUESTIONS.items()))
        if is_impossible:
            others = [each for each in THINGS if each not in {other.thing for other in events}]
            part, ask = "person", QUESTIONS["person"]
            event = evolve(event, thing=draw.choice(others))
        start = sum(len(each.active) + 1 for each in events[:asked])
        answer = getattr(event, part)
        found = {"text": answer, "answer_start": context.index(answer, start)} if not is_impossible else None
        question = {
            "id": f"q{number}",
            "question": ask(event),
            "answers": [found] if found else [],
            "is_impossible": is_impossible,
        }
        return {"context": context, "qas": [question]}

    paragraphs = [paragraph(number) for number in range(rows // 4)]
    articles = [{"title": "Sample", "paragraphs": paragraphs}]
    return json.dumps({"version": "v2.0", "data": articles}, indent=1) + "\n"


_Writer = Callable[[Random, int], str]


def _tsv(folder: str) -> dict[str, str]:
    return {"train": f"{folder}/train.tsv", "dev": f"{folder}/dev.tsv"}


_LAYOUTS: Mapping[str, tuple[Mapping[str, str], _Writer]] = {
    "CoLA": (_tsv("CoLA"), _acceptable),
    "RTE": (_tsv("RTE"), _entailed),
    "MRPC": (
        {"train": "MRPC/msr_paraphrase_train.txt", "dev": "MRPC/msr_paraphrase_test.txt"},
        _paraphrases,
    ),
    "STS-B": (_tsv("STS-B"), _similar),
    "UD": (
        {split: f"UD-LinES/en_lines-ud-{split}.conllu" for split in ("train", "dev", "test")},
        _conllu,
    ),
    "WNUT": (
        {
            "train": "WNUT17/wnut17train.conll",
            "dev": "WNUT17/emerging.dev.conll",
            "test": "WNUT17/emerging.test.annotated",
        },
        _conll,
    ),
    "topics": (_tsv("topics"), _topics),
    "counts": (_tsv("counts"), _counts),
    "pairs": (_tsv("pairs"), _pairs),
    "SQuAD": ({"train": "SQuAD/train-v2.0.json", "dev": "SQuAD/dev-v2.0.json"}, _answers),
}
