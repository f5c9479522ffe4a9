"""What fits into a slot by its declaration stands there, whoever wrote it, and nothing else does; one
within another needs no code."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
from safetensors.torch import load_file

import mtl
from mtl.config.dumping import dump
from mtl.config.load import LoadedConfig, load_config
from mtl.errors import ConfigError
from mtl.plugins import Plugins, discover
from mtl.runs import plan

Config = dict[str, Any]


@pytest.fixture(scope="module")
def all_plugins() -> Iterator[Plugins]:
    """Ours, and the third party's of these tests."""
    source = str(Path(__file__).parent / "acme_ratings/src")
    sys.path.insert(0, source)
    plugins = discover(blocked=[])
    plugins.register(importlib.import_module("acme_ratings.plugin"), "acme-ratings", "1.2.0")
    yield plugins
    sys.path.remove(source)
    for name in [name for name in sys.modules if name.startswith("acme_ratings")]:
        del sys.modules[name]


NO_DATA = {"data": {"train_path": "there-is-none.tsv"}}
"""Whatever is refused with it, is refused before data is read."""


def load(config: Config, plugins: Plugins, *overrides: str) -> LoadedConfig:
    return load_config(config, plugins=plugins, overrides=overrides, check_paths=False)


def slots(plugins: Plugins) -> dict[str, tuple[str, str, Any]]:
    """Every slot for a representation: the kind and name of whose it is, and what it asks for."""
    return {
        f"{name}.{field.name}": (kind, name, field)
        for kind in ("task", "representation")
        for name, (provided, *_) in plugins.available(kind).items()
        for field in attrs.fields(provided.load_config())
        if field.metadata.get("slot") == "representation"
    }


def placed(kind: str, name: str, field: Any, representation: str) -> Config:
    """A config with a representation in a slot of a component."""
    value = [representation] if str(field.type).startswith("list") else representation
    if kind == "task":
        return {"tasks": {"T": {name: {**NO_DATA, field.name: value}}}}
    output = "LMTask" if name == "Stack" else "DocClassificationTask"
    return {"tasks": {"T": {output: {**NO_DATA, "representation": {name: {field.name: value}}}}}}


def test_each_slot_takes_what_declares_what_it_asks_for_and_nothing_else(all_plugins: Plugins) -> None:
    tried = 0
    for label, (kind, name, field) in slots(all_plugins).items():
        wanted = field.metadata["declares"]["output"]
        for representation, (provided, *_) in all_plugins.available("representation").items():
            cls = provided.load_config()
            no_slots = {each.name: None for each in attrs.fields(cls) if each.default is attrs.NOTHING}
            declared = cls(**no_slots).output
            config = placed(kind, name, field, representation)
            tried += 1
            if declared is wanted:
                assert load(config, all_plugins).config.tasks["T"]
                continue
            with pytest.raises(ConfigError) as caught:
                load(config, all_plugins)
            assert (
                f"`{field.name}` needs a representation with output `{wanted.value}`,"
                f" but {representation} has output `{declared.value}`"
            ) in str(caught.value), label
    assert tried >= 6 * len(slots(all_plugins)) >= 36


def test_an_item_of_a_list_is_refused_at_its_place(all_plugins: Plugins) -> None:
    layers = ["BiLSTM", {"DocNN": {}}, {"BiLSTM": {"lstm_dim": 0, "lstm_dmi": 1}}, "BiLSTN"]
    config = {"tasks": {"T": {"LMTask": {**NO_DATA, "representation": {"Stack": {"layers": layers}}}}}}
    with pytest.raises(ConfigError) as caught:
        load(config, all_plugins)
    stack = "tasks.T.LMTask.representation.Stack.layers"
    said = {problem.path: problem.message for problem in caught.value.problems}
    assert said[f"{stack}[2].BiLSTM.lstm_dim"] == "`lstm_dim` must be at least 1, but is 0"
    assert f"{stack}[2].BiLSTM.lstm_dmi" in said
    assert said[f"{stack}[3]"] == "no installed plugin provides the representation 'BiLSTN'"
    del layers[2:]
    with pytest.raises(ConfigError, match=r"layers\[1\].DocNN: `layers` needs .* but DocNN has"):
        load(config, all_plugins)
    layers.clear()
    with pytest.raises(ConfigError, match="`layers` must name at least one representation, but is empty"):
        load(config, all_plugins)


