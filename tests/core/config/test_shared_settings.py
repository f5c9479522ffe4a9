"""Modules with one key have one set of settings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtl.config.dumping import dump
from mtl.config.load import load_config
from mtl.errors import ConfigError
from mtl.plugins import Plugins

SORT = "tasks.sort.SortTask"
GUESS = "tasks.guess.GuessTask"


def two(base_dir: Path, sort: Any, guess: Any) -> dict[str, Any]:
    data = {"data": {"train_path": "rows.txt"}}
    return {
        "base_dir": str(base_dir),
        "tasks": {"sort": {"SortTask": data | sort}, "guess": {"GuessTask": data | guess}},
    }


def encoders(loaded: Any) -> tuple[Any, Any]:
    """The encoder of the first task, and the representation of the second."""
    tasks = loaded.config.tasks
    return tasks["sort"].config.representation.config.encoder, tasks["guess"].config.representation


@pytest.mark.parametrize("first", [True, False])
def test_who_states_a_setting_owns_it_wherever_it_stands(base_dir: Path, load: Any, first: bool) -> None:
    stated, silent = {"shared_module_key": "K", "dropout": 0.1, "sizes": [3]}, {"shared_module_key": "K"}
    sort, guess = (stated, silent) if first else (silent, stated)
    loaded = load(two(base_dir, {"representation": {"encoder": sort}}, {"representation": guess}))
    ours, theirs = encoders(loaded)
    assert ours.config == theirs.config
    assert (ours.config.dropout, ours.config.sizes) == (0.1, [3])
    assert ours.config.width == 6  # the default of the first sharer's slot, not the class's 8
    [group] = loaded.groups
    assert (group.key, group.component) == ("K", "Recurrent")
    assert group.users == (f"{SORT}.representation.encoder", f"{GUESS}.representation")
    owner = group.users[0 if first else 1]
    assert group.owners == {"dropout": f"{owner}.dropout", "sizes": f"{owner}.sizes"}
    assert group.values == {
        "freeze": False, "load_path": None, "save_path": None, "width": 6, "dropout": 0.1, "sizes": [3],
    }  # fmt: skip
    assert loaded.warnings == ()


def test_several_sharers_may_state_different_settings_or_the_same(base_dir: Path, load: Any) -> None:
    loaded = load(
        two(
            base_dir,
            {"representation": {"encoder": {"shared_module_key": "K", "width": 3, "freeze": True}}},
            {"representation": {"Recurrent": {"shared_module_key": "K", "width": 3, "dropout": 0.2}}},
        )
    )
    ours, theirs = encoders(loaded)
    assert ours.config == theirs.config
    assert (ours.config.width, ours.config.dropout, ours.config.freeze) == (3, 0.2, True)


def test_s2_different_settings_are_refused_with_both_paths_and_both_values(
    base_dir: Path, refused: Any
) -> None:
    config = two(
        base_dir,
        {"representation": {"encoder": {"shared_module_key": "K", "width": 3, "dropout": 0.1}}},
        {"representation": {"shared_module_key": "K", "width": 4, "dropout": 0.2}},
    )
    text = json.dumps(config, indent=1)
    width, dropout = refused(text)
    assert width.path == f"{GUESS}.representation.width"
    assert width.message == (
        '`width` of the shared module "K" must be the same everywhere, but is 4 here and 3 at'
        f" {SORT}.representation.encoder.width"
    )
    assert "but is 0.2 here and 0.1 at" in dropout.message
    assert text.split("\n")[width.line - 1][width.column - 1 :].startswith("4")


def test_s5_a_key_across_types_is_refused_with_both_paths(base_dir: Path, refused: Any) -> None:
    sort = {"representation": {"shared_module_key": "K"}}
    [problem] = refused(two(base_dir, sort, {"representation": {"shared_module_key": "K"}}))
    assert problem.path == f"{GUESS}.representation.shared_module_key"
    assert "this is representation 'Recurrent'" in problem.message
    assert f"{SORT}.representation is representation 'Pooled'" in problem.message
    [problem] = refused(two(base_dir, sort, {"features": {"shared_module_key": "K"}}))
    assert "this is features" in problem.message or "is features" in problem.message


def test_s5_a_key_that_one_module_has_is_a_warning_with_the_nearest_key(base_dir: Path, load: Any) -> None:
    loaded = load(
        two(
            base_dir,
            {"representation": {"encoder": {"shared_module_key": "LSTM"}}},
            {"representation": {"shared_module_key": "LSMT"}},
        )
    )
    assert loaded.groups == ()
    assert loaded.warnings == (
        f'config: {SORT}.representation.encoder.shared_module_key: no other module has the key "LSTM"'
        " (did you mean `LSMT`?)",
        f'config: {GUESS}.representation.shared_module_key: no other module has the key "LSMT"'
        " (did you mean `LSTM`?)",
    )


@pytest.mark.parametrize(
    ("name", "values"),
    [("freeze", (True, False)), ("save_path", ("a", "b")), ("load_path", ("rows.txt", "words.txt"))],
)
def test_s7_contradicting_module_settings_are_refused(
    base_dir: Path, refused: Any, load: Any, name: str, values: Any
) -> None:
    first, second = ({"representation": {"shared_module_key": "K", name: value}} for value in values)
    sort = {"representation": {"encoder": first["representation"]}}
    [problem] = refused(two(base_dir, sort, second))
    assert problem.path == f"{GUESS}.representation.{name}"
    ours, theirs = encoders(load(two(base_dir, sort, {"representation": {"shared_module_key": "K"}})))
    assert getattr(theirs.config, name) == getattr(ours.config, name)
    assert getattr(ours.config, name) not in (False, None)


def test_s7_two_modules_do_not_write_one_file(base_dir: Path, refused: Any, load: Any) -> None:
    sort = {"representation": {"encoder": {"save_path": "out/a.st"}}}
    [problem] = refused(two(base_dir, sort, {"representation": {"save_path": "out/./a.st"}}))
    assert problem.path == f"{GUESS}.representation.save_path"
    assert f"{SORT}.representation.encoder has the same" in problem.message
    sort["representation"]["encoder"]["shared_module_key"] = "K"
    assert load(two(base_dir, sort, {"representation": {"save_path": "out/a.st", "shared_module_key": "K"}}))


def test_shared_features_are_one_block(base_dir: Path, load: Any, refused: Any) -> None:
    named = {"shared_module_key": "E", "letters": {"dim": 3}, "words": {"dim": 5, "vocabulary": "words.txt"}}
    for sort, guess in [(named, {"shared_module_key": "E"}), ({"shared_module_key": "E"}, named)]:
        loaded = load(two(base_dir, {"features": sort}, {"features": guess}))
        ours, theirs = (task.config.features for task in loaded.config.tasks.values())
        assert ours == theirs
        assert list(ours.featurizers) == ["letters", "words"]
        [group] = loaded.groups
        assert group.component == "features"
        assert group.values["words.vocabulary"] == "words.txt"
        assert set(group.owners) == {"letters.dim", "words.dim", "words.vocabulary"}
    other = {"shared_module_key": "E", "words": {"dim": 5}}
    [problem] = refused(two(base_dir, {"features": named}, {"features": other}))
    assert (problem.path, "letters, words" in problem.message) == (f"{GUESS}.features", True)
    other = {"shared_module_key": "E", "words": {"dim": 6}, "letters": {}}
    [problem] = refused(two(base_dir, {"features": named}, {"features": other}))
    assert problem.path == f"{GUESS}.features.words.dim"


def test_single_featurizers_are_shared_by_their_own_key(base_dir: Path, load: Any) -> None:
    loaded = load(
        two(
            base_dir,
            {"features": {"words": {"shared_module_key": "W", "dim": 7}, "letters": {}}},
            {"features": {"words": {"shared_module_key": "W"}}},
        )
    )
    ours, theirs = (task.config.features.featurizers["words"] for task in loaded.config.tasks.values())
    assert ours.config == theirs.config
    assert theirs.config.dim == 7


def three(base_dir: Path, *representations: Any) -> dict[str, Any]:
    data = {"train_path": "rows.txt"}
    names = ["SortTask", "SortTask", "GuessTask"]
    tasks = {
        f"t{index}": {name: {"data": data, "representation": each}}
        for index, (name, each) in enumerate(zip(names, representations, strict=True))
    }
    return {"base_dir": str(base_dir), "tasks": tasks}


def test_a_shared_module_within_a_shared_module(base_dir: Path, load: Any, refused: Any) -> None:
    config = three(
        base_dir,
        {"shared_module_key": "P", "encoder": {"shared_module_key": "R"}},
        {"shared_module_key": "P", "dense": [5]},
        {"shared_module_key": "R", "width": 4},
    )
    loaded = load(config)
    first, second, third = (task.config.representation for task in loaded.config.tasks.values())
    assert first.config == second.config
    assert first.config.encoder.config == third.config
    assert (third.config.width, first.config.dense) == (4, [5])
    assert {group.key: len(group.users) for group in loaded.groups} == {"P": 2, "R": 2}
    config["tasks"]["t1"]["SortTask"]["representation"]["encoder"] = {"width": 9}
    [problem] = refused(config)
    assert "`width` of the shared module" in problem.message


def test_a_component_that_only_one_sharer_names_counts_for_all(
    base_dir: Path, load: Any, refused: Any
) -> None:
    named = {"shared_module_key": "P", "encoder": {"Gated": {"gates": 2}}}
    loaded = load(three(base_dir, {"shared_module_key": "P"}, named, {}))
    first, second, _ = (task.config.representation for task in loaded.config.tasks.values())
    assert first.config == second.config
    assert (first.config.encoder.name, first.config.encoder.config.width) == ("Gated", 8)
    other = {"shared_module_key": "P", "encoder": {"Recurrent": {}}}
    [problem] = refused(three(base_dir, other, named, {}))
    assert 'but is "Gated" here and "Recurrent" at tasks.t0' in problem.message


def test_what_one_sharer_must_state_another_may(base_dir: Path, load: Any) -> None:
    gated = {"Gated": {"shared_module_key": "K", "gates": 2}}
    loaded = load(three(base_dir, {"encoder": {"Gated": {"shared_module_key": "K"}}}, {}, gated))
    assert loaded.config.tasks["t0"].config.representation.config.encoder.config.gates == 2


def test_a_module_within_itself_is_refused(base_dir: Path, refused: Any) -> None:
    inner = {"Pooled": {"shared_module_key": "K"}}
    problems = refused(three(base_dir, {"shared_module_key": "K", "side": inner}, {}, {}))
    assert any("must not contain itself" in problem.message for problem in problems)


def test_an_empty_key_is_refused(base_dir: Path, refused: Any) -> None:
    empty = {"representation": {"shared_module_key": ""}}
    assert [problem.path for problem in refused(two(base_dir, empty, empty))] == [
        f"{each}.representation.shared_module_key" for each in (SORT, GUESS)
    ]


def test_an_error_in_a_shared_module_is_reported_once(base_dir: Path, refused: Any) -> None:
    sort = {"representation": {"encoder": {"shared_module_key": "K", "width": 0, "widht": 3}}}
    problems = refused(two(base_dir, sort, {"representation": {"shared_module_key": "K"}}))
    assert [problem.path for problem in problems] == [
        f"{SORT}.representation.encoder.widht", f"{SORT}.representation.encoder.width",
    ]  # fmt: skip


keys = st.none() | st.sampled_from(["K", "L"])
recurrent = st.fixed_dictionaries(
    {},
    optional={
        "shared_module_key": keys,
        "width": st.integers(1, 2),
        "dropout": st.sampled_from([0, 0.5]),
        "freeze": st.booleans(),
    },
)
pooled = st.fixed_dictionaries(
    {},
    optional={
        "shared_module_key": keys,
        "encoder": recurrent,
        "side": recurrent | st.none(),
        "dense": st.just([1]),
    },
)


@settings(max_examples=200)
@given(pooled, pooled, recurrent)
def test_sharers_are_equal_and_the_resolved_config_reads_back(
    plugins: Plugins, base_dir: Path, first: Any, second: Any, third: Any
) -> None:
    config = three(base_dir, first, second, third)
    try:
        loaded = load_config(config, plugins=plugins)
    except ConfigError:
        return
    again = load_config(json.dumps(dump(loaded.config)), plugins=plugins)
    assert again.config == loaded.config
    assert {group.key: group.values for group in again.groups} == {
        group.key: group.values for group in loaded.groups
    }
    configs: dict[str, Any] = {}
    for task in loaded.config.tasks.values():
        outer = task.config.representation.config
        for each in (outer, *(getattr(outer, name, None) for name in ("encoder", "side"))):
            each = getattr(each, "config", each)
            if each is not None and each.shared_module_key:
                assert configs.setdefault(each.shared_module_key, each) == each
