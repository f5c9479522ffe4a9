"""Lines become rows that predict each token once."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtl import Features, FeaturesConfig
from mtl_text.text import BOS, EOS
from pytext_plugins_lm.rows import RowMaker

LINES = st.lists(st.lists(st.sampled_from("abcdefg"), max_size=9), min_size=1, max_size=8)
MAKER = RowMaker(Features(FeaturesConfig(), {}), (BOS, EOS))


def frame(lines: list[list[str]]) -> pl.DataFrame:
    numbers = range(3, 3 + 2 * len(lines), 2)
    texts = [" ".join(line) for line in lines]
    schema = {"text": pl.String, "line": pl.Int64}
    return MAKER.split(pl.DataFrame({"text": texts, "line": numbers}, schema=schema))


def predicted(rows: pl.DataFrame) -> list[tuple[str, int]]:
    return [(token, line) for tokens, line in rows.iter_rows() for token in tokens[1:]]


def windows(tokens: list[str], size: int) -> list[list[str]]:
    return [tokens[start : start + size + 1] for start in range(0, len(tokens) - 1, size)]


def test_a_line_is_a_row() -> None:
    rows = MAKER.lines(frame([["a", "b"], []]))
    assert rows.frame.rows() == [([BOS, "a", "b", EOS], 3), ([BOS, EOS], 5)]
    assert (rows.cut_lines, rows.cut_words) == (0, 0)


@given(lines=LINES, size=st.integers(1, 12))
def test_split_lines_are_windows_that_overlap_by_one(lines: list[list[str]], size: int) -> None:
    rows = MAKER.lines(frame(lines), max_words=size)
    expected = [
        (window, 3 + 2 * number)
        for number, line in enumerate(lines)
        for window in windows([BOS, *line, EOS], size)
    ]
    assert rows.frame.rows() == expected
    assert rows.cut_lines == 0
    assert predicted(rows.frame) == [
        (token, 3 + 2 * number) for number, line in enumerate(lines) for token in [*line, EOS]
    ]


@given(lines=LINES, size=st.integers(1, 12))
def test_truncated_lines_are_first_windows_and_counted(lines: list[list[str]], size: int) -> None:
    rows = MAKER.lines(frame(lines), max_words=size, truncate=True)
    assert rows.frame["text"].to_list() == [[BOS, *line, EOS][: size + 1] for line in lines]
    lost = [max(len(line) + 1 - size, 0) for line in lines]
    assert (rows.cut_lines, rows.cut_words) == (sum(n > 0 for n in lost), sum(lost))


@given(lines=LINES, size=st.integers(1, 12))
def test_the_stream_is_all_lines_in_windows(lines: list[list[str]], size: int) -> None:
    rows = MAKER.stream(frame(lines), max_words=size).frame
    stream = [BOS, *(token for line in lines for token in [*line, EOS])]
    assert rows["text"].to_list() == windows(stream, size)
    lines_of = [3 + 2 * number for number, line in enumerate(lines) for _ in [*line, EOS]]
    assert rows["line"].to_list() == lines_of[::size]


@pytest.mark.parametrize("max_words", [None, 4])
def test_no_lines_give_no_rows(max_words: int | None) -> None:
    schema = {"text": pl.List(pl.String), "line": pl.Int64}
    assert MAKER.lines(frame([]), max_words=max_words).frame.schema == schema
    empty = MAKER.stream(frame([]), max_words=4).frame
    assert (len(empty), empty.schema) == (0, schema)
