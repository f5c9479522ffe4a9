"""YAML and TOML beside JSON: the same values, the same places, the same mistakes."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

import pytest
import tomlkit
from hypothesis import example, given
from hypothesis import strategies as st

from mtl.config.document import MAXIMUM_DEPTH, MAXIMUM_SIZE, Document
from mtl.config.json_path import JSONPath
from mtl.config.json_text import parse_value
from mtl.config.source import Format, parse, read
from mtl.config.toml_text import parse_value as parse_toml
from mtl.config.writing import rewritten, written
from mtl.config.yaml_text import MAXIMUM_ALIASED
from mtl.config.yaml_text import parse_value as parse_yaml
from mtl.errors import ConfigError, UsageError

Refused = Any
texts = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufeff"), max_size=10)
scalars = st.booleans() | st.integers(-(10**30), 10**30) | st.floats(allow_nan=False, allow_infinity=False)
keys = st.text("abcdefgh -._\"'é", min_size=1, max_size=8)


def objects(leaves: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    inner = st.recursive(leaves, lambda each: st.lists(each) | st.dictionaries(keys, each), max_leaves=12)
    return st.dictionaries(keys, inner)


def leaves(value: Any, path: JSONPath = ()) -> Any:
    yield path, value
    for key, each in (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    ):
        yield from leaves(each, (*path, key))


@given(objects(scalars | texts | st.none()), st.sampled_from([None, 1, 4]))
def test_json_text_is_read_as_yaml_with_the_same_values_and_places(value: Any, indent: Any) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    one, other = parse_value(text, "config"), parse_yaml(text, "config")
    assert repr(one.value) == repr(other.value) and not other.problems
    for path, _ in leaves(value):
        for key in (False, True):
            assert one.position(path, key=key) == other.position(path, key=key)


@given(objects(scalars | texts | st.none()))
def test_yaml_is_read_as_it_was_written(value: Any) -> None:
    document = parse(written(value, Format.YAML), format=Format.YAML)
    assert repr(document.value) == repr(value) and not document.problems
    assert all(document.position(path) for path, _ in leaves(value))


@given(objects(scalars | texts))
def test_toml_is_read_as_it_was_written(value: Any) -> None:
    document = parse(written(value, Format.TOML), format=Format.TOML)
    assert json.dumps(document.value, sort_keys=True) == json.dumps(value, sort_keys=True)


@given(objects(st.just(0)))
def test_each_value_of_toml_has_its_place(shape: Any) -> None:
    numbers = iter(range(1000, 9999))

    def numbered(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: numbered(each) for key, each in value.items()}
        return [numbered(each) for each in value] if isinstance(value, list) else next(numbers)

    text = tomlkit.dumps(numbered(shape))
    document = parse_toml(text, "config")
    lines = text.split("\n")
    for path, value in leaves(document.value):
        if isinstance(value, int):
            line, column = document.position(path) or (0, 0)
            assert lines[line - 1][column - 1 :].startswith(str(value))
        if path and isinstance(path[-1], str):
            line, column = document.position(path, key=True) or (0, 0)
            rest = lines[line - 1][column - 1 :]
            assert rest.startswith(path[-1]) or rest[0] in "\"'"


@given(
    st.text(alphabet="[]{}=.,#\"'\\ \n\tab01-:é\x00", max_size=40),
)
@example("a = 1\n[a]\n")
@example("a.b = 1\n[a]\nc = 2")
@example("[[a]]\n[a]\n")
@example("a = {b = 1, b = [{c = 1, c = 2}]}\n[d]\n[d]\nx = {y = 1, y = 2}")
@example("[a]\n[a]\n[b]\n[b]\nc = 1")
@example("a = " + "[" * 100_000)
@example("a" + ".a" * 100_000 + " = 1")
@example("[" + "a." * 100_000 + "a]")
@example("a = " + "9" * 5000)
def test_any_text_is_read_as_tomllib_reads_it_or_refused(text: str) -> None:
    try:
        document = parse_toml(text, "config")
    except ConfigError as error:
        assert all(problem.line and problem.column for problem in error.problems)
        return
    if not document.problems:
        assert document.value == tomllib.loads(text)


@given(st.text(alphabet="[]{}:,#\"'\\ \n\tab01-&*!?|>%@`é\x00\x85~<", max_size=40) | st.text(max_size=30))
@example("[" * 100_000)
@example("- " * 100_000)
@example("? " * 100_000)
@example("{a: " * 100_000)
@example("a: &a [*a]")
@example("&a a: *a")
@example('a: "\\U00FFFFFF"')
@example("%YAML 9999999999999999999.1\n--- a")
@example("%TAG ! !\n--- a")
@example("'" + "\n" * 1000)
def test_any_text_is_read_as_yaml_or_refused(text: str) -> None:
    try:
        document = parse_yaml(text, "config")
    except ConfigError as error:
        assert all(problem.line and problem.column for problem in error.problems)
    else:
        json.dumps(document.value).encode()


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("a: !!python/object/apply:os.system [ls]", (1, 4), "must have no tags"),
        ("a: ! b", (1, 4), "must have no tags"),
        ("b: &b {x: 1}\na:\n  <<: *b", (3, 3), "merge keys"),
        ("a: *b", (1, 4), "there is no such anchor"),
        ("a: &a [*a]", (1, 8), "there is no such anchor"),
        ("a: 1\n---\nb: 1", (2, 1), "one document"),
        ("%YAML 1.1\n---\na: 1", (1, 1), "YAML 1.2"),
        ("a:\n\t- 1", (2, 1), "invalid YAML"),
        ("a: [1\nb: 2", (2, 2), "of line 1"),
        ("a: 'open", (1, 9), "invalid YAML"),
        ("a: 1\n b: 2", (2, 3), "invalid YAML"),
        ("[a]: 1", (1, 1), "a key must be a string"),
        ('a: "\\ud800"', (1, 4), "surrogate"),
        ("a: \x07", (1, 4), "invalid YAML"),
        ("- a", (1, 1), "must be an object"),
        ("", (1, 1), "must be an object"),
        ("a: " + "[" * 300, (1, 204), "nested deeper"),
    ],
)
def test_what_is_no_yaml_of_ours_is_refused_where_it_stands(
    text: str, place: tuple[int, int], words: str
) -> None:
    _is_refused(text, Format.YAML, place, words)


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("a = 1 2", (1, 7), "invalid TOML: expected newline"),
        ("a = 'open", (1, 10), "invalid TOML"),
        ("a = nope", (1, 5), "invalid TOML: invalid value"),
        ("a = 1\na.b = 2", (2, 8), "cannot overwrite"),
        ("[a\n", (1, 3), "invalid TOML: expected ']'"),
        ("a = \x07", (1, 5), "invalid TOML"),
        ("a = " + "[" * 300, (1, 205), "nested deeper"),
        ("a = " + "9" * 5000, (1, 5), "finite number"),
    ],
)
def test_what_is_no_toml_is_refused_where_it_stands(text: str, place: tuple[int, int], words: str) -> None:
    _is_refused(text, Format.TOML, place, words)


def _is_refused(text: str, format: Format, place: tuple[int, int], words: str) -> None:
    with pytest.raises(ConfigError, match=r"^config:\d+:\d+: ") as caught:
        parse(text, format=format)
    [problem] = caught.value.problems
    assert (problem.line, problem.column) == place
    assert words in f"{problem.message} {problem.hint}"


def test_yaml_has_the_values_of_its_core_schema_alone() -> None:
    text = "[yes, no, on, off, y, 2020-01-01, 1_000, 12:30, 0o17, 0x1F, +1, 1e-3, .5, 1., null, ~, True, '1']"
    assert parse_yaml(text, "config").value == [
        *["yes", "no", "on", "off", "y", "2020-01-01", "1_000", "12:30", 15, 31, 1, 0.001, 0.5, 1.0],
        *[None, None, True, "1"],
    ]
    assert parse_yaml("1: a\nnull: b\n2.0: c\n", "config").value == {"1": "a", "null": "b", "2.0": "c"}


@pytest.mark.parametrize(
    ("text", "format"),
    [
        ("a: .inf\nb: 1e999\nc: [-.INF]\n", Format.YAML),
        ("a = inf\nb = 1e999\nc = [-inf]\n", Format.TOML),
    ],
)
def test_numbers_that_are_not_finite_are_reported_together(text: str, format: Format) -> None:
    document = parse(text, format=format)
    assert [problem.line for problem in document.problems] == [1, 2, 3]
    assert all("must be a finite number" in problem.message for problem in document.problems)
    assert math.isnan(document.value["a"])


def test_a_date_of_toml_is_reported() -> None:
    [problem] = parse("a = [1979-05-27 07:32:00]", format=Format.TOML).problems
    assert (problem.path, problem.line, problem.column) == ("a[0]", 1, 6)
    assert "date" in problem.message and "quotes" in problem.hint


def test_what_is_set_twice_in_toml_is_reported_everywhere() -> None:
    text = """a = 1
