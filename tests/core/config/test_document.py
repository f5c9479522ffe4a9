"""Strict JSON with positions, against Python's own parser."""

from __future__ import annotations

import json
import math
import os
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mtl.config.document import MAXIMUM_DEPTH, MAXIMUM_SIZE, Document
from mtl.config.json_path import JSONPath, parse_path, render_path
from mtl.config.json_text import parse_value
from mtl.config.source import from_value, parse, read
from mtl.errors import ConfigError, UsageError

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
texts = st.text(st.characters(exclude_categories=["Cs"]))
values = st.recursive(
    scalars | texts, lambda inner: st.lists(inner) | st.dictionaries(texts, inner), max_leaves=20
)


def leaves(value: Any, path: JSONPath = ()) -> Any:
    yield path, value
    for key, each in (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    ):
        yield from leaves(each, (*path, key))


def rest(text: str, place: tuple[int, int] | None) -> str:
    """The text from a line and column on."""
    assert place is not None
    lines = text.split("\n")
    return "\n".join([lines[place[0] - 1][place[1] - 1 :], *lines[place[0] :]])


@given(values, st.sampled_from([None, 0, 1, "\t", "\r"]), st.booleans())
def test_valid_json_reads_as_with_json_and_every_place_is_known(
    value: Any, indent: Any, ascii_only: bool
) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    document = parse_value(text, "config")
    assert repr(document.value) == repr(json.loads(text))  # repr tells 1 from 1.0 and True
    assert document.problems == []
    for path, each in leaves(value):
        here = rest(text, document.position(path))
        assert json.JSONDecoder().raw_decode(here)[0] == each
        if path and isinstance(path[-1], str):
            assert here != (from_key := rest(text, document.position(path, key=True)))
            assert json.JSONDecoder().raw_decode(from_key)[0] == path[-1]


@given(
    st.text(alphabet='{}[]",:0123456789.eE+- \n\ttrufalsn\\"\x00é\ud800', max_size=40) | st.text(max_size=30)
)
@example("")
@example("\ufeff{}")
@example('{"a": 01}')
@example("[1.]")
@example("-")
@example('"\\ud800"')
@example("1e999")
@example("9" * 5000)
@example("[" * 100_000)
@example('{"a":' * 100_000)
def test_any_text_is_read_as_json_reads_it_or_refused(text: str) -> None:
    def no_constant(name: str) -> Any:
        raise ValueError(name)

    try:
        document = parse_value(text, "config")
    except ConfigError as error:
        assert all(problem.line and problem.column for problem in error.problems)
        return
    if not document.problems:
        assert document.value == json.loads(text.removeprefix("\ufeff"), parse_constant=no_constant)


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ('{"a": 1,}', (1, 8), "`}` must not follow a comma"),
        ('{"a": [1, 2,\n]}', (1, 12), "`]` must not follow a comma"),
        ('{"a": 1 "b": 2}', (1, 9), "a comma or the `}`"),
        ('{\n  "a": 1', (2, 9), "line 1"),
        ("{'a': 1}", (1, 2), "a key in double quotes"),
        ("{\"a\": 'x'}", (1, 7), "double quotes"),
        ('{"a": True}', (1, 7), "write true"),
        ('{"a": 1} // no', (1, 10), "expected the end of the config"),
        ('{"a": // no\n1}', (1, 7), "no comments"),
        ('{"a" 1}', (1, 6), "expected a colon after the key"),
        ('{"a": "tab\there"}', (1, 11), "control character"),
        ('{"a": "open}', (1, 7), "unterminated string"),
        ('{"a": "\\ud800"}', (1, 7), "surrogate"),
        ('{"a": "\\x"}', (1, 8), "escape"),
        ("", (1, 1), "the end"),
        ("[1]", (1, 1), "must be an object"),
        ("\ufeff\n[1]", (2, 1), "must be an object"),
        ('{"a": ' + "[" * 300, (1, 207), "nested deeper"),
    ],
)
def test_what_is_no_json_is_refused_where_it_stands(text: str, place: tuple[int, int], words: str) -> None:
    with pytest.raises(ConfigError, match=r"^config:\d+:\d+: ") as caught:
        parse(text)
    [problem] = caught.value.problems
    assert (problem.line, problem.column) == place
    assert words in f"{problem.message} {problem.hint}"


