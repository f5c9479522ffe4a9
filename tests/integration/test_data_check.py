"""`mtl data check`: it finds the planted faults of small corpora, and says nothing of clean ones."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from mtl import ColumnSpec, ColumnType, PluginError
from mtl.commands import main
from mtl.plugins import Plugins, discover
from mtl.runs import check_data
from mtl_tasks.baselines import majority, ngrams

Row = list[str]
Splits = dict[str, list[Row]]
WORDS = "the a film plot actor scene music story is was seems looks very rather quite and but so".split()
TONE = {"0": "dull slow weak boring".split(), "1": "funny brave lovely clever".split()}
TAGS = {"the": "DET", "a": "DET", "film": "NOUN", "plot": "NOUN", "is": "VERB", "was": "VERB", "very": "ADV"}


def reviews(count: int, seed: int) -> list[Row]:
    """Return different texts with two labels."""
    draw = random.Random(seed)
    rows: dict[str, Row] = {}
    while len(rows) < count:
        label = "01"[len(rows) % 2]
        text = " ".join([*draw.choices(WORDS, k=draw.randint(5, 12)), draw.choice(TONE[label])])
        rows.setdefault(text, [text, label])
    return list(rows.values())


def clean_reviews() -> Splits:
    rows = reviews(260, seed=1)
    return {"train": rows[:160], "eval": rows[160:210], "test": rows[210:]}


def scores(count: int = 200) -> Splits:
    rows = [[text, f"{len(text) % 11 / 2}"] for text, _ in reviews(count, seed=2)]
    return {"train": rows[: count * 3 // 4], "eval": rows[count * 3 // 4 :]}


def sentences() -> Splits:
    draw = random.Random(3)
    rows: dict[str, Row] = {}
    while len(rows) < 120:
        words = draw.choices(list(TAGS), k=draw.randint(5, 9))
        rows[" ".join(words)] = [" ".join(words), ",".join(TAGS[word] for word in words)]
    found = list(rows.values())
    return {"train": found[:90], "eval": found[90:]}


TASKS: dict[str, tuple[str, list[str]]] = {
    "reviews": ("DocClassificationTask", ["text", "label"]),
    "scores": ("RegressionTask", ["text", "score"]),
    "sentences": ("TaggingTask", ["words", "tags"]),
}


class Corpus:
    """A folder with the files of some tasks, and their config."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tasks: dict[str, Any] = {}

    def add(self, name: str, splits: Splits, kind: str = "reviews", **settings: Any) -> None:
        """Write the rows of a task."""
        component, columns = TASKS[kind]
        for split, rows in splits.items():
            lines = ["\t".join(columns), *("\t".join(row) for row in rows)]
            (self.folder / f"{name}-{split}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
        data: dict[str, Any] = {f"{split}_path": f"{name}-{split}.tsv" for split in splits}
        data |= settings.pop("data", {})
        if kind == "sentences":
            data |= {"list_separator": ","}
            for split, rows in splits.items():
                lines = ["\t".join(columns), *("\t".join([row[0].replace(" ", ","), row[1]]) for row in rows)]
                (self.folder / f"{name}-{split}.tsv").write_text("\n".join(lines) + "\n")
        self.tasks[name] = {component: {"data": {"TSV": data}, **settings}}

    @property
    def config(self) -> dict[str, Any]:
        """The config of all tasks."""
        return {"base_dir": str(self.folder), "tasks": self.tasks, "device": "cpu"}

    def findings(self, plugins: Plugins) -> list[dict[str, Any]]:
        """What is found."""
        found: list[dict[str, Any]] = check_data(self.config, plugins=plugins)["findings"]
        return found


@pytest.fixture(scope="module")
def plugins() -> Plugins:
    return discover()


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    return Corpus(tmp_path)


# --- clean corpora -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", TASKS)
def test_a_clean_corpus_has_no_notices(kind: str, corpus: Corpus, plugins: Plugins) -> None:
    rows = {"reviews": clean_reviews, "scores": scores, "sentences": sentences}[kind]()
    corpus.add("T", rows, kind)

    assert corpus.findings(plugins) == []


# --- planted faults ----------------------------------------------------------------------------------

Plant = Callable[[Corpus], None]
PLANTED: dict[str, tuple[Plant, str, str, str]] = {}
"""By name: what plants a fault, the kind and verdict of the finding, and a part of its message."""


def planted(name: str, kind: str, verdict: str, said: str) -> Callable[[Plant], Plant]:
    def note(plant: Plant) -> Plant:
        PLANTED[name] = plant, kind, verdict, said
        return plant

    return note


def with_texts(change: Callable[[str], str], split: str = "train", every: int = 10) -> Plant:
    """Return what changes the text of some rows."""

    def plant(corpus: Corpus) -> None:
        rows = clean_reviews()
        rows[split] = [
            [change(text) if number % every == 0 else text, label]
            for number, (text, label) in enumerate(rows[split])
        ]
        corpus.add("T", rows)

    return plant


def with_labels(label_of: Callable[[int, str], str], count: int = 160) -> Plant:
    """Return what changes the labels of the training rows, without other splits."""

    def plant(corpus: Corpus) -> None:
        rows = reviews(count, seed=5)
        corpus.add(
            "T", {"train": [[text, label_of(number, label)] for number, (text, label) in enumerate(rows)]}
        )

    return plant


PLANTED["bytes that were lost"] = (
    with_texts(lambda text: f"caf\ufffd {text}"),
    "characters",
    "warning",
    "16 rows have the replacement character",
)
PLANTED["a wrong encoding"] = (
    with_texts(lambda text: f"cafÃ© {text}"),
    "characters",
    "warning",
    "read as another encoding",
)
PLANTED["control characters"] = (
    with_texts(lambda text: f"\x1b[1m{text}"),
    "characters",
    "warning",
    "16 rows have control characters",
)
PLANTED["invisible characters"] = (
    with_texts(lambda text: text.replace(" ", "\u200b ", 1)),
    "characters",
    "warning",
    "invisible characters",
)
PLANTED["markup"] = (
    with_texts(lambda text: f"{text} <br /> &amp;", "eval"),
    "characters",
    "warning",
    "5 rows have HTML tags",
)
PLANTED["joined rows"] = (
    with_texts(lambda text: " ".join([text] * 100), every=100),
    "length",
    "warning",
    "were rows joined?",
)
PLANTED["a column of numbers as texts"] = (
    with_texts(lambda text: str(hash(text) % 10**9), every=1),
    "texts",
    "warning",
    "have no letter",
)
PLANTED["quantities as labels"] = (
    with_labels(lambda number, _: str(number % 20)),
    "labels",
    "warning",
    "this is a regression task",
)
PLANTED["labels that differ in case"] = (
    with_labels(lambda number, label: "Pos" if number % 7 == 0 else {"0": "neg", "1": "pos"}[label]),
    "labels",
    "warning",
    "may be meant to be the same",
)
PLANTED["several labels in one"] = (
    with_labels(lambda number, label: "a|b" if number % 9 == 0 else {"0": "a", "1": "b"}[label]),
    "labels",
    "warning",
    "several labels in one",
)
PLANTED["a rare label"] = (
    with_labels(lambda number, label: "rare" if number == 3 else label),
    "labels",
    "warning",
    "1 label has fewer than 5 training rows",
)
PLANTED["a label that nearly all have"] = (
    with_labels(lambda number, _: "1" if number % 25 == 0 else "0"),
    "labels",
    "warning",
    "always predicting it looks good",
)


@planted("duplicates", "duplicates", "warning", "20 rows repeat the texts of earlier rows")
def _(corpus: Corpus) -> None:
    rows = clean_reviews()
    rows["train"] += rows["train"][:20]
    corpus.add("T", rows)


@planted("duplicates but for case and spaces", "duplicates", "warning", "20 rows repeat")
def _(corpus: Corpus) -> None:
    rows = clean_reviews()
    rows["train"] += [[f"{text.upper()}  .".replace("  .", " "), label] for text, label in rows["train"][:20]]
    corpus.add("T", rows)


@planted(
    "contradictions",
    "contradictions",
    "warning",
    "10 rows have the texts of earlier rows, but another target",
)
def _(corpus: Corpus) -> None:
    rows = clean_reviews()
    rows["train"] += [[text, "10"[int(label)]] for text, label in rows["train"][:10]]
    corpus.add("T", rows)


@planted("evaluation rows in train", "overlap", "warning", "15 rows are in the training data, too (30.0 %)")
def _(corpus: Corpus) -> None:
    rows = clean_reviews()
    rows["eval"][:15] = rows["train"][:15]
    corpus.add("T", rows)


@planted(
    "the evaluation file is the training file",
    "overlap",
    "error",
    "160 rows are in the training data, too (100.0 %)",
)
def _(corpus: Corpus) -> None:
    rows = clean_reviews()
    corpus.add("T", {**rows, "eval": rows["train"]})


@planted("evaluation rows in test", "overlap", "warning", "are in the evaluation data, too")
def _(corpus: Corpus) -> None:
    rows = clean_reviews()
    rows["test"][:9] = rows["eval"][:9]
    corpus.add("T", rows)


@planted(
    "evaluation rows that another task trains on",
    "overlap",
    "warning",
    "are in the training data of Other, too",
)
def _(corpus: Corpus) -> None:
    rows = clean_reviews()
    corpus.add("T", rows)
    others = [[text, f"{number % 7}"] for number, (text, _) in enumerate(rows["eval"][:20])]
    corpus.add("Other", {"train": scores()["train"] + others}, "scores")


@planted(
    "a label that train does not have", "unseen labels", "error", "no training row has the label `2` (3)"
)
def _(corpus: Corpus) -> None:
    rows = clean_reviews()
    rows["eval"][:3] = [[text, "2"] for text, _ in rows["eval"][:3]]
    corpus.add("T", rows)


@planted("a tag that train does not have", "unseen labels", "error", "no training row has the label `VREB`")
def _(corpus: Corpus) -> None:
    rows = sentences()
    rows["eval"] = [[words, tags.replace("VERB", "VREB", 1)] for words, tags in rows["eval"]]
    corpus.add("T", rows, "sentences")


@planted("a label that no evaluation row has", "labels", "warning", "no row has the label `1`, which 50.0 %")
def _(corpus: Corpus) -> None:
    rows = clean_reviews()
    more = [row for row in reviews(500, seed=9) if row[1] == "0" and row not in rows["train"]]
    corpus.add("T", {**rows, "eval": more[:60]})


@planted("words that train does not have", "unknown words", "warning", "of the eval data is unknown to")
def _(corpus: Corpus) -> None:
    rows = clean_reviews()
    rows["eval"] = [[text[::-1], label] for text, label in rows["eval"]]
    corpus.add("T", rows)


@planted("texts that are cut off", "notice", "warning", "longer than `max_tokens` (8)")
def _(corpus: Corpus) -> None:
    corpus.add("T", clean_reviews(), max_tokens=8)


@planted("a row without a label", "unreadable", "error", "a row must have 2 columns, but has 1 column")
def _(corpus: Corpus) -> None:
    rows = clean_reviews()
    rows["train"][20] = ["no label"]
    corpus.add("T", rows)


@planted("bad rows that are skipped", "bad rows", "warning", "2 rows are bad and skipped")
def _(corpus: Corpus) -> None:
    rows = clean_reviews()
    rows["train"][20] = rows["train"][30] = ["no label"]
    corpus.add("T", rows, data={"on_bad_row": "skip"})


@planted("no evaluation rows", "empty", "warning", "there are no rows")
def _(corpus: Corpus) -> None:
    corpus.add("T", {**clean_reviews(), "eval": []})


@planted("a number that means no value", "targets", "warning", "a target far from all others")
def _(corpus: Corpus) -> None:
    rows = scores()
    rows["train"][5][1] = "-999"
    corpus.add("T", rows, "scores")


@planted("one target for all rows", "targets", "error", "all rows have the target 3")
def _(corpus: Corpus) -> None:
    rows = scores()
    corpus.add("T", {"train": [[text, "3"] for text, _ in rows["train"]]}, "scores")


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_fault_is_found(name: str, corpus: Corpus, plugins: Plugins) -> None:
    plant, kind, verdict, said = PLANTED[name]
    plant(corpus)

    found = [each for each in corpus.findings(plugins) if each["kind"] == kind and each["task"] == "T"]
    assert {each["verdict"] for each in found if said in each["message"]} == {verdict}, found


def test_at_least_twenty_faults_are_planted() -> None:
    assert len(PLANTED) >= 20


def test_labels_that_the_task_maps_or_ignores_are_no_fault(corpus: Corpus, plugins: Plugins) -> None:
    rows = clean_reviews()
    rows["eval"] = [[text, {"0": "no", "1": "1"}[label]] for text, label in rows["eval"]]
    rows["train"] += [[f"{text} again", "-"] for text, _ in rows["test"][:10]]
    corpus.add("T", rows, label_map={"no": "0"}, ignore_labels=["-"])

    # Only that rows are left out.
    assert [each["kind"] for each in corpus.findings(plugins)] == ["notice"]


def test_held_out_rows_are_checked_as_well(corpus: Corpus, plugins: Plugins) -> None:
    rows = clean_reviews()["train"]
    corpus.add("T", {"train": rows + rows[:40]}, data={"eval_fraction": 0.2})

    # Equal texts are never in two splits.
    assert {each["kind"] for each in corpus.findings(plugins)} == {"duplicates"}


# --- the command -------------------------------------------------------------------------------------


@pytest.fixture
def invoke(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setattr("signal.signal", lambda *arguments: None)

    def run(*words: str) -> tuple[int, str, str]:
        status = main(["data", "check", *words])
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return status, out, err

    yield run


def test_the_command_shows_what_it_found(corpus: Corpus, invoke: Any) -> None:
    corpus.add("T", clean_reviews())
    config = corpus.folder / "config.json"
    config.write_text(json.dumps(corpus.config))
    status, out, _ = invoke(str(config))
    assert status == 0 and "none" in out and "0 80 (50.0 %), 1 80 (50.0 %)" in out

    PLANTED["duplicates"][0](corpus)
    status, out, _ = invoke(str(config))
    out = " ".join(out.split())
    assert status == 1
    assert (
        "warning T train:" in out
        and "20 rows repeat the texts of earlier rows" in out
        and "(lines 162, 163" in out
    )
    status, out, _ = invoke(str(config), "--json")
    found = json.loads(out)["findings"]
    assert status == 1 and found[0]["rows"] == 20 and found[0]["lines"] == [162, 163, 164, 165, 166]

    status, _, err = invoke(str(corpus.folder / "none.json"))
    assert status == 2 and "there is no such file" in err


def test_baselines_say_what_a_model_must_beat(corpus: Corpus, invoke: Any) -> None:
    corpus.add("T", clean_reviews())
    corpus.add("S", scores(), "scores")
    corpus.add("W", sentences(), "sentences")
    (corpus.folder / "config.json").write_text(json.dumps(corpus.config))
    _, out, _ = invoke(str(corpus.folder / "config.json"), "--baseline", "--json")
    baselines = json.loads(out)["baselines"]

    frequent, linear = baselines["T"]
    assert (frequent["name"], frequent["metrics"]["accuracy"]) == ("most frequent", 0.5)
    assert linear["metrics"]["accuracy"] > 0.9 and linear["seconds"] > 0
    assert [each["name"] for each in baselines["S"]] == ["most frequent", "linear over 1-2-grams"]
    assert baselines["S"][0]["metrics"]["pearson"] is None
    [tags] = baselines["W"]
    assert tags["metrics"] == {"accuracy": 1.0}
    _, out, _ = invoke(str(corpus.folder / "config.json"), "--baseline")
    assert "linear over 1-2-grams" in out and "macro_f1" in out


def test_missing_baselines_are_reported(corpus: Corpus) -> None:
    corpus.add("T", clean_reviews())
    with pytest.raises(PluginError, match="no installed plugin has a baseline"):
        check_data(corpus.config, baseline=True, plugins=discover(blocked=["mtl-tasks"]))


def test_the_linear_baseline_is_scikit_learns() -> None:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    columns = [ColumnSpec("text"), ColumnSpec("label", input=False)]
    rows = reviews(120, seed=4)
    train, evaluated = (
        pl.DataFrame(part, schema=["text", "label"], orient="row") for part in (rows[:80], rows[80:])
    )
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"\S+", sublinear_tf=True)
    inputs = vectorizer.fit_transform(train["text"].to_list())
    model = LogisticRegression(C=10.0, max_iter=1000).fit(inputs, train["label"].to_list())
    expected = model.score(vectorizer.transform(evaluated["text"].to_list()), evaluated["label"].to_list())

    found = ngrams(columns, train, evaluated)
    assert found is not None and found["accuracy"] == pytest.approx(expected)
    assert ngrams([ColumnSpec("text")], train, evaluated) is None
    assert majority([ColumnSpec("words", ColumnType.TEXTS)], train, evaluated) is None
