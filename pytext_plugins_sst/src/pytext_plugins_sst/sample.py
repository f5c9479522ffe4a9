"""Generated film reviews in SST-2's format, on which models of different quality differ.

A review's label is the polarity of its last word on the matter. To find it, a model has to weigh
more than which words occur: a negation reverses an adjective, of two contrasting clauses the
main one decides, and an adjective may be there only to describe a character. Some adjectives are
rare, and a few labels are wrong, as in real data.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from random import Random

from attrs import frozen

TRAIN_ROWS, DEV_ROWS = 4000, 400
NOISE = 0.03
"""Share of reviews with the wrong label."""
NEGATED = 0.17
"""Share of judgements that negate the opposite."""

# Adjectives and verbs by polarity, frequent ones first.
ADJECTIVES: Mapping[int, Sequence[str]] = {
    1: (
        "good funny moving gripping clever fresh charming warm honest tender lively witty vivid thoughtful"
        " elegant inventive memorable graceful stirring subtle absorbing spirited playful poignant assured"
        " luminous deft radiant lyrical vibrant rousing nimble beguiling incisive resonant sublime bracing"
        " magnetic exquisite droll"
    ).split(),
    0: (
        "bad dull boring flat predictable clumsy shallow tired stale bland hollow lazy messy pointless"
        " forgettable tedious lifeless awkward noisy confused sluggish contrived grating stilted murky"
        " plodding trite joyless muddled listless dreary insipid leaden shrill vapid stodgy mawkish turgid"
        " soggy incoherent"
    ).split(),
}
VERBS: Mapping[int, Sequence[str]] = {
    1: "works shines delights surprises moves sparkles soars convinces".split(),
    0: "drags fails disappoints bores stumbles annoys meanders crumbles".split(),
}
NEGATIONS = ("not", "never", "hardly", "far from", "by no means")
VERB_NEGATIONS = ("never", "hardly", "rarely")
INTENSIFIERS = ("very", "really", "quite", "rather", "truly", "almost always")
NEGATED_INTENSIFIERS = ("very", "really", "always")
WORKS = "film movie story comedy drama thriller romance picture script documentary".split()
ASPECTS = (
    "plot dialogue music scene cast ending acting camera score performance opening finale pace humour"
    " screenplay editing tone premise soundtrack sequel"
).split()
NOUNS = WORKS + ASPECTS
OWNERS = ("the director", "the writer", "the lead actor", "the young star", "the studio", "the producer")
PEOPLE = "teacher soldier singer doctor lawyer detective neighbour queen mother boxer painter thief".split()
SETTINGS = (
    "set in {place} ,",
    "shot in {place} over {time} ,",
    "with {person} from {place} in the main part ,",
    "based on a book about {time} in {place} ,",
    "from the life of {person} ,",
)
PLACES = ("a small town", "the desert", "an old hotel", "the city", "a train station", "the mountains")
TIMES = ("one summer", "the last century", "two days", "the war years", "a single night", "three winters")


@frozen
class Review:
    """A review, its polarity (1 for positive, 0 for negative) and its label, which may be wrong."""

    text: str
    polarity: int
    label: int


def files(seed: int) -> Mapping[str, str]:
    """Return `SST-2/train.tsv` (sentences and phrases), `SST-2/dev.tsv` (sentences that training lacks)
    and `SST-2/sst_vocab.txt` (the words of the training rows, frequent ones first)."""
    train, dev = reviews(seed)
    counts = Counter(word for review in train for word in review.text.split())
    words = sorted(counts, key=lambda word: (-counts[word], word))
    return {
        "SST-2/train.tsv": _tsv(train),
        "SST-2/dev.tsv": _tsv(dev),
        "SST-2/sst_vocab.txt": "".join(f"{word}\n" for word in words),
    }


def reviews(seed: int) -> tuple[list[Review], list[Review]]:
    """Return the training and the dev reviews: half of each are positive, a share `NOISE` is mislabeled."""
    random = Random(f"sst2 {seed}")
    known: set[str] = set()
    train = _reviews(random, TRAIN_ROWS, phrases=0.35, known=known)
    known.update(review.text for review in train)
    return train, _reviews(random, DEV_ROWS, phrases=0.0, known=known)


def _reviews(random: Random, rows: int, phrases: float, known: Collection[str]) -> list[Review]:
    """Reviews whose texts are not `known`, a share of them phrases."""
    polarities = [row % 2 for row in range(rows)]
    random.shuffle(polarities)
    wrong = set(random.sample(range(rows), round(NOISE * rows)))
    return [
        Review(_new_text(random, polarity, phrases, known), polarity, polarity ^ (row in wrong))
        for row, polarity in enumerate(polarities)
    ]


def _new_text(random: Random, polarity: int, phrases: float, known: Collection[str]) -> str:
    while True:
        text = (_phrase if random.random() < phrases else _sentence)(random, polarity)
        if text not in known:
            return text


def _tsv(rows: Sequence[Review]) -> str:
    # GLUE's files have a space before the tab.
    return "sentence\tlabel\n" + "".join(f"{review.text} \t{review.label}\n" for review in rows)


def _sentence(random: Random, polarity: int) -> str:
    said, other = _claim(random, polarity), _claim(random, 1 - polarity)
    form = random.choices(
        (
            said,
            f"{said} and {_claim(random, polarity)}",
            f"{other} , but {said}",
            f"although {other} , {said}",
            f"{said} , even though {other}",
        ),
        weights=(40, 22, 20, 9, 9),
    )[0]
    setting = _setting(random) + " " if random.random() < 0.25 else ""
    return f"{setting}{form} ."


def _claim(random: Random, polarity: int) -> str:
    """Return a clause that praises or blames one thing."""
    subject = _subject(random)
    negated = random.random() < NEGATED
    if random.random() < 0.2:
        negation = random.choice(VERB_NEGATIONS) + " " if negated else ""
        return f"{subject} {negation}{random.choice(VERBS[polarity ^ negated])}"
    copula = random.choice(("is", "is", "feels", "seems"))
    return f"{subject} {copula} {_judgement(random, polarity, negated)}"


def _subject(random: Random) -> str:
    noun = random.choice(NOUNS)
    kind = random.random()
    if kind < 0.15:
        return f"{random.choice(OWNERS)} 's {noun}"
    if kind < 0.22:
        return f"the {random.choice(WORKS)} about {_person(random)}"
    return f"{random.choice(('the', 'the', 'this'))} {noun}"


def _judgement(random: Random, polarity: int, negated: bool) -> str:
    words = [random.choice(NEGATIONS)] if negated else []
    if random.random() < 0.4:
        words.append(random.choice(NEGATED_INTENSIFIERS if negated else INTENSIFIERS))
    return " ".join([*words, _adjective(random, polarity ^ negated)])


def _person(random: Random) -> str:
    """Return a character, whose adjective says nothing about the film."""
    return _with_article(f"{_adjective(random, random.randrange(2))} {random.choice(PEOPLE)}")


def _with_article(words: str) -> str:
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def _adjective(random: Random, polarity: int) -> str:
    """Return a word, frequent ones far more often: the last ones occur a few times in training."""
    words = ADJECTIVES[polarity]
    return random.choices(words, weights=[rank**-1.2 for rank in range(1, len(words) + 1)])[0]


def _setting(random: Random) -> str:
    place, time = random.choice(PLACES), random.choice(TIMES)
    return random.choice(SETTINGS).format(place=place, time=time, person=_person(random))


def _phrase(random: Random, polarity: int) -> str:
    """Part of a sentence, as most of SST-2's training rows are."""
    form = random.randrange(4)
    if form == 0:
        return _judgement(random, polarity, negated=random.random() < NEGATED)
    if form == 1:
        return _with_article(f"{_judgement(random, polarity, negated=False)} {random.choice(NOUNS)}")
    if form == 2:
        return f"{_adjective(random, polarity)} and {_adjective(random, polarity)}"
    return f"{_adjective(random, 1 - polarity)} but {_adjective(random, polarity)}"
