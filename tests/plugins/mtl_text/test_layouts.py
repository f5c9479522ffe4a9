"""Tables as people publish them: read as the config says, or refused with the setting that reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtl import ColumnSpec, ColumnType, DataError, InputPaths, Table
from mtl_text import JSONL, TSV, JSONLConfig, TSVConfig

HERE = InputPaths(Path("train"))
TEXT = ColumnSpec("text")
LABEL = ColumnSpec("label", input=False)
LABELS = ColumnSpec("labels", ColumnType.TEXTS, input=False)
BOTH = (TEXT, LABEL)
TEXTS = ["a warm and lovely film", "dull , stale and slow", "we saw a bright plot"]
REVIEWS = [(f"{TEXTS[number % 3]} {number}", "101"[number % 3]) for number in range(12)]


def tsv(data: str, reads: Any = BOTH, /, **options: Any) -> Table:
    return TSV(TSVConfig(train_path=HERE, **options)).parse(data.encode(), "rows", reads)


def jsonl(data: str, reads: Any = BOTH, /, **options: Any) -> Table:
    return JSONL(JSONLConfig(train_path=HERE, **options)).parse(data.encode(), "rows", reads)


def refusal(data: str, reads: Any = BOTH, /, **options: Any) -> str:
    with pytest.raises(DataError) as caught:
        tsv(data, reads, **options)
    return str(caught.value)


def table(*cells: str, header: str = "", sep: str = "\t") -> str:
    """A row for each review, with these formats for cells, in which T is its text and L its label."""
    rows = [sep.join(cell.format(T=text, L=label) for cell in cells) for text, label in REVIEWS]
    return header + "".join(f"{row}\n" for row in rows)


def texts_and_labels(found: Table) -> list[tuple[str, str]]:
    return found.frame.select("text", "label").rows()


# --- columns -------------------------------------------------------------------------------------------

COLA = table("gj04", "{L}", "*", "{T}")


def test_a_headerless_table_with_more_columns_is_refused_until_they_are_named() -> None:
    message = refusal(COLA)
    assert message.startswith("rows: has 4 columns, and no header with a name that the task reads")
    assert '`"columns": {"text": N, "label": N}`' in message
    assert "0: 'gj04', 1: '1', 2: '*', 3: 'a warm and lovely film 0'" in message
    assert refusal(COLA, columns={"label": 1}) == message
    found = tsv(COLA, columns={"text": 3, "label": 1})
    assert texts_and_labels(found) == REVIEWS
    assert found.notices == [
        "rows: reads `column 3` as `text`, `column 1` as `label`; does not read `column 0`, `column 2`"
    ]


def test_a_header_with_more_names_is_read_with_a_notice() -> None:
    found = tsv(table("7", "what ?", "{T}", "{L}", header="index\tquestion\tsentence\tlabel\n"))
    assert texts_and_labels(found) == REVIEWS
    assert found.notices == ["rows: reads `sentence` as `text`, `label`; does not read `index`, `question`"]
    assert tsv(table("{T}", "{L}", header="sentence\tlabel\n")).notices == []
    assert tsv(table("{T}", "{L}")).notices == []


def test_a_header_without_the_label_is_no_row() -> None:
    message = refusal(table("7", "{T}", header="index\tsentence\n"))
    assert message.startswith(
        "rows:1: `label` must be there, as `label`, but the header has `index`, `sentence`"
    )
    table_of_rows = tsv("sentence\t0\n" + table("{T}", "{L}"), header="no")
    assert len(table_of_rows.frame) == len(REVIEWS) + 1


@given(
    st.lists(st.sampled_from(["id", "index", "source", "year"]), unique=True, max_size=3).flatmap(
        lambda others: st.permutations(["text", "label", *others])
    ),
    st.sampled_from(["names", "positions", "nothing"]),
    st.booleans(),
)
def test_any_table_is_read_by_names_or_positions_or_refused_with_the_setting(
    names: list[str], by: str, has_header: bool
) -> None:
    cells = {"text": "{T}", "label": "{L}"}
    header = "\t".join(names) + "\n" if has_header else ""
    data = table(*(cells.get(name, f"its {name}") for name in names), header=header)
    others = [name for name in names if name not in cells]
    if by == "positions":
        places: dict[str, str | int] = {name: names.index(name) for name in cells}
        found = tsv(data, columns=places, header="yes" if has_header else "no")
    elif by == "names" and has_header:
        found = tsv(data, columns={name: name for name in cells})
    elif has_header or names == ["text", "label"]:
        found = tsv(data)
    else:
        assert '`"columns": {"text": ' in refusal(data)
        return
    assert texts_and_labels(found) == REVIEWS
    assert bool(others) == any("does not read" in notice for notice in found.notices)
    if has_header:
        assert all(f"`{name}`" in found.notices[0] for name in others)


def test_label_first_is_refused_with_the_setting_for_it() -> None:
    message = refusal(table("{L}", "{T}"))
    assert message.startswith(
        "rows: has no header, and column 0 looks like `label`, with 2 values such as '1'"
    )
    assert '`"columns": {"text": 1, "label": 0}`' in message
    assert texts_and_labels(tsv(table("{L}", "{T}"), columns={"text": 1, "label": 0})) == REVIEWS
    as_is = tsv(table("{L}", "{T}"), columns={"text": 0, "label": 1})
    assert as_is.frame["text"].to_list() == [label for _, label in REVIEWS]


def test_lines_of_fasttext_are_read_as_such() -> None:
    assert texts_and_labels(tsv(table("__label__{L} {T}"))) == REVIEWS
    several = "__label__ok __label__rude a b\n __label__ok c\n"
    found = tsv(several, (TEXT, LABELS))
    assert found.frame.select("text", "labels").rows() == [("a b", ["ok", "rude"]), ("c", ["ok"])]
    why = "a line of fastText must have one label, as `__label__x`, and a text"
    assert refusal(several).startswith(f"rows:1: {why}")
    assert refusal("__label__a x\nno label\n").startswith(f"rows:2: {why}")
    stated = refusal(table("__label__{L} {T}"), delimiter=" ", columns={"text": 1, "label": 0}, header="no")
    assert stated.startswith("rows: looks like fastText lines (`__label__x text`), which are read as such if")


def test_keys_that_are_not_read_are_named() -> None:
    rows = '{"question": "q", "answer": true, "passage": "a b"}\n'
    found = jsonl(rows, columns={"text": "passage", "label": "answer"})
    assert found.notices == ["rows: reads `passage` as `text`, `answer` as `label`; does not read `question`"]


# --- other formats -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        table('"7"', '"{T}"', '"{L}"', sep=",", header='"id","text","label"\n'),
        table('"{T}"', '"{L}"', sep=","),
        table('"{L}"', "7", '"{T}"', sep=","),
        table('"{T}"', "{L}"),
    ],
    ids=["comma", "no header", "some columns", "tabs"],
)
@pytest.mark.parametrize("options", [{}, {"on_bad_row": "skip", "max_skipped_share": 1}])
def test_quoted_csv_is_named(data: str, options: dict[str, Any]) -> None:
    delimiter = "," if '",' in data else "\t"
    message = refusal(data, delimiter=delimiter, **options)
    assert message.startswith("rows: looks like quoted CSV: use the data source `CSV`")


def test_a_comma_in_quotes_is_the_cause_of_bad_rows() -> None:
    data = "text,label\n" + "a film,1\na scene,0\n" * 3 + '"warm, and lovely",1\n'
    assert refusal(data, delimiter=",") == (
        "rows: looks like quoted CSV: use the data source `CSV` (1 of 8 lines are bad; line 8: a row must"
        " have 2 columns, but has 3 columns)"
    )
    lenient = {"delimiter": ",", "on_bad_row": "skip"}
    assert "quoted CSV" in refusal(data, **lenient, max_skipped_share=0.1)


def test_quotes_can_be_text() -> None:
    data = table('"{T}"', "{L}")
    assert tsv(data, quotes="text").frame["text"][0] == f'"{REVIEWS[0][0]}"'


@pytest.mark.parametrize(("delimiter", "name"), [(",", "commas"), (";", "semicolons"), ("|", "bars")])
def test_another_delimiter_is_named(delimiter: str, name: str) -> None:
    rows = [(text.replace(",", ""), label) for text, label in REVIEWS]
    data = "".join(f"{text}{delimiter}{label}\n" for text, label in rows)
    message = refusal(data)
    assert message.startswith(f'rows: cells look separated by {name}: set `"delimiter": "{delimiter}"`')
    assert message.endswith("(12 of 12 lines are bad; line 1: a row must have 2 columns, but has 1 column)")
    assert texts_and_labels(tsv(data, delimiter=delimiter)) == rows


def test_json_in_the_wrong_source_is_named() -> None:
    rows = '{"text": "a b", "label": 1}\n'
    assert refusal(rows * 3) == "rows: looks like JSON lines: use the data source `JSONL`"
    for data, kind in [
        (f"[\n{rows}]", "a JSON array"),
        (f"[{rows}]", "a JSON array"),
        ("{\n}", "objects over"),
    ]:
        with pytest.raises(DataError, match=f"rows: must be one JSON object per line, but looks like {kind}"):
            jsonl(data)


def test_skipping_is_suggested_for_a_few_unrelated_rows_only() -> None:
    good, bad = table("{T}", "{L}"), "no tab here\n"
    assert '"on_bad_row": "skip"' in refusal(good * 3 + bad)
    assert '"on_bad_row": "skip"' not in refusal(good + bad * 6)
    assert tsv(good * 3 + bad, on_bad_row="skip").skipped == 1
    message = refusal(good + bad * 6, on_bad_row="skip")
    assert message.endswith(
        "6 of 18 lines are bad; `max_skipped_share` allows 5.00% of the rows to be skipped"
    )
    assert tsv(good + bad * 6, on_bad_row="skip", max_skipped_share=0.5).skipped == 6


# --- types ---------------------------------------------------------------------------------------------

CELLS = st.one_of(
    st.integers().map(str),
    st.floats().map(str),
    st.sampled_from(["", " 7 ", "+1", "1.0", "1e3", "nan", "inf", "x", "1,2", "a, b", ",", "9" * 30, "٣"]),
    st.text(st.characters(exclude_categories=["C", "Z"]), max_size=5),
)


def expected_value(cell: str, type_: ColumnType) -> Any:
    """The value of a cell in plain Python; `ValueError` for what is none."""
    if type_ is ColumnType.TEXT:
        return cell
    if type_ is ColumnType.FLOAT:
        value = float(cell)
    elif type_ is ColumnType.INTEGER:
        value = int(cell)
    else:
        items = [item.strip() for item in cell.split(",")]
        inner = ColumnType.TEXT if type_ is ColumnType.TEXTS else ColumnType.INTEGER
        if not all(items):
            raise ValueError
        return [expected_value(item, inner) for item in items]
    if not cell.isascii() or "_" in cell or not type_.holds(value):
        raise ValueError
    return value


@settings(deadline=None, max_examples=200)
@given(st.lists(CELLS, min_size=1, max_size=8), st.sampled_from(ColumnType), st.booleans())
def test_typed_cells_equal_a_plain_reader(cells: list[str], type_: ColumnType, optional: bool) -> None:
    column = ColumnSpec("x", type_, input=False, may_be_empty=optional)
    options: dict[str, Any] = {"header": "no", "quotes": "text", "columns": {"text": 0, "x": 1}}
    good: list[tuple[int, Any]] = []
    for number, cell in enumerate(map(str.strip, cells), start=1):
        try:
            value = None if not cell else expected_value(cell, type_)
        except ValueError:
            continue
        if cell or optional:
            good.append((number, value))
    data = "".join(f"a b\t{cell}\n" for cell in cells)
    found = tsv(data, (TEXT, column), **options, on_bad_row="skip", max_skipped_share=1)
    assert found.frame.select("line", "x").rows() == good
    assert found.skipped == len(cells) - len(good)


def test_a_cell_of_the_wrong_type_is_named_with_its_place() -> None:
    score = ColumnSpec("score", ColumnType.FLOAT, input=False)
    assert refusal("text\tscore\na b\t1\nwarm\tx\n", (TEXT, score)).startswith(
        "rows:3:6: `score` must be a number, but is 'x'"
    )
    numbers = ColumnSpec("ids", ColumnType.INTEGERS)
    assert refusal("ids\n1,x\n", (numbers,)).startswith(
        "rows:2:1: `ids` must be a list of integers, but is '1,x'"
    )
    with pytest.raises(
        DataError, match=r"`list_separator` must not hold the `delimiter`, ',', as `ids` is a list"
    ):
        tsv("1,2\n", (numbers,), delimiter=",")


JSON_VALUES: list[tuple[ColumnType, str, Any]] = [
    (ColumnType.INTEGER, "3", 3),
    (ColumnType.FLOAT, "3", 3.0),
    (ColumnType.FLOAT, "3.5", 3.5),
    (ColumnType.TEXTS, '["a", "b c"]', ["a", "b c"]),
    (ColumnType.INTEGERS, "[1, 2]", [1, 2]),
    (ColumnType.TEXT, '" a "', "a"),
    (ColumnType.INTEGER, "3.0", "an integer"),
    (ColumnType.INTEGER, "true", "an integer"),
    (ColumnType.INTEGER, "9" * 30, "an integer"),
    (ColumnType.FLOAT, "NaN", "a number"),
    (ColumnType.FLOAT, '"1"', "a number"),
    (ColumnType.TEXTS, '"a"', "a list of strings"),
    (ColumnType.TEXTS, "[1]", "a list of strings"),
    (ColumnType.INTEGERS, "[1, null]", "a list of integers"),
]


@pytest.mark.parametrize(("type_", "json", "expected"), JSON_VALUES)
def test_json_gives_values_of_each_type(type_: ColumnType, json: str, expected: Any) -> None:
    column = ColumnSpec("x", type_)
    if isinstance(expected, str) and expected != "a":
        with pytest.raises(DataError, match=f"rows:1: `x` must be {expected}, but is"):
            jsonl(f'{{"x": {json}}}\n', (column,))
    else:
        assert jsonl(f'{{"x": {json}}}\n', (column,)).frame["x"].to_list() == [expected]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (["1", '"1"', "0"], '1 in some rows and "1" in others'),
        (["true", '" true"', "false"], 'true in some rows and "true" in others'),
        (['"1"', '"0"'], ""),
        (["1", "0", '"x"'], ""),
    ],
)
def test_labels_that_are_strings_in_some_rows_only_are_noticed(values: list[str], said: str) -> None:
    found = jsonl("".join(f'{{"text": "a b", "label": {value}}}\n' for value in values * 2))
    expected = [f"rows: `label` is {said}; they are read as one label"] if said else []
    assert list(found.notices) == expected
    inputs = JSONL(JSONLConfig(train_path=HERE)).parse_inputs(
        f'{{"text": "a", "label": {values[0]}}}\n'.encode(), "rows", BOTH
    )
    assert inputs.notices == []


def test_null_and_empty_lists_are_distinguished() -> None:
    column = ColumnSpec("x", ColumnType.TEXTS, may_be_empty=True)
    rows = '{"x": []}\n{"x": null}\n{}\n{"x": ["a"]}\n'
    assert jsonl(rows, (column,)).frame["x"].to_list() == [[], None, None, ["a"]]
    with pytest.raises(DataError, match="4 lines are bad"):
        jsonl(rows, (ColumnSpec("x", ColumnType.TEXTS),), on_bad_row="skip")
