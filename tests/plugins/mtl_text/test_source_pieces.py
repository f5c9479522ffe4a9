"""A file read in pieces is the file read whole: rows, line numbers, bad rows and what is said of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtl import ColumnSpec, DataError, InputPaths
from mtl_text import JSONL, TSV, JSONLConfig, TextLines, TextLinesConfig, TSVConfig, layouts, lines
from mtl_text.sources import LineSource

TEXT = (ColumnSpec("text"),)
BOTH = (*TEXT, ColumnSpec("label", input=False))
HERE = InputPaths(Path("train"))
Read = tuple[list[tuple[Any, ...]], list[str], int, list[str]] | str


def whole(source: LineSource[Any], path: Path, columns: Sequence[ColumnSpec]) -> Read:
    try:
        table = source.read(path, columns)
    except DataError as error:
        return str(error)
    return table.frame.rows(), table.frame.columns, table.skipped, list(table.skipped_first)


def in_pieces(source: LineSource[Any], path: Path, columns: Sequence[ColumnSpec], size: int) -> Read:
    with mock.patch.object(lines, "BLOCK_BYTES", size):
        try:
            tables = list(source.pieces(path, columns))
        except DataError as error:
            return str(error)
    frame = pl.concat([table.frame for table in tables])
    first = [line for table in tables for line in table.skipped_first][:5]
    return frame.rows(), frame.columns, sum(table.skipped for table in tables), first


def tsv(**options: Any) -> TSV:
    return TSV(TSVConfig(train_path=HERE, **{"max_skipped_share": 1.0, **options}))


def jsonl(**options: Any) -> JSONL:
    return JSONL(JSONLConfig(train_path=HERE, **{"max_skipped_share": 1.0, **options}))


def text_lines(**options: Any) -> TextLines:
    return TextLines(TextLinesConfig(train_path=HERE, **{"max_skipped_share": 1.0, **options}))


SKIP: dict[str, Any] = {"on_bad_row": "skip"}
CELLS = st.sampled_from(
    [b"a", b"1", b"2", "é中🎬".encode(), b" ", b"", b"label", b"pos", b"neg", b"\xff", b"\0"]
)
ROWS = st.lists(CELLS, max_size=4).map(b"\t".join)
ENDS = st.sampled_from([b"\n", b"\r\n"])
START = st.sampled_from(
    [b"", b"\xef\xbb\xbf", b"\n", b"sentence\tlabel\n", b"\n \r\nlabel\ttext\r\n", b"a\tb\n"]
)
OBJECTS = st.fixed_dictionaries(
    {}, optional={"text": st.sampled_from(["a b", "é中", "", 3]), "label": st.integers(0, 2)}
)
JSON_ROWS = st.one_of(
    OBJECTS.map(lambda value: json.dumps(value, ensure_ascii=False).encode()),
    st.sampled_from([b"", b" ", b"[1]", b"{", b"\xff"]),
)


@st.composite
def contents(draw: st.DrawFn, rows: st.SearchStrategy[bytes]) -> bytes:
    body = b"".join(row + draw(ENDS) for row in draw(st.lists(rows, max_size=25)))
    data = draw(START) + body
    return data.rstrip(b"\r\n") if draw(st.booleans()) else data


@settings(max_examples=200)
@given(
    data=st.one_of(contents(ROWS), st.binary(max_size=60)),
    size=st.integers(1, 60),
    columns=st.sampled_from([BOTH, TEXT]),
    options=st.sampled_from([{}, {"header": "no"}, {"header": "yes"}, {"columns": {"label": 0, "text": 1}}]),
    skip=st.sampled_from([{}, SKIP]),
)
def test_any_piece_of_a_table_is_as_in_the_whole(
    data: bytes,
    size: int,
    columns: Sequence[ColumnSpec],
    options: dict[str, Any],
    skip: dict[str, Any],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    path = tmp_path_factory.getbasetemp() / "pieces.tsv"
    path.write_bytes(data)
    source = tsv(**options, **skip)
    assert in_pieces(source, path, columns, size) == whole(source, path, columns)


@settings(max_examples=100)
@given(
    labels=st.lists(st.sampled_from(["1", "2", "3", "x", "y"]), min_size=8, max_size=30),
    first=st.sampled_from(["1", "x", "label", "z"]),
    size=st.integers(1, 60),
    skip=st.sampled_from([{}, SKIP]),
)
def test_d14_a_header_is_found_by_labels_of_other_pieces(
    labels: list[str],
    first: str,
    size: int,
    skip: dict[str, Any],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    path = tmp_path_factory.getbasetemp() / "labels.tsv"
    path.write_text("".join(f"some text\t{label}\n" for label in [first, *labels]))
    source = tsv(**skip)
    assert in_pieces(source, path, BOTH, size) == whole(source, path, BOTH)


@settings(max_examples=150)
@given(
    data=st.one_of(contents(JSON_ROWS), st.binary(max_size=60)),
    size=st.integers(1, 60),
    columns=st.sampled_from([BOTH, TEXT]),
    source=st.sampled_from([jsonl(), jsonl(**SKIP), text_lines(), text_lines(**SKIP)]),
)
def test_any_piece_of_lines_is_as_in_the_whole(
    data: bytes,
    size: int,
    columns: Sequence[ColumnSpec],
    source: LineSource[Any],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    path = tmp_path_factory.getbasetemp() / "pieces.txt"
    path.write_bytes(data)
    assert in_pieces(source, path, columns, size) == whole(source, path, columns)


def test_blocks_end_with_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "BLOCK_BYTES", 4)
    path = tmp_path / "lines.txt"
    path.write_text("é\nlong line\n\n\nx\nend\nlast")
    read = list(lines.read_blocks(path))
    assert [(block.first, block.texts.to_list()) for block in read] == [
        (1, ["é", "long line"]),
        (3, ["", "", "x", "end"]),
        (7, ["last"]),
    ]
    tables = list(text_lines().pieces(path, TEXT))
    assert [table.frame["line"].to_list() for table in tables] == [[1, 2], [5, 6], [7]]


def test_a_small_file_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "rows.tsv"
    path.write_text("a\t1\nb\t2\n")
    split = mock.Mock(wraps=lines.split_lines)
    monkeypatch.setattr(lines, "split_lines", split)
    assert len(list(tsv().pieces(path, BOTH))) == 1
    assert split.call_count == 1


@pytest.mark.parametrize("name", ["absent.tsv", ""])
def test_d14_paths_without_a_readable_file_in_pieces(name: str, tmp_path: Path) -> None:
    assert in_pieces(tsv(), tmp_path / name, TEXT, 4) == whole(tsv(), tmp_path / name, TEXT)


def test_many_different_labels_are_none_that_return(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "rows.tsv"
    path.write_text("".join(f"some text\t{label}\n" for label in ["z", *[f"l{n % 6}" for n in range(60)]]))
    assert "looks like a header" in str(whole(tsv(), path, BOTH))
    monkeypatch.setattr(layouts, "MOST_LABELS", 5)
    assert len(whole(tsv(), path, BOTH)[0]) == 61
