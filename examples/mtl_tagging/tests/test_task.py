"""What the task makes of its rows, and of what its model says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mtl
import polars as pl
import pytest
from mtl import DataError, Features, FeaturesConfig, Table
from mtl.testing import check_task

from mtl_tagging.data import number_tags, prepare_rows

DATA = Path(__file__).parents[1] / "data"

FEATURES = Features(FeaturesConfig(), {})


def table(*rows: tuple[str, str]) -> Table:
    texts, tags = zip(*rows, strict=True)
    frame = pl.DataFrame({"text": texts, "tags": tags, "line": range(1, len(rows) + 1)})
    return Table(frame, "rows.tsv")


def test_words_and_tags() -> None:
    frame = prepare_rows(table(("Anna runs", "B-PER O"), ("no", "O")), FEATURES)
    assert frame["text"].to_list() == [["Anna", "runs"], ["no"]]
    assert frame["tags"].to_list() == [["B-PER", "O"], ["O"]]
    assert number_tags(frame, ["O", "B-PER"]).to_list() == [1, 0, 0]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ((" ", "O"), "`text` must have a word, but is ' '"),
        (("Anna runs", "B-PER"), "`tags` must be one for each word, but is 'B-PER'"),
        (("Anna", ""), "`tags` must be one for each word, but is ''"),
        (("Anna", "PER"), "`tags` must each be O, or B, I, E or S with a hyphen and a type, but is 'PER'"),
        (("Anna", "B-"), "`tags` must each be O"),
        (("Anna", "X-PER"), "`tags` must each be O"),
        (("Anna", "o"), "`tags` must each be O"),
    ],
)
def test_a_wrong_row_is_named_with_its_line(row: tuple[str, str], message: str) -> None:
    with pytest.raises(DataError, match=rf"rows\.tsv:2: {message}"):
        prepare_rows(table(("a", "O"), row), FEATURES)


def test_a_tag_that_training_lacks_is_named_with_its_line() -> None:
    frame = prepare_rows(table(("a", "O"), ("b c", "O B-ORG"), ("d", "B-ORG")), FEATURES)
    message = (
        r"rows\.tsv:2: `tags` must be among O, B-PER, as in training, but is 'B-ORG' \(and so for 1 more"
    )
    with pytest.raises(DataError, match=message):
        number_tags(frame, ["O", "B-PER"])


@pytest.mark.parametrize(
    "settings",
    [
        {"head": "softmax", "representation": {"num_layers": 2, "lstm_dim": 8}},
        {"representation": {"bidirectional": False}, "features": {"word_feat": {}, "char_feat": {}}},
    ],
    ids=lambda settings: settings.get("head", "crf"),
)
def test_every_head_and_representation_keeps_the_rules(settings: dict[str, Any]) -> None:
    rows = "text\ttags\n" + "Anna Hale left Rome\tB-PER I-PER O B-LOC\nRome fell\tB-LOC O\nno\tO\n" * 6
    data = {"TSV": {"train_path": "rows.tsv"}}  # and any data source will do
    check_task("WordTaggingTask", files={"rows.tsv": rows}, config={**settings, "data": data})


def test_an_answer_has_tags_and_spans(run: Path) -> None:
    texts = ["it rained in Port Hale all week .", "nobody knew", "Dr Frost moved from Frost Bay to Vale ."]
    answers = list(mtl.load(run).predict("Names", [{"text": text} for text in texts]))
    assert [len(answer["tags"]) for answer in answers] == [len(text.split()) for text in texts]
    assert answers[0]["spans"] == [{"type": "LOC", "start": 3, "end": 5}]
    assert answers[1] == {"tags": ["O", "O"], "spans": []}
    assert [span["type"] for span in answers[2]["spans"]] == ["PER", "LOC", "LOC"]
