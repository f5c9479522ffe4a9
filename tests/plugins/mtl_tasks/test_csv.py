"""CSV: against the `csv` module, in pieces, and what it refuses."""

from __future__ import annotations

import csv
import gzip
import io
from itertools import accumulate
from pathlib import Path
from typing import Any
from unittest import mock

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtl import ColumnSpec, ColumnType, DataError, InputPaths
from mtl_tasks.csv_files import CSV
from mtl_tasks.data_config import CSVConfig
from mtl_text import lines

BOTH = (ColumnSpec("text"), ColumnSpec("label", input=False))
HERE = InputPaths(Path("train"))
SKIP: dict[str, Any] = {"on_bad_row": "skip", "max_skipped_share": 1.0}


def source(**options: Any) -> CSV:
    return CSV(CSVConfig(train_path=HERE, **options))


def read(data: str, **options: Any) -> list[tuple[Any, ...]]:
    return source(**options).parse(data.encode(), "rows.csv", BOTH).frame.rows()


def refusal(data: str, **options: Any) -> str:
    with pytest.raises(DataError) as caught:
        source(**options).parse(data.encode(), "rows.csv", BOTH)
    return str(caught.value)


CELL = st.text(st.sampled_from('ab ",;\n\t|é'), min_size=1, max_size=12).filter(
    lambda cell: cell.strip() != ""
)


@settings(deadline=None, max_examples=150)
@given(st.lists(st.tuples(CELL, CELL), min_size=1, max_size=8), st.sampled_from(",;\t|"), st.booleans())
def test_what_the_csv_module_writes_is_read(
    rows: list[tuple[str, str]], delimiter: str, quotes: bool
) -> None:
    written = io.StringIO()
    writer = csv.writer(
        written,
        delimiter=delimiter,
        quoting=csv.QUOTE_ALL if quotes else csv.QUOTE_MINIMAL,
        lineterminator="\r\n",
    )
    writer.writerows([("text", "label"), *rows])
    starts = [2, *accumulate((1 + sum(cell.count("\n") for cell in row) for row in rows[:-1]), initial=2)][1:]
    expected = [(line, text.strip(), label.strip()) for line, (text, label) in zip(starts, rows, strict=True)]
    assert read(written.getvalue()) == expected
    assert read(written.getvalue(), delimiter=delimiter) == expected