a = 2
b.c = 3
b.c = 4
[t]
x = 1
[t]
x = [ # a comment
  2]
[t.u]
y = {a = 1, "a" = 2}
"""
    document = parse(text, format=Format.TOML)
    assert document.value == {"a": 1, "b": {"c": 3}, "t": {"x": 1, "u": {"y": {"a": 1}}}}
    found = [(each.path, each.line, each.column) for each in document.problems]
    assert found == [("a", 2, 1), ("b.c", 4, 3), ("t", 7, 2), ("t.u.y.a", 11, 13)]


def test_a_mistake_in_an_alias_is_shown_at_its_anchor() -> None:
    document = parse("a: &x\n  b: 1\nc: *x\n", format=Format.YAML)
    assert document.position(("c",)) == (3, 4)
    assert document.position(("c", "b")) == (2, 6)
    document.value["c"]["b"] = 2
    assert document.value["a"] == {"b": 1}


def test_an_alias_bomb_is_refused_at_once() -> None:
    lines = ["a0: &a0 [" + "x, " * 9 + "x]"]
    lines += [f"a{n}: &a{n} [" + ", ".join([f"*a{n - 1}"] * 10) + "]" for n in range(1, 12)]
    began = time.monotonic()
    with pytest.raises(ConfigError, match=f"{MAXIMUM_ALIASED:,}"):
        parse("\n".join(lines), format=Format.YAML)
    assert time.monotonic() - began < 5
    deep = "\n".join(["a0: &a0 [x]", *(f"a{n}: &a{n} [*a{n - 1}]" for n in range(1, MAXIMUM_DEPTH + 5))])
    with pytest.raises(ConfigError, match="nested deeper"):
        parse(deep, format=Format.YAML)


@pytest.mark.parametrize("ending", ["yaml", "yml", "YAML", "toml"])
def test_files_are_read_by_their_ending(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"config.{ending}"
    path.write_text("\ufeffseed = 3\n" if ending == "toml" else "\ufeffseed: 3\n", encoding="utf-8")
    assert read(path).value == {"seed": 3}
    path.write_bytes(b"\xff")
    with pytest.raises(UsageError, match=r":1:1: must be UTF-8"):
        read(path)
    path.write_text("#" + " " * MAXIMUM_SIZE)
    with pytest.raises(ConfigError, match="must not be larger"):
        read(path)


def test_the_parsers_are_imported_for_files_that_need_them() -> None:
    code = """