def test_a_list_is_shown_described_and_overridden_by_index(all_plugins: Plugins) -> None:
    config = {"tasks": {"T": {"LMTask": {**NO_DATA, "representation": "Stack"}}}}
    shown = dump(load(config, all_plugins).config)
    [task] = shown["tasks"]["T"].values()
    layers = task["representation"]["Stack"]["layers"]
    assert [list(layer) for layer in layers] == [["BiLSTM"], ["BiLSTM"]]
    assert dump(load(shown, all_plugins).config) == shown
    path = "tasks.T.LMTask.representation.Stack.layers"
    changed = load(shown, all_plugins, f"{path}[1].BiLSTM.lstm_dim=7", f'{path}[0]="AcmeGRU"')
    stack = changed.config.tasks["T"].config.representation.config
    assert [layer.name for layer in stack.layers] == ["AcmeGRU", "BiLSTM"]
    assert stack.output_dim(3) == 14
    with pytest.raises(ConfigError, match=r"there is no `.*layers\[2\]`"):
        load(shown, all_plugins, f"{path}[2].BiLSTM.lstm_dim=7")


def stacked(config: Config, *layers: Any) -> Config:
    """The config with a stack under the classifier, and a pooling of another kind than usual."""
    task = config["tasks"]["SST2"]["DocClassificationTask"]
    task["representation"] = {
        "PooledRepresentation": {"encoder": {"Stack": {"layers": list(layers)}}, "pooling": "MaxPool"}
    }
    return config


def test_a_layer_of_a_stack_is_shared_with_another_task(
    config: Config, all_plugins: Plugins, tmp_path: Path
) -> None:
    shared = {"shared_module_key": "SHARED_LSTM", "lstm_dim": 5, "bidirectional": False}
    upper = {"AcmeGRU": {"hidden_dim": 4}}
    config = stacked(config, {"BiLSTM": shared}, upper)
    planned = {group.key: group for group in load_config(config, plugins=all_plugins).groups}["SHARED_LSTM"]
    assert planned.users == (
        "tasks.SST2.DocClassificationTask.representation.PooledRepresentation.encoder.Stack.layers[0].BiLSTM",
        "tasks.LM.LMTask.representation",
    )
    run = mtl.train(config, output=tmp_path / "run", plugins=all_plugins)
    weights = load_file(run.folder / "model/weights.safetensors")
    assert sum("forward_layers.0.weight_ih_l0" in name for name in weights) == 1
    assert any(name.endswith("layers.1.gru.weight_ih_l0") for name in weights)
    [answer] = mtl.load(run.folder, plugins=all_plugins).predict("SST2", [{"text": "a warm film"}])
    assert answer["label"]


def test_a_frozen_layer_that_was_loaded_stays_as_it_was_to_the_bit(
    single: Config, plugins: Plugins, tmp_path: Path
) -> None:
    saved, after = tmp_path / "first.safetensors", tmp_path / "after.safetensors"
    mtl.train(
        stacked(single, {"BiLSTM": {"lstm_dim": 5, "save_path": str(saved)}}), output=tmp_path / "first"
    )
    frozen = {"lstm_dim": 5, "load_path": str(saved), "freeze": True, "save_path": str(after)}
    second = stacked(single, {"BiLSTM": frozen}, {"BiLSTM": {"lstm_dim": 4}})
    run = mtl.train(json.loads(json.dumps(second)), output=tmp_path / "second")
    before, now = load_file(saved), load_file(after)
    assert before.keys() == now.keys() and len(before) == 8
    assert all(before[name].equal(now[name]) for name in before)
    weights = load_file(run.folder / "model/weights.safetensors")
    inside = "task-SST2.representation.encoder.layers.0."
    assert all(weights[inside + name].equal(before[name]) for name in before)
    modules = {module["path"]: module for module in plan(second)["modules"]}
    lowest = next(module for path, module in modules.items() if path.endswith("layers[0].BiLSTM"))
    assert lowest["trainable"] == 0 and lowest["parameters"] > 0
