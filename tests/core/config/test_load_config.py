"""From JSON to a `RunConfig`: forms, strictness, all mistakes at once."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType, new_class
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtl.builtin import plugin as builtin
from mtl.config.dumping import dump
from mtl.config.load import load_config
from mtl.config.migrate import migrated
from mtl.errors import ConfigError, UsageError
from mtl.fields import Component, configclass, option, slot
from mtl.plugins import Plugins, discover


def at(config: Any, path: str, value: Any) -> Any:
    """A copy of `config` with `value` at a dotted path."""
    config = copy.deepcopy(config)
    target = config
    *parents, last = path.split(".")
    for part in parents:
        target = target.setdefault(part, {})
    target[last] = value
    return config


SORT = "tasks.sort.SortTask"
GUESS = "tasks.guess.GuessTask"


# --- what is right -------------------------------------------------------------------------------


def test_omitted_keys_take_defaults(config: Any, load: Any, base_dir: Path) -> None:
    loaded = load(config)
    sort = loaded.config.tasks["sort"]
    assert isinstance(sort, Component)
    assert (sort.kind, sort.name, sort.path) == ("task", "SortTask", "tasks.sort.SortTask")
    assert sort.config.data.config.paths("train") == (base_dir / "rows.txt",)
    assert list(sort.config.features.featurizers) == ["words"]
    representation = sort.config.representation
    assert (representation.name, representation.path) == ("Pooled", "tasks.sort.SortTask.representation")
    assert representation.config.encoder.config.width == 6
    assert representation.config.side is None
    assert loaded.config.trainer.optimizer.name == "Adam"
    assert loaded.config.loggers == []
    assert loaded.config.base_dir == str(base_dir)
    assert (loaded.groups, loaded.warnings) == ((), ())


@pytest.mark.parametrize(
    ("value", "name", "width", "path"),
    [
        ("Recurrent", "Recurrent", 6, ""),
        ({"Recurrent": {}}, "Recurrent", 6, ".Recurrent"),
        ({"Recurrent": {"dropout": 0.1}}, "Recurrent", 6, ".Recurrent"),
        ({"dropout": 0.1}, "Recurrent", 6, ""),
        ({"width": 3, "dropout": 0.1}, "Recurrent", 3, ""),
        ({"width": 3}, "Recurrent", 3, ""),
        ({}, "Recurrent", 6, ""),
        ({"Gated": {"gates": 2}}, "Gated", 8, ".Gated"),
        ({"acme-parts:Recurrent": {"width": 2}}, "acme-parts:Recurrent", 2, ".acme-parts:Recurrent"),
        ({"Acme_Parts:Recurrent": {"width": 2}}, "Acme_Parts:Recurrent", 2, ".Acme_Parts:Recurrent"),
    ],
)
def test_a_slot_takes_a_name_a_named_object_or_bare_settings(
    config: Any, load: Any, value: Any, name: str, width: int, path: str
) -> None:
    loaded = load(at(config, f"{SORT}.representation", {"encoder": value})).config
    encoder = loaded.tasks["sort"].config.representation.config.encoder
    assert (encoder.name, encoder.config.width) == (name, width)
    assert encoder.path == "tasks.sort.SortTask.representation.encoder" + path


def test_slots_hold_nothing_one_or_several(config: Any, load: Any) -> None:
    loaded = load(
        at(config, "loggers", ["Notes", {"Notes": {"level": "high"}}]),
        f"{SORT}.representation.side=Recurrent",
    )
    assert [logger.path for logger in loaded.config.loggers] == ["loggers[0]", "loggers[1].Notes"]
    assert [logger.config.level for logger in loaded.config.loggers] == ["low", "high"]
    assert loaded.config.tasks["sort"].config.representation.config.side.name == "Recurrent"
    assert load(at(config, f"{SORT}.representation", {"Pooled": {"side": None}})).config.tasks


def test_features_name_featurizers_beside_module_keys(config: Any, load: Any) -> None:
    features = {"letters": {"dim": 2}, "freeze": True, "words": {}}
    found = load(at(config, f"{SORT}.features", features)).config.tasks["sort"].config.features
    assert (list(found.featurizers), found.freeze, found.output_dim) == (["letters", "words"], True, 12)
    assert found.featurizers["letters"].path == "tasks.sort.SortTask.features.letters"


def test_a_single_task_is_called_as_its_component(config: Any, load: Any) -> None:
    single = {"base_dir": config["base_dir"], "task": {"SortTask": {"data": {"train_path": "rows.txt"}}}}
    loaded = load(single, "task.SortTask.batch_size=7").config
    assert list(loaded.tasks) == ["SortTask"]
    assert loaded.tasks["SortTask"].path == "task.SortTask"
    assert loaded.tasks["SortTask"].config.batch_size == 7


def test_paths_start_at_base_dir_and_base_dir_at_the_configs_folder(
    load: Any, config: Any, base_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "deep").mkdir()
    path = tmp_path / "deep/run.json"
    relative = os.path.relpath(base_dir, path.parent)
    path.write_text(json.dumps(config | {"base_dir": relative}))
    for found in (
        load(path),
        load(path.read_text(), config_dir=path.parent),
        load(at(json.loads(path.read_text()), "base_dir", "nowhere"), base_dir=base_dir),
    ):
        assert found.config.base_dir == str(base_dir)
        assert found.config.tasks["sort"].config.data.config.paths("train") == (base_dir / "rows.txt",)
    monkeypatch.chdir(base_dir)
    del config["base_dir"]
    assert load(json.dumps(config)).config.base_dir == str(base_dir)


def test_a_saved_models_config_loads_without_its_training_data(config: Any, load: Any, refused: Any) -> None:
    config = at(config, "base_dir", "/gone")
    assert {problem.path for problem in refused(config)} == {
        f"{each}.data.train_path" for each in (SORT, GUESS)
    }
    assert load(config, check_paths=False).config.tasks["sort"].config.data.config.paths("train") == (
        Path("/gone/rows.txt"),
    )


def test_what_runs_before_torch_needs_no_torch() -> None:
    code = (
        "import sys, mtl.plugins, mtl.config.load, mtl.config.dumping, mtl.config.schema;"
        "mtl.config.schema.json_schema(mtl.plugins.discover());"
        "print([name for name in ('torch', 'polars', 'torchmetrics', 'numpy') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"


# --- what is wrong, one by one -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (f"{SORT}.batch_size", "12", 'must be an integer, but is "12"'),
        (f"{SORT}.batch_size", True, "must be an integer, but is true"),
        (f"{SORT}.batch_size", 3.9, "must be an integer, but is 3.9"),
        (f"{SORT}.batch_size", 3.0, "must be an integer, but is 3.0"),
        (f"{SORT}.batch_size", None, "must be an integer, but is null"),
        (f"{SORT}.batch_size", [], "must be an integer, but is []"),
        (f"{SORT}.batch_tokens", "x", 'must be an integer or null, but is "x"'),
        (f"{SORT}.mode", "plian", 'must be "plain" or "fancy", but is "plian"'),
        (f"{SORT}.labels", "abc", 'must be a list, but is "abc"'),
        (f"{GUESS}.representation.dropout", "0.5", 'must be a number, but is "0.5"'),
        (f"{GUESS}.representation.dropout", False, "must be a number, but is false"),
        (f"{GUESS}.representation.dropout", 1, "must be at least 0 and below 1, but is 1.0"),
        (f"{GUESS}.representation.dropout", 10**400, "must be a finite number, but is 1000"),
        (f"{GUESS}.representation.freeze", "false", 'must be true or false, but is "false"'),
        (f"{GUESS}.representation.freeze", 1, "must be true or false, but is 1"),
        (f"{GUESS}.representation.shared_module_key", 5, "must be a string or null, but is 5"),
        (f"{GUESS}.representation.save_path", "", 'must be the path of a file or null, but is ""'),
        (f"{GUESS}.data.columns", {"a": 1, "b": 1.5}, "must be a string or an integer, but is 1.5"),
        (f"{GUESS}.data.columns", [], "must be an object, but is []"),
        ("loggers", [{"Notes": {"ratio": 2}}], "must be above 0 and at most 1, but is 2"),
        ("trainer", [], "must be an object, but is []"),
        ("tasks", {}, "must name at least one task, but is empty"),
        ("tasks", [], "must be an object, but is []"),
        ("loggers", {}, "must be a list, but is {}"),
        ("trainer.max_steps", 2**63, "must be an integer or null, but is 9223372036854775808"),
        ("trainer.num_threads", 1025, "must be at least 1 and at most 1024, but is 1025"),
        ("seed", -1, "must be at least 0 and at most 9223372036854775807, but is -1"),
    ],
)
def test_c4_a_value_is_taken_for_nothing_else(
    refused: Any, config: Any, path: str, value: Any, message: str
) -> None:
    [problem] = refused(at(config, path, value))
    assert problem.path.startswith(path)
    assert message in problem.message
    assert f"`{path.rpartition('.')[2]}" in problem.message or "`ratio`" in problem.message
    assert problem.hint


def test_c4_items_are_named_by_their_place(refused: Any, config: Any) -> None:
    problems = refused(at(config, f"{GUESS}.representation", {"sizes": [1, "2", 0, 4]}))
    assert [(problem.path.removeprefix(GUESS), problem.message) for problem in problems] == [
        (".representation.sizes[1]", '`sizes[1]` must be an integer, but is "2"')
    ]
    [problem] = refused(at(config, f"{GUESS}.representation", {"sizes": [1, 0]}))
    assert problem.message == "`sizes[1]` must be at least 1, but is 0"


@pytest.mark.parametrize(
    ("value", "path", "message", "hint"),
    [
        (
            {"Poooled": {}},
            ".Poooled",
            "no installed plugin provides the representation 'Poooled'",
            "`Pooled`",
        ),
        ({"Poooled": {"dense": []}}, ".Poooled", "no installed plugin provides", "`mtl plugins`"),
        ("Poooled", "", "no installed plugin provides the representation 'Poooled'", "`Pooled`"),
        ({"words": {}}, ".words", "provides the representation 'words'", "'words' is a featurizer"),
        (
            {"other:Pooled": {}},
            ".other:Pooled",
            "provides the representation 'other:Pooled'",
            "acme-parts:Pooled",
        ),
        ({"dens": []}, ".dens", "Pooled, the default here, has no setting `dens`", "`dense`"),
        ({"dens": [], "freeze": True}, ".dens", "Pooled, the default here, has no setting `dens`", "`dense`"),
        ({"encodr": {"width": 3}}, ".encodr", "no installed plugin provides", "did you mean `encoder`?"),
        ({"Pooled": {"dens": []}}, ".Pooled.dens", "Pooled has no setting `dens`", "`dense`"),
        ({"Pooled": 3}, ".Pooled", "the settings of Pooled must be an object, but are 3", '"Pooled" alone'),
        ({"Pooled": {}, "freeze": True}, ".Pooled", "has no setting `Pooled`", 'name it alone, as {"Pooled"'),
        (None, "", "`representation` must name a representation, but is null", "installed: "),
        (5, "", "`representation` must name a representation, but is 5", '{"Gated": {...}}'),
        (
            ["Pooled"],
            "",
            "`representation` must name a representation",
            "installed: Gated, Pooled, Recurrent",
        ),
    ],
)
def test_c5_the_error_is_about_what_was_meant(
    refused: Any, config: Any, value: Any, path: str, message: str, hint: str
) -> None:
    [problem] = refused(at(config, f"{SORT}.representation", value))
    assert problem.path == f"{SORT}.representation{path}"
    assert message in problem.message
    assert hint in problem.hint


def test_c6_a_slot_takes_any_installed_component_that_fits(refused: Any, load: Any, config: Any) -> None:
    assert load(at(config, f"{GUESS}.representation", {"Gated": {"gates": 1}})).config.tasks["guess"]
    [problem] = refused(at(config, f"{GUESS}.representation", "Pooled"))
    assert problem.message == (
        "`representation` needs a representation with output `sequence`, but Pooled has output `document`"
    )
    assert problem.hint == "these fit: Gated, Recurrent"


@pytest.mark.parametrize(
    ("config_change", "path", "message", "hint"),
    [
        (("target_task", "sorte"), "target_task", "there is none called `sorte`", "`sort`"),
        (("task_weights", {"gues": 1}), "task_weights.gues", "there is none called `gues`", "`guess`"),
        (("task_weights", {"xyzzy": 1}), "task_weights.xyzzy", "there is none called", "tasks: sort, guess"),
        (
            ("task_weights", {"sort": 0, "guess": 0.0}),
            "task_weights",
            "all are 0",
            "nothing would be trained",
        ),
    ],
)
def test_d3_misspelled_tasks_are_refused_with_the_nearest_name(
    refused: Any, config: Any, config_change: Any, path: str, message: str, hint: str
) -> None:
    [problem] = refused(at(config, *config_change))
    assert problem.path == path
    assert message in problem.message
    assert hint in problem.hint


@pytest.mark.parametrize(
    ("settings", "field", "message", "hint"),
    [
        ({"epoch": "task", "epoch_task": "gess"}, "epoch_task", "none called `gess`", "`guess`"),
        ({"epoch": "task"}, "epoch", "neither `epoch_task` nor `target_task`", "tasks: sort, guess"),
        ({"epoch": "steps"}, "epoch", "`epoch_steps` is missing", "1000"),
        ({"epoch": "all", "epoch_task": "sort"}, "epoch_task", '`epoch` is "all"', '"task"'),
        ({"epoch_task": "sort", "epoch_steps": 5}, "epoch_task", '`epoch` is "steps"', '"task"'),
        ({"epoch_task": "gess"}, "epoch_task", "none called `gess`", "`guess`"),
        ({"epoch": "all", "epoch_steps": 5}, "epoch_steps", '`epoch` is "all"', '"steps"'),
    ],
)
def test_d2_an_epoch_that_would_never_end_is_refused(
    refused: Any, config: Any, settings: Any, field: str, message: str, hint: str
) -> None:
    [problem] = refused(at(config, "schedule", {"Sequential": settings}))
    assert problem.path == f"schedule.Sequential.{field}"
    assert message in problem.message
    assert hint in problem.hint


def test_d3_a_misspelled_task_among_a_schedules_weights_is_refused(refused: Any, config: Any) -> None:
    [problem] = refused(at(config, "schedule", {"Weighted": {"weights": {"gess": 2.0}}}))
    assert problem.path == "schedule.Weighted.weights.gess"
    assert "`weights` must name a task, but there is none called `gess`" in problem.message
    assert "`guess`" in problem.hint


def test_files_must_be_there_and_be_files(refused: Any, config: Any, base_dir: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for value, message in [
        ("none.txt", f"`train_path` must be a file, but {base_dir}/none.txt does not exist"),
        (".", f"`train_path` must be a regular file, but {base_dir} is a folder"),
        (
            str(tmp_path / "pipe"),
            f"`train_path` must be a regular file, but {tmp_path}/pipe is a pipe or device",
        ),
        ("x" * 300, "cannot be read: File name too long"),
        ("a\0b", "`train_path` must be the path of a file"),
    ]:
        [problem] = refused(at(config, f"{SORT}.data.train_path", value))
        assert message in problem.message
        assert problem.path == f"{SORT}.data.train_path"
    [problem] = refused(at(config, f"{SORT}.data.train_path", "none.txt"))
    assert problem.hint == f"relative paths start at {base_dir}, the `base_dir`"


def test_several_files_are_listed_or_matched(load: Any, config: Any, refused: Any, base_dir: Path) -> None:
    (base_dir / "parts").mkdir()
    for name in ("b", "a", "[c]"):
        (base_dir / f"parts/{name}.txt").touch()
    one, first, second, odd = (
        base_dir / name for name in ("rows.txt", "parts/a.txt", "parts/b.txt", "parts/[c].txt")
    )
    for value, files in [
        ("parts/*.txt", (odd, first, second)),
        ("parts/[ab].txt", (first, second)),
        ("parts/[c].txt", (odd,)),
        (["rows.txt", "parts/?.txt"], (one, first, second)),
        (str(base_dir / "**/a.txt"), (first,)),
    ]:
        loaded = load(at(config, f"{SORT}.data.train_path", value)).config
        assert loaded.tasks["sort"].config.data.config.paths("train") == files
        again = load(dump(loaded)).config
        assert again.tasks["sort"].config.data.config.paths("train") == files
    for value, path, message in [
        ("parts/*.tsv", "", f"`train_path` must match a file, but no file matches {base_dir}/parts/*.tsv"),
        ([], "", "`train_path` must be the path of a file or a list of paths, but is []"),
        (["rows.txt", 1], "[1]", "must be the path of a file, but is 1"),
        (["parts/a.txt", "parts/*.txt"], "[1]", "must name each file once"),
    ]:
        [problem] = refused(at(config, f"{SORT}.data.train_path", value))
        assert message in problem.message and problem.path == f"{SORT}.data.train_path{path}"


def test_a_class_and_a_task_say_what_does_not_fit_together(refused: Any, config: Any) -> None:
    config = at(config, f"{SORT}.representation", {"Pooled": {"dense": [1, 2, 3, 4]}})
    [problem] = refused(config)
    assert (problem.path, problem.message) == (
        f"{SORT}.representation.Pooled.dense", "`dense` must have at most 3 widths, but has 4",
    )  # fmt: skip
    config = at(config, f"{SORT}.representation", {"Pooled": {"dense": [1313]}})
    problems = refused(at(config, f"{SORT}.labels", ["a", "", "b"]))
    assert [(each.path, each.hint) for each in problems] == [
        (f"{SORT}.labels[1]", "give it a name"), (f"{SORT}.representation.Pooled.dense[0]", "take 12"),
    ]  # fmt: skip


def test_what_is_missing_is_named(refused: Any, config: Any) -> None:
    [problem] = refused({})
    assert problem.message == "the config has no tasks"
    [problem] = refused(at(config, f"{SORT}.data", {}))
    assert (problem.path, problem.message) == (f"{SORT}.data.train_path", "`train_path` is missing")
    [problem] = refused(at(config, f"{SORT}.data", {"train_pth": "rows.txt"}))
    assert (problem.path, problem.hint) == (f"{SORT}.data.train_pth", "did you mean `train_path`?")
    [problem] = refused(config | {"task": "SortTask"})
    assert problem.message == "a config must have either `tasks` or `task`, but has both"


def test_a_component_that_two_plugins_provide_must_be_picked(parts: Any, config: Any) -> None:
    class Other:
        mtl_api = parts.mtl_api
        mtl_representations = staticmethod(parts.mtl_representations)

    plugins = Plugins()
    for plugin, distribution in [(parts, "acme-parts"), (Other(), "other-parts"), (builtin, "pytext-mtl")]:
        assert plugins.register(plugin, distribution).state == "ok"
    with pytest.raises(ConfigError) as caught:
        load_config(config, plugins=plugins)
    assert {problem.path for problem in caught.value.problems} == {
        f"{SORT}.representation", f"{GUESS}.representation",
    }  # fmt: skip
    assert "`acme-parts:Pooled` or `other-parts:Pooled`" in str(caught.value)
    picked = at(config, f"{SORT}.representation", {"other-parts:Pooled": {"encoder": "acme-parts:Recurrent"}})
    picked = at(picked, f"{GUESS}.representation", "acme-parts:Recurrent")
    assert (
        load_config(picked, plugins=plugins).config.tasks["sort"].config.representation.name
        == "other-parts:Pooled"
    )


@pytest.mark.parametrize(
    ("field", "hint", "message"),
    [
        (
            slot("representation", {"Recurrent": {"widht": 1}}),
            Component,
            "sets `widht`, which Recurrent does not have",
        ),
        (slot("representation", "Recurrent", depth=3), Component, "its config does not say its `depth`"),
        (option(1), set[int], "has a type hint that JSON cannot express"),
        (option(1), Component, "must be a `slot`"),
        (option(1), "Nothing", "cannot be read"),
    ],
)
def test_c8_a_config_class_that_is_wrong_is_an_error_only_where_it_is_used(
    parts: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    config: Any,
    load: Any,
    field: Any,
    hint: Any,
    message: str,
) -> None:
    def make(namespace: dict[str, Any]) -> None:
        namespace |= {"__annotations__": {"part": hint}, "part": field, "__module__": "acme_parts"}

    wrong = configclass(new_class("WrongConfig", (parts.RecurrentConfig,), exec_body=make))
    monkeypatch.setattr(parts, "GatedConfig", wrong)
    assert load(config).config
    with pytest.raises(UsageError, match=message):
        load(at(config, f"{GUESS}.representation", "Gated"))


# --- all at once ---------------------------------------------------------------------------------

TWELVE = """{
  "base_dir": BASE,
  "target_task": "sorte",
  "task_weights": {"sort": "1"},
  "tasks": {
    "sort": {"SortTask": {
      "batch_size": 0,
      "data": {"train_path": "none.txt"},
      "features": {"wrods": {}},
      "representation": {"encoder": "Pooled"},
      "representation": {}
    }},
    "guess": {"GuessTask": {
      "data": {},
      "representation": {"Recurent": {}}
    }}
  },
  "trainer": {"epochz": 5, "optimizer": {"lr": NaN}},
  "schedule": {"Sequential": {"epoch": "steps"}}
}
"""


def test_twelve_mistakes_give_twelve_problems_each_with_place_path_and_hint(
    refused: Any, base_dir: Path, tmp_path: Path
) -> None:
    path = tmp_path / "run.json"
    path.write_text(TWELVE.replace("BASE", json.dumps(str(base_dir))))
    problems = refused(path)
    assert [(problem.line, problem.column, problem.path) for problem in problems] == [
        (3, 18, "target_task"),
        (4, 28, "task_weights.sort"),
        (7, 21, f"{SORT}.batch_size"),
        (8, 30, f"{SORT}.data.train_path"),
        (9, 20, f"{SORT}.features.wrods"),
        (10, 37, f"{SORT}.representation.encoder"),
        (11, 7, f"{SORT}.representation"),
        (14, 15, f"{GUESS}.data.train_path"),
        (15, 26, f"{GUESS}.representation.Recurent"),
        (18, 15, "trainer.epochz"),
        (18, 48, "trainer.optimizer.lr"),
        (19, 40, "schedule.Sequential.epoch"),
    ]
    assert all(problem.hint and problem.message for problem in problems)
    lines = [problem.render(str(path)) for problem in problems]
    assert lines[0] == (
        f"{path}:3:18: target_task: `target_task` must name a task, but there is none called `sorte`"
        " (did you mean `sort`?)"
    )


def test_the_tutorials_configs_are_valid_without_their_data() -> None:
    pytest.importorskip("mtl_text")

    folder = Path(__file__).parents[3] / "configs"
    configs = sorted(folder.glob("*.json"))
    assert configs
    # What a pretrained model says of itself would be read from the Hub.
    of_model = {"hidden_size": 384, "positions": 512, "vocabulary": 30522, "model_type": '"bert"'}
    of_model |= {"causal": "false", "tokenizer_hash": '"0"'}
    features = "tasks.SST2.DocClassificationTask.features.pretrained_feat"
    for path in configs:
        overrides = [f"{features}.{name}={value}" for name, value in of_model.items()]
        loaded = load_config(
            path,
            plugins=discover(),
            overrides=overrides if "pretrained" in path.name else (),
            check_paths=False,
        )
        assert loaded.warnings == ()


words = st.sampled_from(["Recurrent", "Pooled", "sort", "rows.txt", "."])
keys = st.sampled_from(["Pooled", "Recurrent", "encoder", "shared_module_key", "words", "dim"])
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5) | words
json_values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3) | keys, inner, max_size=3)
    ),
    max_leaves=8,
)
PLACES = (
    """