import sys
from mtl.config.source import Format, parse
parse('{"a": 1}')
assert not {"ruamel.yaml", "tomlkit", "tomllib"} & set(sys.modules)
parse("a = 1", format=Format.TOML)
assert not {"ruamel.yaml", "tomlkit"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


# --- mistakes -------------------------------------------------------------------------------------------

MISTAKES = {
    Format.JSON: """{
  "$schema": "mtl.schema.json",
  "base_dir": "BASE",
  "seed": -1,
  "device": "tpu",
  "sed": 1,
  "seed": 2,
  "tasks": {
    "sort": {"SortTask": {"data": {"train_path": "none.txt", "spit": 1}}},
    "guess": {"GessTask": {}},
    "a.b": {"SortTask": {"data": {"train_path": "rows.txt"}}}
  },
  "trainer": {
    "epochs": "three",
    "optimizer": {"Adam": {"lr": 1e999}},
    "keep_model": null,
    "max_clip_norm": true
  },
  "phases": [{"steps": 0}]
}
""",
    Format.YAML: """$schema: mtl.schema.json
base_dir: "BASE"
seed: -1
device: tpu
sed: 1
seed: 2
tasks:
  sort:
    SortTask: {data: {train_path: none.txt, spit: 1}}
  guess: {GessTask: {}}
  a.b: {SortTask: {data: {train_path: rows.txt}}}
trainer:
  epochs: three  # no number
  optimizer:
    Adam: {lr: 1e999}
  keep_model: ~
  max_clip_norm: true
phases:
- steps: 0
""",
    Format.TOML: """"$schema" = "mtl.schema.json"
base_dir = "BASE"
seed = -1
device = "tpu"
sed = 1
seed = 2
[tasks.sort.SortTask.data]
train_path = "none.txt"
spit = 1
[tasks]
guess = {GessTask = {}}
"a.b" = {SortTask = {data = {train_path = "rows.txt"}}}
[trainer]
epochs = "three"  # no number
optimizer.Adam.lr = 1e999
keep_model = []
max_clip_norm = true
[[phases]]
steps = 0
""",
}


def test_the_same_mistakes_are_shown_at_their_places_in_each_format(
    refused: Refused, base_dir: Path, tmp_path: Path
) -> None:
    found = {}
    for format, text in MISTAKES.items():
        path = tmp_path / f"config.{format.lower()}"
        path.write_text(text.replace("BASE", base_dir.as_posix()))
        lines = path.read_text().split("\n")
        problems = refused(path)
        shown = {each.path: lines[each.line - 1][each.column - 1 :] for each in problems}
        assert len(shown) == len(problems) == 12
        found[format] = shown
        for mistake, rest in shown.items():
            key = mistake.rpartition(".")[2].split("[")[0]
            about_a_value = {
                "seed": ("seed", '"seed', "2"),
                "device": ("tpu", '"tpu'),
                "train_path": ("none", '"none'),
                "epochs": ("three", '"three'),
                "lr": ("1e999",),
                "keep_model": ("null", "~", "[]"),
                "max_clip_norm": "true",
                "phases": ('{"steps', "steps", "[[phases"),
                "steps": "0",
            }
            expected = about_a_value.get(key, (key, f'"{key}'))
            assert rest.startswith(expected), (mistake, rest)
    assert found[Format.JSON].keys() == found[Format.YAML].keys() == found[Format.TOML].keys()


# --- writing --------------------------------------------------------------------------------------------

YAML_TEXT = """# A run.
seed: 3  # lucky
tasks:
    A:  # the first
        # its settings
        Old:
            rows: [1, 2]  # kept
            gone: 1
            'quoted': "text"
    B:
        -   x: 1
        -   y: 2
# the end
"""
TOML_TEXT = """# A run.
seed = 3  # lucky

[tasks.A.Old] # the first
# its settings
rows = [1, 2]  # kept
gone = 1
'quoted' = "text"

[[tasks.B]]
x = 1
[[tasks.B]]
y = 2
# the end
"""


@pytest.mark.parametrize(
    ("text", "format", "gone", "old", "new"),
    [
        (YAML_TEXT, Format.YAML, "            gone: 1\n", "Old:", "New:"),
        (TOML_TEXT, Format.TOML, "gone = 1\n", ".Old]", ".New]"),
    ],
)
def test_a_changed_text_keeps_its_comments(text: str, format: Format, gone: str, old: str, new: str) -> None:
    value = parse(text, format=format).value
    assert rewritten(text, format, value) == (text, "")
    task = value["tasks"]["A"].pop("Old")
    del task["gone"]
    value["tasks"]["A"]["New"] = task
    value["seed"] = 4
    result, lost = rewritten(text, format, value)
    assert lost == ""
    assert result == text.replace(gone, "").replace(old, new).replace("3", "4")


@given(objects(st.integers(0, 3)), objects(st.integers(0, 3)), st.sampled_from([Format.YAML, Format.TOML]))
def test_a_changed_text_has_the_wanted_value(before: Any, after: Any, format: Format) -> None:
    result, _ = rewritten(written(before, format), format, after)
    assert json.dumps(_value(result, format), sort_keys=True) == json.dumps(after, sort_keys=True)


def _value(text: str, format: Format) -> Any:
    document: Document = parse(text, format=format)
    return document.value


def test_null_is_not_written_as_toml() -> None:
    with pytest.raises(UsageError, match=r"`trainer\.a\[0\]` is null, which TOML does not have"):
        written({"trainer": {"a": [None]}}, Format.TOML)