@settings(deadline=None, max_examples=150)
@given(
    data=st.lists(st.sampled_from(["a", "b", '"', ",", "\n", "\n\n", '"a",b\n', "x,y\n"]), max_size=30),
    size=st.integers(1, 20),
    skips=st.booleans(),
)
def test_a_file_in_pieces_is_the_file(
    data: list[str], size: int, skips: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("csv") / "rows.csv"
    path.write_text("".join(["text,label\n", *data]))
    reader = source(delimiter=",", header="yes", **(SKIP if skips else {}))

    def whole() -> Any:
        table = reader.read(path, BOTH)
        return table.frame.rows(), table.skipped

    def pieces() -> Any:
        tables = list(reader.pieces(path, BOTH))
        return pl.concat([table.frame for table in tables]).rows(), sum(table.skipped for table in tables)

    def tried(way: Any) -> Any:
        try:
            return way()
        except DataError as error:
            return str(error)

    with mock.patch.object(lines, "BLOCK_BYTES", size):
        found = tried(pieces)
    assert found == tried(whole)


def test_a_header_is_recognised_and_its_order_followed() -> None:
    assert read("Label,Text\nx,good\n") == [(2, "good", "x")]
    assert read("good,x\nbad,y\n") == [(1, "good", "x"), (2, "bad", "y")]
    assert read('a;"b;c"\nd;e\n') == [(1, "a", "b;c"), (2, "d", "e")]
    assert read("a,b,c\n1,2,3\n", columns={"text": 2, "label": "a"}) == [(2, "3", "1")]


def test_columns_that_are_not_read_are_named_and_carried_through_predict() -> None:
    data = b'id,text,label\n7,"a\nb",x\n8,c,'
    table = source().parse(data + b"x\n", "rows.csv", BOTH)
    assert table.notices == ["rows.csv: reads `text`, `label`; does not read `id`"]
    table = source().parse_inputs(data, "rows.csv", BOTH)
    assert table.frame.rows() == [(2, "a\nb"), (4, "c")]
    assert table.others is not None
    assert table.others.to_dict(as_series=False) == {"id": ["7", "8"], "label": ["x", ""]}


def test_columns_have_their_types() -> None:
    columns = (
        ColumnSpec("text"),
        ColumnSpec("score", ColumnType.FLOAT, input=False),
        ColumnSpec("labels", ColumnType.TEXTS, input=False, may_be_empty=True),
    )
    data = b'text,score,labels\na,1.5,"x,y"\nb,2,\n'
    assert source().parse(data, "rows", columns).frame.rows() == [
        (2, "a", 1.5, ["x", "y"]),
        (3, "b", 2.0, None),
    ]
    with pytest.raises(DataError, match=r"rows:3: `score` must be a number, but is 'high'"):
        source().parse(b'text,score,labels\na,1.5,"x,y"\nb,high,\n', "rows", columns)


def test_a_bad_record_is_named_by_its_first_line() -> None:
    said = refusal('text,label\n"a\nb",x\n"c" d,y\n')
    assert 'line 4: after a closing quote must come "," or the end of the line' in said
    assert "use the data source `TSV`" in said
    said = refusal('text,label\n"a\nb",x,z\nc,y\n')
    assert "rows.csv:2: a row must have 2 columns, but has 3 columns" in said


def test_an_unclosed_quote_affects_only_its_line() -> None:
    data = 'text,label\na,x\n"b,y\nc,z\nd,z\n'
    assert "rows.csv:3: a quote is opened, but not closed within the file" in refusal(data)
    assert read(data, **SKIP) == [(2, "a", "x"), (4, "c", "z"), (5, "d", "z")]


def test_a_quote_is_closed_within_a_million_characters() -> None:
    line = "c,z " + 996 * "a" + "\n"
    data = 'text,label\n"b,y\n' + 1100 * line
    assert "rows.csv:2: a quote is opened, but not closed within 1,000,000 characters" in refusal(data)
    assert len(read(data, **SKIP)) == 1100


def test_a_byte_order_mark_is_left_out_however_it_was_read() -> None:
    for data in ("\ufefftext,label\na,x\n".encode(), "ï»¿text,label\na,x\n".encode()):
        assert source().parse(data, "rows", BOTH).frame.rows() == [(2, "a", "x")]
    with pytest.raises(DataError, match="begins with the byte order mark of UTF-8; leave out `encoding`"):
        source(encoding="cp1252").parse("\ufefftext,label\na,x\n".encode(), "rows", BOTH)


def test_files_are_unpacked_and_decoded() -> None:
    assert source().parse(gzip.compress(b"text,label\na,x\n"), "rows", BOTH).frame.rows() == [(2, "a", "x")]
    data = "text,label\né,x\n".encode("cp1252")
    assert source(encoding="cp1252").parse(data, "rows", BOTH).frame.rows() == [(2, "é", "x")]


def test_other_formats_are_named() -> None:
    assert "use the data source `JSONL`" in refusal('{"text": "a", "label": "x"}\n')
    assert "use the data source `TSV`" in refusal("__label__x a\n")


@pytest.mark.parametrize("delimiter", ["", ",,", '"', "\n"])
def test_a_delimiter_is_one_character(delimiter: str) -> None:
    with pytest.raises(ValueError, match="`delimiter` must be one character"):
        source(delimiter=delimiter)


# --- as corpora are published -----------------------------------------------------------------------------


def test_ag_news_without_a_header() -> None:
    data = (
        '"3","Markets end higher","Shares rose in late trading\\as oil fell."\n'
        '"1","Talks resume","Ministers met, again, on Monday; ""no result"" yet."\n'
        '"3","Bank cuts rates","The central bank, in a surprise, cut its rate."\n'
    )
    assert read(data, columns={"text": 2, "label": 0}) == [
        (1, "Shares rose in late trading\\as oil fell.", "3"),
        (2, 'Ministers met, again, on Monday; "no result" yet.', "1"),
        (3, "The central bank, in a surprise, cut its rate.", "3"),
    ]
    assert 'set `"columns": ' in refusal(data)


def test_kaggle_with_quoted_line_breaks() -> None:
    data = (
        "\ufeffid,comment_text,toxic\r\n"
        '0001,"Thanks for the edit.\r\n\r\nPlease see the talk page, ""Sources"".",0\r\n'
        "0002,plain words,1\r\n"
    )
    assert read(data, columns={"text": "comment_text", "label": "toxic"}) == [
        (2, 'Thanks for the edit.\n\nPlease see the talk page, "Sources".', "0"),
        (5, "plain words", "1"),
    ]
