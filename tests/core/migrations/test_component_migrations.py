"""A config of an older version of a plugin runs, and its user is told what to change."""

from __future__ import annotations

import copy
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtl.config.dumping import dump
from mtl.config.load import LoadedConfig, load_config
from mtl.errors import Problem
from mtl.plugins import Plugins

Load = Callable[..., LoadedConfig]
Text = Callable[..., str]
Refused = Callable[..., list[Problem]]

HERE = "tasks.sort.Sort.representation"


def encoder(loaded: LoadedConfig) -> Any:
    return loaded.config.tasks["sort"].config.representation.config


def line_of(text: str, key: str) -> int:
    (line,) = [number for number, line in enumerate(text.splitlines(), 1) if f'"{key}"' in line]
    return line


def test_a_renamed_setting_works_with_a_notice_at_its_path(load: Load, text: Text) -> None:
    config = text({"Encoder": {"dims": 5}})
    loaded = load(config)
    assert encoder(loaded).width == 5
    (warning,) = loaded.warnings
    assert warning.startswith(f"config:{line_of(config, 'dims')}:7: {HERE}.Encoder.dims: ")
    assert "`dims` of Encoder is `width` as of acme-parts 3.0 (`width` counts both directions)" in warning


def test_a_setting_renamed_twice_has_a_notice_at_its_path(load: Load, text: Text) -> None:
    config = text({"Encoder": {"size": 5}})
    loaded = load(config)
    assert encoder(loaded).width == 5
    place = f"config:{line_of(config, 'size')}:7: {HERE}.Encoder.size: "
    assert [warning.startswith(place) for warning in loaded.warnings] == [True, True]


def test_a_split_value(load: Load, text: Text) -> None:
    loaded = load(text({"Encoder": {"range": [0.25, 0.75]}}))
    assert (encoder(loaded).low, encoder(loaded).high) == (0.25, 0.75)
    assert "`range` of Encoder is `low` and `high` as of acme-parts 2.0" in loaded.warnings[0]


def test_a_value_that_is_written_otherwise(load: Load, text: Text) -> None:
    loaded = load(text({"Encoder": {"mode": "fast"}}))
    assert encoder(loaded).mode == "quick"
    assert '`mode` of Encoder is "quick" as of acme-parts 3.0' in loaded.warnings[0]
    assert load(text({"Encoder": {"mode": "slow"}})).warnings == ()


def test_a_removed_setting_is_dropped_with_a_notice(load: Load, text: Text) -> None:
    loaded = load(text({"Encoder": {"fused": True, "width": 3}}))
    assert encoder(loaded).width == 3
    assert "`fused` of Encoder was removed in acme-parts 3.0 (it was always on)" in (loaded.warnings[0])


@pytest.mark.parametrize(
    "slot", [{}, {"encoder": {}}, {"encoder": "Encoder"}, {"encoder": {"Encoder": {"low": 0.5}}}]
)
def test_a_setting_that_moved_into_a_slot(load: Load, text: Text, slot: dict[str, Any]) -> None:
    loaded = load(text({"Pooled": {"encoder_width": 7, **slot}}))
    inner = encoder(loaded).encoder
    assert (inner.name, inner.config.width) == ("Encoder", 7)
    assert inner.config.low == (0.5 if "low" in str(slot) else 0.0)


def test_a_setting_of_another_component_than_the_slots(refused: Refused, text: Text) -> None:
    (problem,) = refused(text({"Pooled": {"encoder_width": 7, "encoder": {"Pooled": {}}}}))
    assert problem.path == f"{HERE}.Pooled.encoder_width"
    assert "it now belongs to Encoder in `encoder`" in problem.message


def test_one_value_becomes_settings_here_and_below(load: Load, text: Text) -> None:
    loaded = load(text({"Pooled": {"shape": [9, True]}}))
    assert encoder(loaded).freeze
    assert encoder(loaded).encoder.config.width == 9


@pytest.mark.parametrize("key, new", [("dims", "width"), ("size", "dims")])
def test_old_and_new_together_are_refused_at_the_old(
    refused: Refused, text: Text, key: str, new: str
) -> None:
    config = text({"Encoder": {new: 3, key: 5}})
    problem = refused(config)[0]
    assert (problem.path, problem.line) == (f"{HERE}.Encoder.{key}", line_of(config, key))
    assert "both are set" in problem.message


def test_a_wrong_value_is_refused_where_it_stands(refused: Refused, text: Text) -> None:
    config = text({"Encoder": {"low": 0.5, "size": 0}})
    (problem,) = refused(config)
    assert (problem.path, problem.line) == (f"{HERE}.Encoder.size", line_of(config, "size"))
    assert problem.message == "`width` must be at least 1, but is 0"
    (line,) = [line for line in config.splitlines() if '"size"' in line]
    assert problem.column == line.index("0") + 1


def test_a_wrong_part_of_a_split_value_is_refused_where_it_stands(refused: Refused, text: Text) -> None:
    config = text({"Encoder": {"range": [-2, 0]}})
    (problem,) = refused(config)
    assert problem.line == line_of(config, "range")
    assert "`low` must be at least -1" in problem.message


