"""TSV, JSONL and TextLines: what they read, what they refuse, and what they say about it."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from mtl import ColumnSpec, ColumnType, DataError, InputPaths, Table
from mtl_text import JSONL, TSV, JSONLConfig, TextLines, TextLinesConfig, TSVConfig
from mtl_text.sources import LineSource

HERE = InputPaths(Path("train"))
GLUE = b"sentence\tlabel\nhide new secretions \t0\ngood\t1\n"
TEXT = (ColumnSpec("text"),)
BOTH = (*TEXT, ColumnSpec("label", input=False))
SPACES = "\t\n\x0b\x0c\r \x85\xa0\u1680\u2000\u2007\u2028\u2029\u202f\u205f\u3000"
quick = settings(deadline=None, max_examples=300)


def tsv(**settings: Any) -> TSV:
    return TSV(TSVConfig(train_path=HERE, **{"max_skipped_share": 1.0, **settings}))


def jsonl(**settings: Any) -> JSONL:
    return JSONL(JSONLConfig(train_path=HERE, **{"max_skipped_share": 1.0, **settings}))


def text_lines(**settings: Any) -> TextLines:
    return TextLines(TextLinesConfig(train_path=HERE, **{"max_skipped_share": 1.0, **settings}))


def rows(table: Table) -> list[tuple[Any, ...]]:
    return table.frame.rows()


def refusal(source: LineSource[Any], data: bytes, columns: Sequence[ColumnSpec] = BOTH) -> str:
    with pytest.raises(DataError) as caught:
        source.parse(data, "train.tsv", columns)
    return str(caught.value)


# --- TSV ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        GLUE,
        GLUE.split(b"\n", 1)[1],
        GLUE.replace(b"\n", b"\r\n"),
        b"\xef\xbb\xbf" + GLUE,
        GLUE.replace(b"\t0", b"\t0 "),
        GLUE.removesuffix(b"\n"),
        GLUE + b"\n  \n",
        b"label\tid\tText\n0\t7\thide new secretions\n1\t8\tgood\n",
    ],
    ids=["raw", "prepared", "crlf", "bom", "trailing space", "no last newline", "blank end", "reordered"],
)
def test_raw_and_prepared_files_give_the_same_rows(data: bytes) -> None:
    first = 1 if data.startswith(b"hide") else 2
    expected = [(first, "hide new secretions", "0"), (first + 1, "good", "1")]
    assert rows(tsv().parse(data, "train.tsv", BOTH)) == expected


def test_quotes_are_text() -> None:
    table = tsv().parse(b'"a\t1\nb ""c\t0\n', "train.tsv", BOTH)
    assert table.frame["text"].to_list() == ['"a', 'b ""c']


@pytest.mark.parametrize(
    ("settings", "data"),
    [
        ({"columns": {"text": "review", "label": "Stars"}}, b"id\tStars\treview\n1\t5\tfine\n"),
        ({"columns": {"text": 2, "label": 1}}, b"1\t5\tfine\n"),
        ({"columns": {"text": 2, "label": 1}, "header": "yes"}, b"id\tStars\treview\n1\t5\tfine\n"),
        ({"columns": {"text": 1, "label": 0}}, b"label\tsentence\n5\tfine\n"),
        ({"columns": {"label": 0}}, b"5\tfine\n"),
        ({"columns": {"label": "Stars"}}, b"Stars\tsentence\n5\tfine\n"),
        ({"delimiter": "||"}, b"fine||5\n"),
        ({"header": "no"}, b"fine\t5\n"),
    ],
)
def test_columns_by_name_and_position(settings: dict[str, Any], data: bytes) -> None:
    table = tsv(**settings).parse(data, "train.tsv", BOTH)
    assert [row[1:] for row in rows(table)] == [("fine", "5")]


@pytest.mark.parametrize(
    ("data", "expected", "others"),
    [
        (b"sentence\nfine\n", (2, "fine"), {}),
        (b"sentence\tlabel\nfine\t1\n", (2, "fine"), {"label": ["1"]}),
        (b"id\tsentence\n7\tfine\n", (2, "fine"), {"id": ["7"]}),
        (b"fine\n", (1, "fine"), {}),
        (b"fine\t1\n", (1, "fine"), {"1": ["1"]}),
    ],
)
def test_inputs_are_read_without_targets_beside_the_other_columns(
    data: bytes, expected: tuple[Any, ...], others: dict[str, Any]
) -> None:
    table = tsv().parse_inputs(data, "rows", BOTH)
    assert rows(table) == [expected] and table.others is not None
    assert table.others.to_dict(as_series=False) == others


@pytest.mark.parametrize(
    "data", [b"id\tpremise\n7\ta film\n8\ta plot\n", b"7\ta film\n", b"a\tb c\nd\te\nf\tg h\ni\tj k\n"]
)
def test_inputs_whose_text_is_not_where_the_task_has_it_are_refused(data: bytes) -> None:
    with pytest.raises(DataError, match=r"column 0, which would be `text`, has no spaces, but column 1 has"):
        tsv().parse_inputs(data, "rows", BOTH)
    stated = tsv(columns={"text": 0, "label": 1}).parse_inputs(data, "rows", BOTH)
    assert stated.frame["text"][0] == data.decode().split("\t")[0]


def test_bad_inputs_are_given_back_with_their_reasons() -> None:
    data = b"id\tsentence\n1\tfine\n2\t\n3\n4\tgood\n"
    table = tsv().parse_inputs(data, "rows", BOTH)
    assert rows(table) == [(2, "fine"), (5, "good")] and table.skipped == 2
    assert table.bad == {3: "`text` must not be empty", 4: "a row must have 2 columns, but has 1 column"}
    assert table.others is not None and table.others["id"].to_list() == ["1", "4"]


@pytest.mark.parametrize(
    "data",
    [
        b"review\tsentiment\nbad\t0\ngood\t1\n",
        b"review\tsentiment\n" + b"bad\tneg\ngood\tpos\n" * 5,
    ],
    ids=["no number among numbers", "labels that return"],
)
def test_d14_header_left_in_is_no_third_class(data: bytes) -> None:
    message = refusal(tsv(), data)
    assert message.startswith("train.tsv:1: looks like a header: the label '")
    assert "`columns`" in message
    assert tsv(on_bad_row="skip").parse(data, "train.tsv", BOTH).skipped == 1


def test_a_header_of_which_some_names_are_known_is_a_header() -> None:
    message = refusal(tsv(), b"review\tlabel\nbad\tneg\ngood\tpos\n")
    assert message == (
        "train.tsv:1: `text` must be there, as `text` or `sentence`, but the header has `review`, `label`;"
        ' say with `columns` which it is, or `"header": "no"` if it is a row'
    )


def test_d14_glue_header_is_refused_even_where_the_config_denies_it() -> None:
    assert refusal(tsv(header="no"), GLUE).startswith("train.tsv:1: looks like a header: the label 'label'")


@pytest.mark.parametrize("data", [b"a\t1\nb\t0\nc\t0\n", b"a\tx\n", b"a\tx\nb\ty\n"])
def test_a_label_that_one_row_has_is_no_header(data: bytes) -> None:
    assert len(tsv().parse(data, "train.tsv", BOTH).frame) == data.count(b"\n")


def test_a_rare_label_first_can_be_declared_a_row() -> None:
    data = b"odd\trare\n" + b"bad\tneg\ngood\tpos\n" * 5
    assert '`"header": "no"`' in refusal(tsv(), data)
    assert len(tsv(header="no").parse(data, "train.tsv", BOTH).frame) == 11


def test_d14_row_without_a_tab_is_named_by_line_and_counts() -> None:
    message = refusal(tsv(), b"a\t1\nb\t0\nno tab here\nd\t1\n")
    assert message.splitlines()[0] == "train.tsv:3: a row must have 2 columns, but has 1 column"
    assert "train.tsv:2: a row must have 2 columns, but has 3 columns" in refusal(
        tsv(), GLUE.replace(b"w ", b"\t")
    )


def test_d11_bad_rows_are_one_message_with_a_count() -> None:
    data = b"good\t1\n" * 20 + b"no tab\n" * 12
    lines = refusal(tsv(), data).splitlines()
    assert [line.split(": ")[0] for line in lines] == [f"train.tsv:{n}" for n in range(21, 26)] + [
        "train.tsv"
    ]
    assert lines[-1].startswith("train.tsv: 12 of 32 lines are bad; ")
    assert '"on_bad_row": "skip"' in lines[-1]


def test_d11_skipping_is_chosen_and_counted() -> None:
    data = b"sentence\tlabel\ngood\t1\nno tab\n\nna\xefve\t1\nn\0l\t1\n\t0\nbad\t \nlast\t0\n"
    table = tsv(on_bad_row="skip").parse(data, "train.tsv", BOTH)
    assert rows(table) == [(2, "good", "1"), (9, "last", "0")]
    assert table.skipped == 5
    assert table.skipped_first == [
        "line 3: a row must have 2 columns, but has 1 column",
        "line 5: text must be UTF-8, but byte 3 of the line is not",
        "line 6: text must not hold NUL, but character 2 is one",
        "line 7, character 1: `text` must not be empty",
        "line 8, character 5: `label` must not be empty",
    ]


@pytest.mark.parametrize("source", [tsv(), tsv(header="yes"), jsonl()])
def test_blank_lines_are_no_rows(source: LineSource[Any]) -> None:
    data = b"\n \ntext\tlabel\n\na\t1\n  \r\n\nb\t0\n"
    if isinstance(source, JSONL):
        data = b'\n\n\n\n{"text": "a", "label": 1}\n  \r\n\n{"text": "b", "label": 0}\n'
    table = source.parse(data, "train.tsv", BOTH)
    assert (rows(table), table.skipped) == ([(5, "a", "1"), (8, "b", "0")], 0)


def test_a_header_after_blank_lines_is_named_by_its_line() -> None:
    data = b"\n\nreview\tlabel\n\na\t1\nb\t1\n"
    assert refusal(tsv(), data).startswith("train.tsv:3: `text` must be there")
    assert refusal(tsv(), data.replace(b"label", b"x")).startswith("train.tsv:3: looks like a header")


def test_a_line_that_is_no_row_but_a_file_is_bad() -> None:
    long = b"x" * 1_000_001
    why = "a line must have at most 1,000,000 characters, but has 1,000,003"
    assert refusal(tsv(), b"a\t1\n" + long + b"\t1\nb\t0\n").startswith(f"train.tsv:2: {why}")
    assert rows(tsv(on_bad_row="skip").parse(b"a\t1\n" + long + b"\n", "rows", BOTH)) == [(1, "a", "1")]
    assert rows(text_lines().parse(long, "corpus", TEXT)) == [(1, long.decode())]


@pytest.mark.parametrize("data", [b"", b"\n \n", b"sentence\tlabel\n"])
def test_d4_a_file_without_rows_is_an_empty_table(data: bytes) -> None:
    assert rows(tsv().parse(data, "train.tsv", BOTH)) == []


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"a\t1\nn\0l\t0\n", "train.tsv:2: text must not hold NUL, but character 2 is one"),
        (b"a\t1\n\t\t\nb\t0\n", "train.tsv:2: a row must have 2 columns, but this line is blank"),
        (b"a\t1\n \t0\n", "train.tsv:2:1: `text` must not be empty"),
        (b"a\t1\nb\t \n", "train.tsv:2:3: `label` must not be empty"),
        (b"one\ntwo\n", "train.tsv:1: a row must have 2 columns, but has 1 column"),
    ],
)
def test_d14_unreadable_content_is_reported_with_its_line(data: bytes, message: str) -> None:
    assert refusal(tsv(), data).startswith(message)


@pytest.mark.parametrize(
    ("settings", "data", "message"),
    [
        (
            {"header": "yes"},
            b"review\tlabel\na\t1\n",
            "1: `text` must be there, as `text` or `sentence`, but the",
        ),
        (
            {"columns": {"label": "stars"}},
            GLUE,
            "1: `label` must be there, as `stars`, but the header has `sent",
        ),
        ({"columns": {"label": 5}, "header": "yes"}, GLUE, "1: `label` must be there, at position 5, but"),
        ({}, b"text\tlabel\tlabel\na\t1\t1\n", "1: `label` must be one column, but 'label' is there twice"),
        ({"header": "yes"}, b"t\xefxt\tlabel\na\t1\n", " looks like Windows-1252 or Latin-1, not UTF-8"),
        ({"header": "yes"}, b"t\0xt\tlabel\na\t1\n", "1: text must not hold NUL"),
        (
            {"columns": {"lable": 1}},
            GLUE,
            " `columns` must name what the task reads, `text`, `label`, but names `lable`",
        ),
    ],
)
def test_columns_that_are_not_there(settings: dict[str, Any], data: bytes, message: str) -> None:
    assert refusal(tsv(**settings), data).startswith(f"train.tsv:{message}")


@pytest.mark.parametrize(
    "settings",
    [
        {"columns": {"text": -1}},
        {"columns": {"text": 1, "label": 1}},
        {"columns": {"text": "review"}, "header": "no"},
        {"delimiter": ""},
        {"delimiter": "\n"},
    ],
)
def test_settings_that_cannot_be(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must"):
        TSVConfig(train_path=HERE, **settings)


def test_d14_paths_without_a_readable_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").write_text("x\ty\n")
    for path, why in [
        (tmp_path / "absent.tsv", "No such file"),
        (tmp_path, "is a folder"),
        (tmp_path / "pipe", "is a pipe or device"),
        (tmp_path / "file" / "below", "Not a directory"),
    ]:
        with pytest.raises(DataError, match=why) as caught:
            tsv().read(path, BOTH)
        assert str(caught.value).startswith(f"{path}: must be a re")


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser reads everything")
def test_d14_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    path = tmp_path / "secret.tsv"
    path.write_bytes(GLUE)
    path.chmod(0)
    with pytest.raises(DataError, match="Permission denied"):
        tsv().read(path, BOTH)


def test_read_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "train.tsv"
    path.write_bytes(GLUE)
    table = tsv().read(path, BOTH)
    assert (table.path, table.skipped, len(table.frame)) == (str(path), 0, 2)


def reference_rows(data: bytes) -> list[tuple[int, str, str]]:
    """The good rows of two columns by position, row by row."""
    lines: list[str | None] = []
    data = data.replace(b"\r", b"\n") if b"\n" not in data and b"\r" in data[:-1] else data
    for raw in data.removeprefix(b"\xef\xbb\xbf").split(b"\n"):
        try:
            text = raw.decode().removesuffix("\r")
            lines.append(None if "\0" in text else text)
        except UnicodeDecodeError:
            lines.append(None)
    while lines and lines[-1] is not None and not lines[-1].strip(" "):
        lines.pop()
    lines = [line if line is None or line.strip(" ") else "" for line in lines]
    widths = Counter(len(line.split("\t")) for line in lines if line)
    usual = max((width for width, count in widths.items() if count == max(widths.values())), default=0)
    good = []
    for number, line in enumerate(lines, start=1):
        cells = [cell.strip(SPACES) for cell in (line or "").split("\t")]
        if line is not None and len(cells) == max(usual, 2) and cells[0] and cells[1]:
            good.append((number, cells[0], cells[1]))
    return good


PIECES = st.sampled_from([b"a", b"1", b"\t", b"\t", b"\n", b"\n", b"\r\n", b" ", b"\r", b"\0", b"\xff", b'"'])
SOUP = st.lists(PIECES | st.sampled_from("é\xa0\u2028\ufeff").map(str.encode)).map(b"".join)


@quick
@given(st.one_of(SOUP, st.binary(), st.text().map(lambda text: text.encode(errors="replace"))))
@example(b"\t\0\na\ta\t\na")
@example(b"\xff\n\xff\na\ta")
def test_tsv_equals_a_plain_reader(data: bytes) -> None:
    assume(not data.startswith((b"\xff\xfe", b"\xfe\xff")))
    expected = reference_rows(data)
    columns = (*TEXT, ColumnSpec("target", input=False))
    layout = {"header": "no", "quotes": "text", "columns": {"text": 0, "target": 1}}
    try:
        table = tsv(**layout, on_bad_row="skip").parse(data, "soup", columns)
    except DataError:
        assert expected == []
        return
    assert rows(table) == expected
    strict = tsv(**layout)
    if table.skipped:
        with pytest.raises(DataError, match=f"{table.skipped} of"):
            strict.parse(data, "soup", columns)
    else:
        assert rows(strict.parse(data, "soup", columns)) == expected


HEADERS = st.sampled_from([b"", b"sentence\tlabel\n", b"text\n", b"label\tx\ttext\n", b"a\tb\n"])


@quick
@given(
    header=HEADERS,
    body=st.one_of(SOUP, st.binary()),
    source=st.sampled_from(
        [
            tsv(),
            tsv(header="yes"),
            tsv(columns={"text": 1, "label": 0}),
            tsv(columns={"label": "b"}, on_bad_row="skip"),
            tsv(delimiter=" "),
            jsonl(),
            jsonl(on_bad_row="skip"),
            text_lines(),
        ]
    ),
    columns=st.sampled_from([TEXT, BOTH]),
)
def test_any_bytes_are_a_table_or_a_data_error(
    header: bytes, body: bytes, source: LineSource[Any], columns: Sequence[ColumnSpec]
) -> None:
    try:
        inputs = source.parse_inputs(header + body, "soup", columns)
        assert inputs.others is not None and len(inputs.others) in (0, len(inputs.frame))
        table = source.parse(header + body, "soup", columns)
    except DataError as error:
        assert str(error).startswith("soup:")
        return
    assert table.frame.columns == ["line", *(column.name for column in columns)]
    assert table.frame.height == 0 or table.frame.null_count().sum_horizontal().item() == 0


# --- JSONL ----------------------------------------------------------------------------------------


def test_jsonl_reads_strings_and_labels_of_other_kinds() -> None:
    data = b"""{"text": " a b ", "label": 1, "id": 7}
{"sentence": "c", "label": true}
{"text": "d", "label": "x"}