def test_c4_duplicate_keys_are_all_reported_with_the_line_of_the_first() -> None:
    document = parse('{"a": {"x": 1,\n"x": 2}, "b": 1,\n\n"a": {"y": 1, "y": 2}}')
    found = [(problem.line, problem.column, problem.path, problem.message) for problem in document.problems]
    assert found == [
        (2, 1, "a.x", "`x` is repeated; it is first set in line 1"),
        (4, 1, "a", "`a` is repeated; it is first set in line 1"),
        (4, 15, "a.y", "`y` is repeated; it is first set in line 4"),
    ]
    assert document.value == {"a": {"x": 1}, "b": 1}


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", "9" * 500])
def test_invalid_numbers_are_reported_and_the_rest_is_read(number: str) -> None:
    document = parse(f'{{"a": {number}, "b": 2}}')
    [problem] = document.problems
    assert (problem.path, problem.line, problem.column) == ("a", 1, 7)
    assert document.value["b"] == 2
    assert math.isnan(document.value["a"])


def test_the_position_of_a_missing_key_is_that_of_its_object() -> None:
    document = parse('{\n "a": {"b": [1]}}')
    assert document.position(("a", "b", 0)) == (2, 14)
    assert document.position(("a", "b", 7, "c")) == document.position(("a", "b")) == (2, 13)
    assert document.position(("z",), key=True) == (1, 1)
    assert Document({}, "config").position(("a",)) is None


def test_nesting_up_to_the_limit_is_read() -> None:
    depth = MAXIMUM_DEPTH - 1
    assert parse('{"a":' + "[" * depth + "]" * depth + "}").value


def test_the_places_of_a_deep_document_take_little_memory() -> None:
    """The paths of its values would take twenty megabytes."""
    text = '{"a":' + "[" * 190 + ",".join("1" * 10_000) + "]" * 190 + "}"
    tracemalloc.start()
    parse(text)
    assert tracemalloc.get_traced_memory()[1] < 400 * len(text)
    tracemalloc.stop()


def test_a_text_that_is_too_large_is_refused() -> None:
    with pytest.raises(ConfigError, match="larger"):
        parse(" " * (MAXIMUM_SIZE + 1))


def test_files_that_cannot_be_read_are_usage_errors(tmp_path: Path) -> None:
    latin, large, pipe = (tmp_path / name for name in ("latin.json", "large.json", "pipe"))
    os.mkfifo(pipe)
    latin.write_bytes(b'{\n"a": "\xe9"}')
    large.write_bytes(b" " * (MAXIMUM_SIZE + 2))
    for path, words in [
        (tmp_path, "is a folder"),
        (tmp_path / "none.json", "no such file"),
        (latin / "below", "no such file"),
        (latin, "latin.json:2:7: must be UTF-8, but this byte is not"),
        (pipe, "is a pipe or device"),
        (large, "larger"),
    ]:
        with pytest.raises(UsageError, match=words) as caught:
            read(path)
        assert str(path) in str(caught.value)


@given(st.dictionaries(texts, values, max_size=3))
def test_a_mapping_is_taken_as_it_is(value: dict[str, Any]) -> None:
    assert from_value(value).value == value


def test_a_mapping_that_is_not_json_is_refused() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(ConfigError) as caught:
        from_value({"a": {1: 2}, "b": {3}, "c": loop, "d": (1, Path("x"))})
    assert [problem.path for problem in caught.value.problems] == ["a", "b", "c[0][0]"]
    with pytest.raises(ConfigError, match="lone surrogate") as caught:
        from_value({"a": "\ud800", "b": [Path("\udcff")], "c": {"\udcff": 1}})
    assert [problem.path for problem in caught.value.problems] == ["a", "b[0]", "c"]
    assert from_value({"d": (1, Path("x"))}).value == {"d": [1, "x"]}


@given(st.lists(st.text(min_size=1) | st.integers(0, 10**8), min_size=1).map(tuple))
def test_a_path_reads_back_as_it_was_written(path: JSONPath) -> None:
    assert parse_path(render_path(path)) == path


@pytest.mark.parametrize(
    "text", ["", ".a", "a.", "a..b", "a[", "a[x]", "a[-1]", "a[01]", "[0]a", 'a["x]', "a b"]
)
def test_what_is_no_path_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="path"):
        parse_path(text)
