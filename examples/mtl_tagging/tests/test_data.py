"""CoNLL files, as they are and as they should not be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mtl import ColumnSpec, DataError, InputPaths, Table

from mtl_tagging import sample
from mtl_tagging.config import CoNLLConfig
from mtl_tagging.data import CoNLL, Sentences

ROWS = Path(__file__).parents[1] / "data"


def read(path: Path, content: str | bytes, *columns: str, **options: Any) -> Sentences:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    source = CoNLL(CoNLLConfig(train_path=InputPaths(path), **options))
    return source.read(path, [ColumnSpec(name) for name in columns or ("text", "tags")])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "rows.conll"


def rows(table: Table) -> list[tuple[Any, ...]]:
    return table.frame.select("line", "text", "tags").rows()


def test_sentences_documents_and_lines(path: Path) -> None:
    text = "-DOCSTART- -X- O\n\nAnna NNP B-PER\nruns VBZ O\n\n\n-DOCSTART- -X- O\nRome NNP B-LOC"
    table = read(path, text)
    assert rows(table) == [(3, "Anna runs", "B-PER O"), (8, "Rome", "B-LOC")]
    assert (table.documents, table.skipped, table.path) == (2, 0, str(path))


words = st.text(st.characters(categories=("L", "N", "P", "S")), min_size=1, max_size=4).filter(
    lambda word: word != "-DOCSTART-"
)
taggings = st.lists(st.tuples(words, st.sampled_from(["O", "B-X", "I-X"])), min_size=1, max_size=5)


@settings(max_examples=60, deadline=None)
@given(
    corpus=st.lists(taggings, min_size=1, max_size=4),
    separator=st.sampled_from([" ", "  ", "\t", " \t "]),
    end=st.sampled_from(["\n", "\r\n"]),
    blanks=st.integers(1, 3),
    start=st.sampled_from([b"", b"\xef\xbb\xbf"]),
)
def test_what_is_written_is_read(
    corpus: list[list[tuple[str, str]]],
    separator: str,
    end: str,
    blanks: int,
    start: bytes,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    lines = [
        separator.join((word, "between", tag)) for sentence in corpus for word, tag in [*sentence, ("", "")]
    ]
    empty = separator.join(("", "between", ""))
    content = "".join(end * blanks if line == empty else line + end for line in lines)
    table = read(tmp_path_factory.mktemp("rows") / "rows.conll", start + content.encode())
    assert [row[1:] for row in rows(table)] == [
        tuple(" ".join(cells) for cells in zip(*sentence, strict=True)) for sentence in corpus
    ]


def test_columns_are_chosen_by_position(path: Path) -> None:
    text = "1 Anna B-PER x\n2 runs O x\n"
    table = read(path, text, columns={"text": 1, "tags": -2})
    assert rows(table) == [(1, "Anna runs", "B-PER O")]
    assert read(path, text, "text", "number", columns={"text": 1, "number": 0}).frame["number"].to_list() == [
        "1 2"
    ]


def test_words_alone_may_be_read(path: Path) -> None:
    assert read(path, "Anna\nruns\n", "text").frame["text"].to_list() == ["Anna runs"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("Anna B-PER\nruns\n", r":2: a line must have at least 2 columns, but has 1"),
        (
            "a NN O\nb O\nc NN O\n",
            r":2: a line must have 3 columns, as most have, but has 2",
        ),
        ("a O\n\nNew York B-LOC\n\nb O\n", r":3: a line must have 2 columns, as most have, but has 3"),
        ("a\tO\nNew York\tB-LOC\n", r":2: `text` must be one word, but is 'New York'"),
        ("a\tO\nb\t\n", r":2: `tags` must be one word, but is ''"),
        (b"a O\n\xff O\n", r":2: a line must be UTF-8, but is not"),
    ],
)
def test_a_bad_line_is_named(content: str | bytes, message: str, path: Path) -> None:
    with pytest.raises(DataError, match=r"rows\.conll" + message):
        read(path, content)


def test_all_bad_sentences_are_counted_or_skipped(path: Path) -> None:
    content = "a O\n\n" + "b\n\n" * 7 + "c O\nd\ne\n\nf O\n" + "g O\n" * 20
    with pytest.raises(
        DataError, match=r":3: (.*\n)+.*: 8 of 10 sentences are bad; .*`\"on_bad_row\": \"skip\"`"
    ):
        read(path, content)
    table = read(path, content, on_bad_row="skip")
    assert [row[0] for row in rows(table)] == [1, 21]
    assert table.skipped == 8
    assert table.skipped_first[0] == "line 3: a line must have at least 2 columns, but has 1"


@pytest.mark.parametrize(
    ("columns", "options", "message"),
    [
        (
            ("text", "tags"),
            {"columns": {"tag": 1}},
            "must name what the task reads, `text`, `tags`, but names `tag`",
        ),
        (("text", "label"), {}, "`label` must have a place in `columns`, but has none"),
        (("text", "tags"), {"columns": {"tags": 5}}, ":1: a line must have at least 6 columns, but has 2"),
        (("text", "tags"), {"columns": {"tags": 0}}, ":1: `text` and `tags` must be different columns"),
    ],
)
def test_columns_that_are_not_there(
    columns: tuple[str, ...], options: dict[str, Any], message: str, path: Path
) -> None:
    with pytest.raises(DataError, match=message):
        read(path, "a O\nb O\n", *columns, **options)


def test_a_file_that_is_missing_is_named(path: Path) -> None:
    with pytest.raises(DataError, match=r"rows\.conll: must be a file that can be read, but: No such file"):
        CoNLL(CoNLLConfig(train_path=InputPaths(path))).read(path, [ColumnSpec("text")])


def test_the_rows_of_config_json_are_the_grammars() -> None:
    for path, text in sample.files(0, train=120, evaluation=40).items():
        assert (ROWS / Path(path).name).read_text() == text