"""
    assert rows(jsonl().parse(data, "rows", BOTH)) == [(1, "a b", "1"), (2, "c", "true"), (3, "d", "x")]


@pytest.mark.parametrize(
    ("key", "expected"),
    [("a.text", ["x", "y"]), ("m.words", ["p"]), ("l.0", ["q"]), ("l.1", ["r"]), ("a.b", ["z"])],
)
def test_jsonl_columns_by_dotted_keys_and_from_lists(key: str, expected: list[str]) -> None:
    row = {
        "a": [{"text": "x"}, {"text": "y"}],
        "m": {"words": ["p"]},
        "l": [["q"], ["r"]],
        "a.b": ["z"],
        "n": 1,
    }
    source = jsonl(columns={"words": key})
    columns = (ColumnSpec("words", ColumnType.TEXTS),)
    table = source.parse(json.dumps(row).encode(), "rows", columns)
    assert table.frame["words"].to_list() == [expected]
    first = key if key in row else key[0]
    unread = ", ".join(f"`{name}`" for name in row if name != first)
    assert f"reads `{key}` as `words`; does not read {unread}" in table.notices[0]
    others = source.parse_inputs(json.dumps(row).encode(), "rows", columns).others
    assert others is not None and set(others.columns) == set(row) - {first}


def test_jsonl_columns_by_key() -> None:
    source = jsonl(columns={"text": "review", "label": "stars"})
    data = b'{"review": "fine", "stars": 5, "text": "no"}\n'
    assert rows(source.parse(data, "rows", BOTH)) == [(1, "fine", "5")]
    table = source.parse_inputs(data + b'{"review": "good", "id": [1]}\n', "rows", BOTH)
    assert rows(table) == [(1, "fine"), (2, "good")] and table.others is not None
    assert table.others.to_dict(as_series=False) == {
        "stars": ["5", None],
        "text": ["no", None],
        "id": [None, "[1]"],
    }


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"{", "a row must be a JSON object, but column 2: "),
        (b"[1]", "a row must be a JSON object, but is a list"),
        (b"NaN", "a row must be a JSON object, but is a number"),
        (b"[" * 100_000, "a row must be a JSON object, but is too deep or has too long a number"),
        (b"1" * 10_000, "a row must be a JSON object, but is too deep or has too long a number"),
        (b'{"label": 1}', "`text` must be there, as `text` or `sentence`, but the keys are `label`"),
        (b'{"text": "a", "label": null}', "`label` must be a string, an integer or a boolean, but is null"),
        (b'{"text": 3, "label": 1}', "`text` must be a string, but is a number"),
        (
            b'{"text": "a", "label": 1.5}',
            "`label` must be a string, an integer or a boolean, but is a number",
        ),
        (
            b'{"text": "a", "label": ["x"]}',
            "`label` must be a string, an integer or a boolean, but is a list",
        ),
        (b'{"text": " ", "label": 1}', "`text` must not be empty"),
        (b'{"text": "\\ud800", "label": 1}', "`text` must be text, but has half a surrogate pair"),
    ],
)
def test_d11_jsonl_bad_rows_by_line(line: bytes, message: str) -> None:
    good = b'{"text": "a", "label": 1}\n'
    assert refusal(jsonl(), good + line + b"\n" + good).startswith(f"train.tsv:2: {message}")
    table = jsonl(on_bad_row="skip").parse(good + line + b"\n" + good, "rows", BOTH)
    assert (rows(table), table.skipped) == ([(1, "a", "1"), (3, "a", "1")], 1)


WORDS = st.text(st.characters(codec="utf-8"), min_size=1).map(str.strip).filter(bool)


@quick
@given(st.lists(st.tuples(WORDS, WORDS | st.integers() | st.booleans()), min_size=1))
def test_jsonl_reads_what_json_writes(pairs: list[tuple[str, str | int | bool]]) -> None:
    data = "\n".join(json.dumps({"text": text, "label": label}) for text, label in pairs).encode()
    table = jsonl().parse(data, "rows", BOTH)
    labels = [label if isinstance(label, str) else json.dumps(label) for _, label in pairs]
    assert rows(table) == [(i + 1, text, labels[i]) for i, (text, _) in enumerate(pairs)]


# --- TextLines ------------------------------------------------------------------------------------


def test_raw_and_prepared_text_give_the_same_rows() -> None:
    raw = b" \n = Robert <unk> = \n \n Robert is an actor . \n \n"
    prepared = b" = Robert <unk> = \n Robert is an actor . \n"
    texts = ["= Robert <unk> =", "Robert is an actor ."]
    assert rows(text_lines().parse(raw, "wiki", TEXT)) == list(zip([2, 4], texts, strict=True))
    assert rows(text_lines().parse(prepared, "wiki", TEXT)) == list(zip([1, 2], texts, strict=True))


def test_text_lines_have_one_column() -> None:
    assert refusal(text_lines(), b"a\n") == "train.tsv: lines of text have only `text`, not `label`"
    assert text_lines().parse_inputs(b"a\n", "wiki", BOTH).frame.columns == ["line", "text"]


def test_d14_binary_content_is_reported_by_line() -> None:
    said = (
        'train.tsv: looks like Windows-1252 or Latin-1, not UTF-8: set `"encoding": "cp1252"`, or what it is'
        " (1 of 2 lines are bad; line 2: text must be UTF-8, but byte {} of the line is not)"
    )
    assert refusal(text_lines(), b"a\n\xff\n", TEXT) == said.format(1)
    assert refusal(tsv(), b"a\t1\nna\xefve\t0\n") == said.format(3)
    assert refusal(jsonl(), b'{"text": "a", "label": 1}\n{"text": "\xff", "label": 1}\n') == said.format(11)
    assert rows(text_lines().parse(" \n\xa0 \n".encode(), "wiki", TEXT)) == []
    table = text_lines(on_bad_row="skip").parse(b"a\n\xff\nb\n", "wiki", TEXT)
    assert (rows(table), table.skipped) == ([(1, "a"), (3, "b")], 1)