@pytest.mark.parametrize("value", [3, [1], "x", None])
def test_a_value_that_no_version_took(refused: Refused, text: Text, value: Any) -> None:
    (problem,) = refused(text({"Encoder": {"range": value}}))
    assert problem.path == f"{HERE}.Encoder.range"
    assert "cannot be migrated (acme-parts 3.1 says" in problem.message


def test_overrides_may_be_old(load: Load, refused: Refused, text: Text) -> None:
    assert encoder(load(text("Encoder"), f"{HERE}.dims=4")).width == 4
    (problem,) = refused(text("Encoder"), f"{HERE}.dims=0")
    assert problem.message == f"`width` must be at least 1, but is 0, from `overrides=['{HERE}.dims=0']`"


def test_other_mistakes_keep_their_places(refused: Refused, text: Text) -> None:
    config = text({"Encoder": {"size": 4, "wide": 1}}, batch_size=0)
    lines = {problem.path: problem.line for problem in refused(config)}
    assert lines == {
        f"{HERE}.Encoder.wide": line_of(config, "wide"),
        "tasks.sort.Sort.batch_size": line_of(config, "batch_size"),
    }


@pytest.mark.parametrize("named", ["OldEncoder", {"OldEncoder": {}}, {"acme-parts:OldEncoder": {}}])
def test_a_component_by_its_old_name(load: Load, text: Text, named: Any) -> None:
    loaded = load(text(named))
    component = loaded.config.tasks["sort"].config.representation
    assert component.spec.name == "Encoder"
    assert "is now called" in loaded.warnings[0]
    assert loaded.document.value["tasks"]["sort"]["Sort"]["representation"] in (
        "Encoder",
        {"Encoder": {}},
        {"acme-parts:Encoder": {}},
    )


def test_mistakes_in_a_component_by_its_old_name_keep_their_places(refused: Refused, text: Text) -> None:
    config = text({"OldEncoder": {"size": 0}})
    (problem,) = refused(config)
    assert (problem.path, problem.line) == (f"{HERE}.OldEncoder.size", line_of(config, "size"))


def test_tasks_and_featurizers_by_their_old_names(load: Load) -> None:
    settings = {"data": {"train_path": "rows.txt"}, "features": {"word_ids": {"dim": 3}}}
    loaded = load({"tasks": {"sort": {"SortTask": settings}}})
    task = loaded.config.tasks["sort"]
    assert task.name == "Sort"
    assert task.config.features.featurizers["words"].config.dim == 3


def test_a_featurizer_by_both_names_is_refused(refused: Refused, text: Text) -> None:
    (problem,) = refused(text("Encoder", features={"word_ids": {}, "words": {}}))
    assert "but both are set" in problem.message


def test_a_plugins_default_may_be_old(load: Load, text: Text) -> None:
    loaded = load(text("Pooled"))
    inner = encoder(loaded).encoder
    assert (inner.name, inner.config.width) == ("Encoder", 6)
    assert "a plugin's default is out of date: `size` of Encoder" in loaded.warnings[0]


def test_a_mapping_is_left_as_it_was(load: Load) -> None:
    config = {
        "tasks": {
            "sort": {
                "SortTask": {
                    "data": {"train_path": "rows.txt"},
                    "representation": {"OldEncoder": {"size": 4}},
                }
            }
        }
    }
    before = copy.deepcopy(config)
    load(config)
    assert config == before


def test_a_plugins_own_lists_are_not_touched(load: Load, text: Text, migrating_parts: ModuleType) -> None:
    before = list(migrating_parts.ENCODER)
    load(text({"Encoder": {"size": 3, "fused": 1}}))
    assert before == migrating_parts.ENCODER


@pytest.mark.parametrize(
    "name, message",
    [
        ("Broken", "must be a list of Migrations"),
        ("Gone", "migrating_parts:NOWHERE cannot be loaded"),
        ("Greedy", "`width` is a current setting, so its migration must be a function"),
    ],
)
def test_migrations_that_cannot_be_had_name_the_plugin(
    refused: Refused, text: Text, name: str, message: str
) -> None:
    (problem,) = refused(text({name: {"width": 3}}))
    assert message in problem.message
    assert f"representation '{name}' of acme-parts 3.1" in problem.message


OLD = st.fixed_dictionaries(
    {},
    optional={
        "size": st.integers(1, 50),
        "range": st.tuples(st.floats(-1, 0), st.floats(0, 1)).map(list),
        "mode": st.sampled_from(["fast", "slow"]),
        "fused": st.booleans(),
        "freeze": st.booleans(),
    },
)


@given(old=OLD, in_pooled=st.booleans())
def test_what_was_brought_up_to_date_needs_no_more_of_it(
    plugins: Plugins, old: dict[str, Any], in_pooled: bool
) -> None:
    inner: dict[str, Any] = {"OldEncoder": old}
    representation = {"Pooled": {"encoder": inner}} if in_pooled else inner
    settings = {"data": {"train_path": "rows.txt"}, "representation": representation}
    config = {"base_dir": "/base", "tasks": {"sort": {"SortTask": settings}}}
    first = load_config(config, plugins=plugins, check_paths=False)
    again = load_config(first.document.value, plugins=plugins, check_paths=False)
    assert dump(again.config) == dump(first.config)
    assert [warning for warning in again.warnings if "a plugin's default" not in warning] == []
