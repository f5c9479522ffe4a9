"""The resolved config reads back as it was."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mtl.config.dumping import dump
from mtl.config.load import load_config
from mtl.config.overrides import override
from mtl.config.schema import json_schema
from mtl.config.source import from_value
from mtl.plugins import Plugins

share = st.floats(0, 0.9)
width = st.integers(1, 50)
recurrent_settings = st.fixed_dictionaries(
    {},
    optional={
        "width": width,
        "dropout": share | st.just(0),
        "sizes": st.lists(width),
        "save_path": st.just("a/b.st"),
    },
)
recurrent = st.one_of(
    st.just("Recurrent"),
    recurrent_settings,
    recurrent_settings.map(lambda each: {"Recurrent": each}),
    recurrent_settings.map(lambda each: {"acme-parts:Recurrent": each}),
    width.map(lambda gates: {"Gated": {"gates": gates}}),
)
pooled = st.fixed_dictionaries({}, optional={"encoder": recurrent, "dense": st.lists(width, max_size=3)})
features = st.dictionaries(
    st.sampled_from(["words", "letters"]), st.fixed_dictionaries({}, optional={"dim": width})
)
data = st.fixed_dictionaries(
    {"train_path": st.just("rows.txt")},
    optional={
        "eval_path": st.none() | st.just("words.txt"),
        "on_bad_row": st.sampled_from(["error", "skip"]),
        "columns": st.dictionaries(st.text(), st.text() | st.integers(-(2**63) + 1, 2**63 - 1)),
    },
)
sort = st.fixed_dictionaries(
    {"data": data},
    optional={
        "features": features,
        "representation": pooled | st.just("Pooled") | pooled.map(lambda each: {"Pooled": each}),
        "batch_size": width,
        "batch_tokens": st.none() | width,
        "mode": st.sampled_from(["plain", "fancy"]),
        "labels": st.lists(st.text(min_size=1)),
    },
)
guess = st.fixed_dictionaries({"data": data}, optional={"features": features, "representation": recurrent})
run = st.fixed_dictionaries(
    {"tasks": st.fixed_dictionaries({"sort": sort.map(lambda each: {"SortTask": each})},
        optional={"guess": guess.map(lambda each: {"GuessTask": each})})},
    optional={
        "target_task": st.just("sort"),
        "task_weights": st.fixed_dictionaries({"sort": st.floats(0.1, 3)}),
        "loggers": st.lists(st.sampled_from(["Notes", {"Notes": {"level": "high", "ratio": 1}}]), max_size=3),
        "trainer": st.fixed_dictionaries(
            {},
            optional={
                "epochs": width,
                "optimizer": st.sampled_from(["SGD", {"lr": 1}, {"AdamW": {"betas": [0.5, 0]}}]),
                "compile": st.booleans(),
            },
        ),
        "seed": st.integers(0, 9),
    },
)  # fmt: skip


Misfits = Callable[[Any], list[str]]


@pytest.fixture(scope="session")
def misfits(plugins: Plugins) -> Misfits:
    """What the schema has against a config."""
    schema = json_schema(plugins)
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    return lambda config: [error.message for error in validator.iter_errors(config)]


@given(run)
def test_a_config_and_its_resolved_form_are_the_same_and_fit_the_schema(
    plugins: Plugins, base_dir: Path, misfits: Misfits, config: Any
) -> None:
    assume(json.dumps(config).count("a/b.st") < 2)  # two modules would write one file
    config["base_dir"] = str(base_dir)
    loaded = load_config(config, plugins=plugins)
    dumped = dump(loaded.config)
    again = load_config(json.dumps(dumped), plugins=plugins)
    assert again.config == loaded.config
    assert dump(again.config) == dumped
    assert misfits(config) == []
    assert misfits(dumped) == []


def test_paths_are_relative_below_base_dir_and_absolute_elsewhere(
    config: Any, load: Any, base_dir: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.txt"
    other.write_text("")
    config["tasks"]["sort"]["SortTask"]["data"]["eval_path"] = str(other)
    config["tasks"]["sort"]["SortTask"]["data"]["test_path"] = str(base_dir / "words.txt")
    dumped = dump(load(config).config)["tasks"]["sort"]["SortTask"]["data"]["Lines"]
    assert (dumped["train_path"], dumped["eval_path"], dumped["test_path"]) == (
        "rows.txt",
        str(other),
        "words.txt",
    )


def test_every_default_is_shown(config: Any, load: Any) -> None:
    dumped = dump(load(config).config)
    assert dumped["trainer"]["optimizer"]["Adam"]["lr"] == 1e-3
    assert dumped["tasks"]["sort"]["SortTask"]["features"]["words"]["dim"] == 10
    assert (
        dumped["tasks"]["sort"]["SortTask"]["representation"]["Pooled"]["encoder"]["Recurrent"]["width"] == 6
    )


def test_a_single_task_fits_the_schema_and_two_forms_at_once_do_not(misfits: Misfits, config: Any) -> None:
    single = config | {"task": "SortTask"}
    assert misfits(single)
    del single["tasks"]
    assert not misfits(single)
    assert misfits({})


@pytest.mark.parametrize(
    "wrong",
    [
        "seed=x",
        "seed=-1",
        "sede=1",
        "target_task=3",
        "device=gpu",
        "tasks={}",
        "tasks.sort=Srot",
        "tasks.sort.SortTask.batch_size=true",
        "tasks.sort.SortTask.data.train_path=",
        'tasks.sort.SortTask.data={"eval_path": "rows.txt"}',
        "tasks.sort.SortTask.representation.Poold={}",
        "tasks.sort.SortTask.representation.encoder.dropout=1",
        "tasks.sort.SortTask.features.wrods={}",
        "tasks.guess.GuessTask.representation=null",
        'tasks.guess.GuessTask.representation={"sizes": [0]}',
        "trainer.optimizer.lrr=1",
        "loggers={}",
        'loggers=[{"Notes": {"level": "middle"}}]',
    ],
)
def test_the_schema_refuses_what_loading_refuses(
    misfits: Misfits, config: Any, refused: Any, wrong: str
) -> None:
    assert not misfits(config)
    refused(config, wrong)
    document = from_value(config)
    override(document, [wrong])
    assert misfits(document.value)


def test_the_schema_carries_help_defaults_and_ranges(plugins: Plugins) -> None:
    definitions = json_schema(plugins)["$defs"]
    recurrent = definitions["representation.acme-parts.Recurrent"]
    assert recurrent["description"] == "A vector a token."
    assert recurrent["properties"]["dropout"] == {
        "description": "Share dropped.",
        "type": "number",
        "minimum": 0,
        "exclusiveMaximum": 1,
        "default": 0.5,
    }  # fmt: skip
    assert definitions["data_source.acme-parts.Lines"]["required"] == ["train_path"]