base_dir tasks tasks.sort task task_weights target_task trainer trainer.optimizer schedule loggers unknown
SORT SORT.data SORT.data.train_path SORT.features SORT.features.words SORT.labels SORT.representation
SORT.representation.encoder GUESS GUESS.representation GUESS.features.shared_module_key
""".replace("SORT", SORT)
    .replace("GUESS", GUESS)
    .split()
)


@settings(max_examples=300)
@given(st.dictionaries(st.sampled_from(PLACES), json_values, min_size=1, max_size=3))
def test_whatever_stands_in_a_config_it_is_loaded_or_refused_with_its_mistakes(
    plugins: Plugins, base_dir: Path, values: dict[str, Any]
) -> None:
    data = {"data": {"train_path": "rows.txt"}}
    config = {
        "base_dir": str(base_dir),
        "tasks": {"sort": {"SortTask": data}, "guess": {"GuessTask": data}},
    }
    for place in sorted(values):
        try:
            config = at(config, place, values[place])
        except (TypeError, AttributeError):  # there is no such place any more
            continue
    try:
        loaded = load_config(config, plugins=plugins)
    except ConfigError as error:
        assert all(problem.message and problem.hint for problem in error.problems)
        assert str(error)
    else:
        assert load_config(dump(loaded.config), plugins=plugins).config == loaded.config


# --- some tasks alone ----------------------------------------------------------------------------


def test_some_tasks_of_a_dumped_config_are_resolved_without_the_rest(load: Any, config: Any) -> None:
    config["tasks"]["sort"]["SortTask"]["features"] = {"shared_module_key": "F", "words": {"dim": 3}}
    config["tasks"]["guess"]["GuessTask"]["features"] = {"shared_module_key": "F"}
    config |= {"seed": 3, "target_task": "guess", "task_weights": {"sort": 2.0}}
    whole = load(config).config
    dumped = dump(whole)
    dumped["balancer"] = {"Gone": {}}
    dumped["loggers"] = [{"Gone": {}}]
    dumped["schedule"] = {"Gone": {}}
    dumped["trainer"]["optimizer"] = {"Gone": {}}
    dumped["phases"] = [{"optimizer": {"Gone": {}}}]
    for name in ("sort", "guess"):
        other = {"sort": "guess", "guess": "sort"}[name]
        given = {**dumped, "tasks": {**dumped["tasks"], other: {"Gone": {}}}}
        part = load(given, only_tasks=[name]).config
        assert part.tasks == {name: whole.tasks[name]}
        assert (part.seed, part.device, part.base_dir) == (whole.seed, whole.device, whole.base_dir)
    with pytest.raises(UsageError, match="no task is called `sart` \\(did you mean `sort`\\?\\)"):
        load(dumped, only_tasks=["sart"])


def test_a_schema_is_for_editors_alone(load: Any, refused: Any, config: Any, plugins: Plugins) -> None:
    given = {"$schema": "https://acme.example/mtl.json", **config}
    assert load(given).config == load(config).config
    [problem] = refused({**config, "$schema": 3})
    assert (problem.path, problem.message) == ("$schema", "`$schema` must be a string, but is 3")
    kept = json.loads(migrated(json.dumps(given), plugins=plugins).text)
    assert kept["$schema"] == "https://acme.example/mtl.json"
