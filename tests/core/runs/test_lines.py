"""Rows to predict from lines: what is a row, what is its problem, and what is carried."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtl import ColumnSpec, ColumnType, DataError, UsageError
from mtl.runs.lines import line_rows
from mtl.runs.predicting import InputRow

TEXTS = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\r\n\t"))


def task(*columns: ColumnSpec) -> Any:
    return SimpleNamespace(name="T", config=SimpleNamespace(input_columns=columns or (ColumnSpec("text"),)))


PAIR = task(ColumnSpec("premise"), ColumnSpec("hypothesis"))


def read(content: bytes, format: Any = "auto", of: Any = None) -> list[InputRow]:
    return list(line_rows(of or task(), content.splitlines(keepends=True), "rows", format))


@given(st.lists(TEXTS, min_size=1))
def test_every_line_of_text_is_a_row(texts: list[str]) -> None:
    lines = [f"{text}\n".encode() for text in texts]
    rows = list(line_rows(task(), lines, "rows", "text"))
    assert [row.values["text"] for row in rows] == [texts[0].removeprefix("\ufeff"), *texts[1:]]
    assert [row.line for row in rows] == list(range(1, len(texts) + 1))


@pytest.mark.parametrize("number", ["NaN", "-Infinity", "1e999"])
def test_a_number_that_no_answer_can_carry_is_a_problem(number: str) -> None:
    [row] = read(b'{"text": "a film", "score": %s}' % number.encode(), "jsonl")
    assert row.problem is not None and f"{number} is not a finite number" in row.problem


@given(st.lists(st.dictionaries(TEXTS, TEXTS), min_size=1))
def test_objects_keep_their_keys(rows: list[dict[str, str]]) -> None:
    lines = [json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows]
    read = list(line_rows(task(), lines, "rows"))
    assert [{**row.values, **row.others} for row in read] == rows
    assert all(set(row.values) <= {"text"} and "text" not in row.others for row in read)


@given(TEXTS, st.lists(TEXTS, min_size=1))
def test_a_label_behind_a_text_changes_nothing(text: str, more: list[str]) -> None:
    plain = text.removeprefix("\ufeff")
    [row] = line_rows(task(), ["\t".join([plain, *more]).encode()], "rows", "text")
    assert row.values == {"text": plain.removeprefix("\ufeff")} and row.problem is None


def test_unread_columns_are_reported_once(caplog: pytest.LogCaptureFixture) -> None:
    read(b"one\none\tperfect\ntwo\tbad\n")
    assert [record.getMessage() for record in caplog.records] == [
        "rows:2: a tab ends the text; what follows it on a line, such as a label, is not read"
    ]


def test_several_texts_are_separated_by_tabs() -> None:
    both, one, three = read(b"a b\tc\nalone\na\tb\tlabel\n", of=PAIR)
    assert both.values == {"premise": "a b", "hypothesis": "c"}
    assert one.problem and "2 texts, `premise`, `hypothesis`, separated by tabs" in one.problem
    assert three.values == {"premise": "a", "hypothesis": "b"}


def test_a_task_of_other_columns_asks_for_objects() -> None:
    words = task(ColumnSpec("words", ColumnType.TEXTS))
    with pytest.raises(UsageError, match="`words`, which must be a list of strings; give a JSON object"):
        read(b"a b\n", of=words)
    [row] = read(b'{"words": ["a"]}\n', of=words)
    assert row.values == {"words": ["a"]}


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b"[1]", "must be a JSON object, but is `[1]`"),
        (b"plain", "must be a JSON object, but is not JSON"),
        (b"[" * 100_000, "must be a JSON object, but is nested too deeply"),
    ],
)
def test_a_line_without_an_object_is_a_bad_row(line: bytes, problem: str) -> None:
    rows = read(b'{"text": "a"}\n\n' + line + b'\n{"text": "b"}\n')
    assert [row.line for row in rows] == [1, 3, 4]
    assert str(rows[1].problem).startswith(problem)


def test_bytes_that_are_not_utf_8_are_located() -> None:
    with pytest.raises(DataError, match=r"^rows:2:5: must be UTF-8"):
        read(b"fine\nbad \xff\n")
