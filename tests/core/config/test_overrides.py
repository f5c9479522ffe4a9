"""`--set PATH=VALUE`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtl.config.json_path import render_path
from mtl.config.overrides import override
from mtl.config.source import parse
from mtl.suggest import command_line

names = st.text(min_size=1)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=5,
)


@pytest.fixture(autouse=True)
def on_command_line(request: pytest.FixtureRequest) -> Iterator[None]:
    """Messages name `--set`, unless the test is of Python."""
    if "python" in request.node.name:
        yield
        return
    with command_line():
        yield


def overridden(value: dict[str, Any], *texts: str) -> dict[str, Any]:
    document = parse(json.dumps(value))
    override(document, texts)
    assert document.problems == []
    return dict(document.value)


@given(st.lists(names, min_size=1, max_size=4).map(tuple), values)
def test_a_value_is_found_where_it_was_set(path: tuple[str, ...], value: Any) -> None:
    found: Any = overridden({}, f"{render_path(path)}={json.dumps(value)}")
    for key in path:
        assert list(found) == [key]
        found = found[key]
    assert found == value


@given(st.dictionaries(names, values), names, values)
def test_nothing_else_is_changed(before: dict[str, Any], key: str, value: Any) -> None:
    assert overridden(before, f"{render_path((key,))}={json.dumps(value)}") == {**before, key: value}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("3.5", 3.5),
        ("true", True),
        ("null", None),
        ('"3"', "3"),
        ("True", "True"),
        ("SGD", "SGD"),
        ("a=b", "a=b"),
        ("", ""),
        ("[1, 2]", [1, 2]),
        ('{"SGD": {"lr": 1}}', {"SGD": {"lr": 1}}),
        ('1, "b": 2', '1, "b": 2'),
        ("../x y", "../x y"),
    ],
)
def test_a_value_is_json_or_else_a_string(text: str, value: Any) -> None:
    assert overridden({}, f"a={text}") == {"a": value}


@pytest.mark.parametrize(
    ("before", "text", "after"),
    [
        ({"a": "Adam"}, "a.Adam.lr=1", {"a": {"Adam": {"lr": 1}}}),
        ({"a": "Adam"}, "a.lr=1", {"a": {"Adam": {"lr": 1}}}),
        ({"a": ["N", {"M": {}}]}, "a[0].x=1", {"a": [{"N": {"x": 1}}, {"M": {}}]}),
        ({"a": [1, 2]}, "a[1]=3", {"a": [1, 3]}),
        ({"a": None}, "a.b=1", {"a": {"b": 1}}),
        ({"a": {"b": 1}}, "a=2", {"a": 2}),
        ({"a.b": 1}, '["a.b"]=2', {"a.b": 2}),
    ],
)
def test_an_override_extends_existing_settings(before: Any, text: str, after: Any) -> None:
    assert overridden(before, text) == after


def test_later_overrides_win() -> None:
    assert overridden({}, "a.b=1", "a.c=2", "a.b=3") == {"a": {"b": 3, "c": 2}}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("trainer.epochs", "PATH=VALUE"),
        ("=3", "the path is empty"),
        ("a..b=3", "is not a path"),
        ("[0]=3", "must begin with a key"),
        ("n.b=3", "`n` has no settings: it is 7"),
        ("l.b=3", "`l` has no settings"),
        ("l[1]=3", r"there is no `l\[1\]`"),
        ("x[0]=3", r"there is no `x\[0\]`"),
        ("a=[1,", "the value must be JSON"),
        ('a={"b": 1, "b": 2}', "`b` is repeated"),
        ("a=NaN", "finite"),
    ],
)
def test_an_override_that_cannot_be_is_a_problem_that_names_it(text: str, words: str) -> None:
    document = parse('{"n": 7, "l": [1]}')
    override(document, [text, "ok=1", text])
    assert document.value == {"n": 7, "l": [1], "ok": 1}
    assert len(document.problems) == 2
    for problem in document.problems:
        assert f"`--set {text}`" in problem.message
        assert re.search(words, problem.message)


def test_in_python_an_override_is_named_as_an_argument() -> None:
    document = parse("{}")
    override(document, ["seed"])
    [problem] = document.problems
    assert problem.message == "an override must be PATH=VALUE, but has no `=`, from `overrides=['seed']`"
    assert problem.hint == "as in `overrides=['trainer.epochs=3']`"


def test_a_wrong_value_says_that_it_comes_from_the_command_line(
    config: Any, refused: Any, tmp_path: Path
) -> None:
    config["trainer"] = {"epochs": 0}
    path = tmp_path / "run.json"
    path.write_text(json.dumps(config))
    problems = refused(path, "trainer.max_steps=0", "trianer.epochs=1", "tasks.sort.SortTask.batch_size=x")
    said = [problem.render("run.json") for problem in problems]
    assert said[:3] == [
        "run.json: trianer: the config has no setting `trianer`, from `--set trianer.epochs=1`"
        " (did you mean `trainer`?)",
        'run.json: tasks.sort.SortTask.batch_size: `batch_size` must be an integer, but is "x",'
        " from `--set tasks.sort.SortTask.batch_size=x` (rows per batch)",
        "run.json: trainer.max_steps: `max_steps` must be at least 1 and at most 1000000000, but"
        " is 0, from `--set trainer.max_steps=0` (total number of training steps)",
    ]
    assert said[3].startswith("run.json:1:")


def test_an_argument_that_is_not_utf_8_is_refused() -> None:
    document = parse("{}")
    override(document, ["a=\udcff", "b.\udcff=1", "c=1"])
    assert [problem.message.split(",")[0] for problem in document.problems] == [
        "an override must be UTF-8"
    ] * 2
    assert document.value == {"c": 1}


@pytest.mark.parametrize("path", ["a." * 5000 + "x", "a" + '["x"]' * 5000])
def test_a_path_that_is_too_deep_is_refused(path: str) -> None:
    document = parse("{}")
    override(document, [f"{path}=1", "c=1"])
    [problem] = document.problems
    assert problem.message.startswith("a path must have at most 200 parts, but has 5,001")
    assert document.value == {"c": 1}


def test_settings_beside_a_named_component_name_the_override(load: Any, refused: Any, config: Any) -> None:
    config["trainer"] = {"optimizer": {"SGD": {"momentum": 0.5}}}
    [problem] = refused(config, "trainer.optimizer.lr=0.1")
    assert problem.render("config") == (
        "config: trainer.optimizer.lr: `lr` must be within SGD, from `--set trainer.optimizer.lr=0.1`"
        " (as in `trainer.optimizer.SGD.lr=...`)"
    )
    chosen = load(config, "trainer.optimizer.SGD.lr=0.25").config.trainer.optimizer.config
    assert (chosen.lr, chosen.momentum) == (0.25, 0.5)
    del config["trainer"]
    assert load(config, "trainer.optimizer.lr=0.5").config.trainer.optimizer.config.lr == 0.5
