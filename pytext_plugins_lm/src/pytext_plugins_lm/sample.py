"""Generated articles in WikiText's format, on which language models of different quality differ.

Each article is about one film of one genre, each section about one side of it. What comes next
follows from near and from far: a verb agrees with its subject across what stands between them, the
genre chooses nouns, verbs and adjectives for the whole article, the names of the film and its
people return, and each section has sentences of its own. Names are rare, and the rarest words are
`<unk>`, as in WikiText.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from random import Random

from attrs import field, frozen

LINES = {"train": 3000, "valid": 300, "test": 300}
"""Lines with words; blank ones stand around each heading."""
MINIMUM_COUNT = 3
"""A word that the training text has less often is `<unk>` everywhere."""

FIRST_NAMES = "Anna Carl Clara David Elena Frank Grace Henry Irene Jack Laura Martin Nina Oscar Tom".split()
SYLLABLES = "bar den fel gar hol kan lin mor nes pel rin sto tal ver wick zan".split()
TITLES = "River Winter Garden Harbor Mirror Road Summer Island Letter Bridge Shadow Tower".split()
PLACES = "London Paris Berlin Rome Madrid Chicago Vienna Dublin Prague Boston".split()
MONTHS = "January March April May July August October November".split()


@frozen
class Word:
    """Singular and plural of a noun, or of the verb that agrees with it."""

    one: str
    several: str

    def __call__(self, plural: bool) -> str:
        return self.several if plural else self.one


@frozen
class Genre:
    """Words that belong together."""

    name: str
    people: Sequence[Word]
    things: Sequence[Word]
    deeds: Sequence[Word]
    adjectives: Sequence[str]


@frozen
class Article:
    """The topic of an article, the same from its first line to its last."""

    random: Random = field(repr=False)
    genre: Genre
    title: str
    director: str
    actor: str
    lead: Word
    rival: Word
    year: int


def _nouns(words: str) -> list[Word]:
    return [Word(word, word[:-1] + "ies" if word[-1] == "y" else word + "s") for word in words.split()]


def _verbs(words: str) -> list[Word]:
    return [Word(word + "s", word) for word in words.split()]


IS, HAS, WAS, NUMBER = Word("is", "are"), Word("has", "have"), Word("was", "were"), Word("one", "many")

GENRES = (
    Genre(
        "thriller",
        _nouns("detective agent killer lawyer reporter spy"),
        _nouns("secret weapon clue trap diary body"),
        _verbs("follow suspect betray question threaten"),
        "dark tense dangerous cold violent nervous".split(),
    ),
    Genre(
        "comedy",
        _nouns("neighbor waiter cousin teacher landlord tourist"),
        _nouns("wedding party joke mistake dinner prank"),
        _verbs("invite annoy mock trick tickle"),
        "funny silly clumsy cheerful noisy foolish".split(),
    ),
    Genre(
        "romance",
        _nouns("painter dancer poet nurse student singer"),
        _nouns("letter kiss promise dance dream gift"),
        _verbs("love visit forgive remember admire"),
        "tender young gentle lonely warm hopeful".split(),
    ),
    Genre(
        "western",
        _nouns("sheriff cowboy farmer gambler bandit miner"),
        _nouns("horse rifle ranch duel saloon canyon"),
        _verbs("hunt shoot protect fight defend"),
        "dusty brave rough silent proud wild".split(),
    ),
    Genre(
        "documentary",
        _nouns("scientist sailor worker pilot historian doctor"),
        _nouns("archive village forest factory map storm"),
        _verbs("describe record explain measure observe"),
        "honest careful remote rare modern patient".split(),
    ),
)
CREW = _nouns("writer producer composer editor designer")
PARTS = _nouns("scene story song ending dialogue character joke landscape")
CRITICS = _nouns("critic reviewer viewer magazine newspaper")
OPINIONS = _verbs("praise dislike recommend discuss enjoy")
QUALITIES = "slow clever beautiful weak strong original memorable simple".split()


def files(seed: int) -> Mapping[str, str]:
    """Return `wikitext-2/wiki.train.tokens`, `wiki.valid.tokens` and `wiki.test.tokens`."""
    random = Random(f"wikitext-2 {seed}")
    texts = {split: _articles(random, lines) for split, lines in LINES.items()}
    counts = Counter(word for line in texts["train"] for word in line.split())
    return {
        f"wikitext-2/wiki.{split}.tokens": "".join(f"{_with_unknown(line, counts)}\n" for line in lines)
        for split, lines in texts.items()
    }


def _with_unknown(line: str, counts: Mapping[str, int]) -> str:
    words = [word if counts.get(word, 0) >= MINIMUM_COUNT else "<unk>" for word in line.split()]
    return f" {' '.join(words)} " if words else " "


def _articles(random: Random, lines: int) -> list[str]:
    """Articles, cut after `lines` lines that have words."""
    text: list[str] = []
    written = 0
    while True:
        for line in _article(random):
            text.append(line)
            written += bool(line)
            if written == lines:
                return text


def _article(random: Random) -> list[str]:
    genre = random.choice(GENRES)
    lead, rival = random.sample(genre.people, 2)
    article = Article(
        random=random,
        genre=genre,
        title=f"The {' '.join(random.sample(TITLES, 2))}",
        director=_name(random),
        actor=_name(random),
        lead=lead,
        rival=rival,
        year=random.randrange(1950, 2010),
    )
    lines = ["", f"= {article.title} =", "", _opening(article)]
    for heading, sentence in SECTIONS.items():
        lines += ["", f"= = {heading} = =", ""]
        lines += [_paragraph(article, sentence) for _ in range(random.randint(1, 4))]
    return lines


def _paragraph(article: Article, sentence: Callable[[Article], str]) -> str:
    return " ".join(sentence(article) for _ in range(article.random.randint(1, 4)))


def _opening(article: Article) -> str:
    film = f"{article.year} {article.random.choice(article.genre.adjectives)} {article.genre.name}"
    return (
        f"{article.title} is a {film} directed by {article.director} . It stars {article.actor}"
        f" as {_a(article.lead.one)} and is set in {article.random.choice(PLACES)} ."
    )


def _plot(article: Article) -> str:
    random, genre = article.random, article.genre
    plural = random.random() < 0.4
    people, others = random.sample((article.lead, article.rival), 2)
    who, deed = _subject(article, people, plural), random.choice(genre.deeds)(plural)
    thing, adjective = random.choice(genre.things), random.choice(genre.adjectives)
    return random.choice(
        (
            f"The {who} {deed} the {others(random.random() < 0.4)} .",
            f"In {random.choice(PLACES)} , the {who} {deed} the {adjective} {others.one} .",
            f"When the {others.one} finds the {thing.one} , the {who} {deed} him .",
            f"The {who} {HAS(plural)} {_a(f'{adjective} {thing.one}')} and {deed} the {others.one} .",
            f"There {IS(plural)} {NUMBER(plural)} {thing(plural)} near the {people(random.random() < 0.4)} .",
        )
    )


def _production(article: Article) -> str:
    random = article.random
    plural = random.random() < 0.4
    crew, surname = random.choice(CREW), article.director.split()[-1]
    who = f"{crew(plural)} of the {random.choice(PARTS)(not plural)}"
    month, place = random.choice(MONTHS), random.choice(PLACES)
    met, rank = random.choice(("met", "called", "thanked")), random.choice(("first", "second", "last"))
    return random.choice(
        (
            f"{surname} shot the film in {place} in {month} {article.year} .",
            f"The {who} {WAS(plural)} from {place} .",
            f"{article.actor} {met} the {crew.one} before the first scene .",
            f"The {crew(plural)} {WAS(plural)} paid by {surname} until {month} {article.year + 1} .",
            f"It was the {rank} {article.genre.name} by {article.director} .",
        )
    )


def _reception(article: Article) -> str:
    random = article.random
    plural = random.random() < 0.6
    who, part = _subject(article, random.choice(CRITICS), plural), random.choice(PARTS)
    many = random.random() < 0.5
    return random.choice(
        (
            f"The {who} {random.choice(OPINIONS)(plural)} the {part(many)} of {article.title} .",
            f"For the {who} , the {part(many)} {IS(many)} {random.choice(QUALITIES)} .",
            f"The {part(many)} by {article.director} {IS(many)} {random.choice(QUALITIES)}"
            f" but {random.choice(QUALITIES)} .",
            f"The {who} {random.choice(OPINIONS)(plural)} {article.actor} as the {article.lead.one} .",
        )
    )


SECTIONS: Mapping[str, Callable[[Article], str]] = {
    "Plot": _plot,
    "Production": _production,
    "Reception": _reception,
}


def _subject(article: Article, noun: Word, plural: bool) -> str:
    """Return a noun whose verb may be far away, behind a noun of the other number."""
    random = article.random
    words = noun(plural)
    if random.random() < 0.4:
        words = f"{random.choice(article.genre.adjectives)} {words}"
    if random.random() < 0.35:
        thing = random.choice(article.genre.things)(not plural)
        words += f" {random.choice(('with', 'near', 'behind'))} the {thing}"
    return words


def _name(random: Random) -> str:
    """Return a frequent first name and a rare surname."""
    surname = "".join(random.choices(SYLLABLES, k=random.randint(2, 3)))
    return f"{random.choice(FIRST_NAMES)} {surname.capitalize()}"


def _a(words: str) -> str:
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"
