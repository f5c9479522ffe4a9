"""Modules with a state of their own, and models that an older version of a plugin has saved."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import polars as pl
import pytest
import torch
from torch import Tensor, nn

import mtl
from mtl import (
    Builder,
    ComponentSpec,
    Direction,
    Featurizer,
    FeaturizerConfig,
    Migration,
    Output,
    Ragged,
    RepresentationConfig,
    configclass,
    hookimpl,
    option,
)
from mtl.errors import ComponentError, PluginError, UsageError
from mtl.files import MANIFEST, write_manifest
from mtl.plugins import Plugins, discover

Config = dict[str, Any]
ELSEWHERE = {"width": 5}
"""What a module reads when it starts, such as the settings of a pretrained model."""


@configclass
class FoundConfig(RepresentationConfig):
    """As wide as is found elsewhere."""

    @property
    def output(self) -> Output:
        return Output.SEQUENCE

    @property
    def direction(self) -> Direction:
        return Direction.CAUSAL

    def output_dim(self, input_dim: int) -> int:
        return input_dim


class Found(nn.Module):
    """A vector per token, through a width that its config does not say."""

    made: ClassVar[list[bool]] = []

    def __init__(self, config: FoundConfig, build: Builder, *, input_dim: int) -> None:
        super().__init__()
        state = build.module_state(config)
        self.made.append(build.is_loading)
        self.width = ELSEWHERE["width"] if state is None else state["width"]
        self.down = nn.Linear(input_dim, self.width)
        self.up = nn.Linear(self.width, input_dim)

    def state(self) -> dict[str, Any]:
        return {"width": self.width}

    def forward(self, embedded: Tensor, lengths: Tensor) -> Tensor:
        inside = torch.arange(embedded.shape[1], device=lengths.device) < lengths[:, None]
        states: Tensor = self.up(self.down(embedded)) * inside[..., None]
        return states


@configclass
class LengthsConfig(FeaturizerConfig):
    """The length of each word, as a vector."""

    dim: int = option(3, "Width.")

    @property
    def output_dim(self) -> int:
        return self.dim


class Lengths(Featurizer[LengthsConfig]):
    """Up to the longest word in training."""

    longest = 0

    def fit(self, corpora: Mapping[str, Any]) -> None:
        rows = [row for corpus in corpora.values() for piece in corpus for row in piece.to_list()]
        self.longest = max(len(word) for row in rows for word in row)

    def encode(self, tokens: pl.Series) -> dict[str, Any]:
        lengths = [min(len(word), self.longest) for row in tokens.to_list() for word in row]
        return {"lengths": Ragged.from_lists(tokens, pl.Series(lengths), dtype=torch.int32)}

    def build_embedding(self, build: Builder) -> nn.Module:
        return Table(self.longest + 1, self.config.dim)

    def state(self) -> dict[str, Any]:
        return {"longest": self.longest}

    def load_state(self, state: Mapping[str, Any]) -> None:
        self.longest = state["longest"]


class Table(nn.Module):
    """Lengths `[batch, time]` to vectors."""

    def __init__(self, size: int, dim: int) -> None:
        super().__init__()
        self.table = nn.Embedding(size, dim)

    def forward(self, columns: Mapping[str, Tensor]) -> Tensor:
        vectors: Tensor = self.table(columns["lengths"])
        return vectors


STATE_MIGRATIONS = [Migration("max_length", "longest", since="2.0")]
MODULE_MIGRATIONS = [Migration("sizes", lambda sizes: {"width": sizes[0]}, since="2.0")]
MODULE_WEIGHTS = {"inner.first": "down", "inner.last.w": "up.weight", "inner.last.b": "up.bias"}
TABLE_WEIGHTS = {"embedding": "table"}


@pytest.fixture
def acme() -> Iterator[Plugins]:
    module = ModuleType("acme_found")
    vars(module).update(globals())
    sys.modules["acme_found"] = module
    specs = {
        "mtl_representations": ComponentSpec(
            name="Found",
            config="acme_found:FoundConfig",
            factory="acme_found:Found",
            state_migrations="acme_found:MODULE_MIGRATIONS",
            renamed_weights="acme_found:MODULE_WEIGHTS",
        ),
        "mtl_featurizers": ComponentSpec(
            name="length_feat",
            config="acme_found:LengthsConfig",
            factory="acme_found:Lengths",
            state_migrations="acme_found:STATE_MIGRATIONS",
            renamed_weights="acme_found:TABLE_WEIGHTS",
        ),
    }
    hooks = {hook: hookimpl(lambda spec=spec: [spec]) for hook, spec in specs.items()}
    plugins = discover(blocked=[])
    plugin = SimpleNamespace(mtl_api=">=1,<2", **hooks)
    assert plugins.register(plugin, "acme-found", "2.0", "acme_found").state == "ok"
    Found.made.clear()
    yield plugins
    del sys.modules["acme_found"]


@pytest.fixture
def config(tmp_path: Path) -> Config:
    rows = [f"a {word} film\t{label}\n" for label, word in enumerate(["dull", "brilliant"])] * 8
    (tmp_path / "rows.tsv").write_text("text\tlabel\n" + "".join(rows))
    task = {
        "data": {"train_path": "rows.tsv", "eval_path": "rows.tsv"},
        "batch_size": 4,
        "features": {"length_feat": {}},
        "representation": {"BiLSTMDocAttention": {"lstm": {"Found": {}}}},
    }
    return {
        "base_dir": str(tmp_path),
        "tasks": {"Films": {"DocClassificationTask": task}},
        "trainer": {"epochs": 1, "num_threads": 1},
        "device": "cpu",
    }


@pytest.fixture
def run(config: Config, acme: Plugins, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run, after which nothing is found elsewhere anymore."""
    folder = tmp_path / "run"
    mtl.train(config, output=folder, plugins=acme)
    monkeypatch.delitem(ELSEWHERE, "width")
    return folder


KEY = "Films.representation.BiLSTMDocAttention.lstm.Found"


def test_a_modules_state_is_saved_and_given_back(run: Path, acme: Plugins) -> None:
    assert json.loads((run / "model/modules.json").read_text()) == {KEY: {"width": 5}}
    assert not any(Found.made)
    loaded = mtl.load(run, plugins=acme)
    assert Found.made[-1]
    [answer] = loaded.predict("Films", [{"text": "a brilliant film"}])
    assert answer["label"] in ("0", "1")


def test_a_resumed_run_builds_its_modules_from_their_states(run: Path, config: Config, acme: Plugins) -> None:
    config["trainer"]["epochs"] = 2
    before = len(Found.made)
    result = mtl.train(config, output=run, resume=True, plugins=acme)
    assert result.data["steps"] == 8 and all(Found.made[before:])


def test_without_a_whole_checkpoint_modules_start_again(
    run: Path, config: Config, acme: Plugins, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ELSEWHERE, "width", 4)
    for checkpoint in (run / "checkpoints").iterdir():
        (checkpoint / "state.json").write_text("{}")
    config["trainer"]["epochs"] = 2
    before = len(Found.made)
    mtl.train(config, output=run, resume=True, plugins=acme)
    assert not any(Found.made[before:])
    assert json.loads((run / "model/modules.json").read_text()) == {KEY: {"width": 4}}


@pytest.mark.parametrize("state", [{1, 2}, {"width": float("nan")}, 3])
def test_a_state_that_is_not_json_names_its_module(
    config: Config, acme: Plugins, tmp_path: Path, state: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Found, "state", lambda self: state)
    with pytest.raises(ComponentError, match=r"Found .* failed to save its state"):
        mtl.train(config, output=tmp_path / "run", plugins=acme)


# --- a model of an older version ---------------------------------------------------------------------


def age(run: Path, *, both: bool = False) -> None:
    """Write the run's model and checkpoints as version 1 of the plugin had them."""
    from safetensors import safe_open
    from safetensors.torch import save_file

    def old(name: str) -> str:
        for before, after in (
            (".down.", ".inner.first."),
            (".up.weight", ".inner.last.w"),
            (".up.bias", ".inner.last.b"),
            (".table.", ".embedding."),
        ):
            name = name.replace(before, after)
        return name

    model = run / "model"
    with safe_open(model / "weights.safetensors", framework="pt") as stored:
        tensors, metadata = {old(name): stored.get_tensor(name) for name in stored.keys()}, stored.metadata()  # noqa: SIM118
    save_file(tensors, model / "weights.safetensors", metadata)
    learned = json.loads((model / "featurizers.json").read_text())
    [(key, state)] = learned.items()
    aged = {"max_length": state["longest"], **(state if both else {})}
    (model / "featurizers.json").write_text(json.dumps({key: aged}))
    (model / "modules.json").write_text(json.dumps({KEY: {"sizes": [5]}}))
    (model / MANIFEST).unlink()
    write_manifest(model)
    for checkpoint in (run / "checkpoints").iterdir():
        path = checkpoint / "tensors.safetensors"
        with safe_open(path, framework="pt") as stored:
            tensors = {old(name): stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
        save_file(tensors, path)
        state = json.loads((checkpoint / "state.json").read_text())
        state["modules"] = {KEY: {"sizes": [5]}}
        state["row_names"] = {old(name): rows for name, rows in state["row_names"].items()}
        (checkpoint / "state.json").write_text(json.dumps(state))
        (checkpoint / MANIFEST).unlink()
        write_manifest(checkpoint)


def test_states_and_weights_of_an_older_version_are_migrated(
    run: Path, config: Config, acme: Plugins, tmp_path: Path
) -> None:
    text = [{"text": "a brilliant film"}]
    expected = list(mtl.load(run, plugins=acme).predict("Films", text))
    aged = Path(shutil.copytree(run, tmp_path / "aged"))
    age(aged)
    assert list(mtl.load(aged, plugins=acme).predict("Films", text)) == expected
    config["trainer"]["epochs"] = 2
    for folder in (run, aged):
        mtl.train(config, output=folder, resume=True, plugins=acme)
    new, old = (mtl.load(folder, plugins=acme).model.state_dict() for folder in (run, aged))
    assert new.keys() == old.keys() and all(torch.equal(new[name], old[name]) for name in new)


def test_an_old_key_beside_its_successor_is_refused(run: Path, acme: Plugins) -> None:
    age(run, both=True)
    with pytest.raises(UsageError, match=r"`max_length` of its state is `longest` since 2\.0, but "):
        mtl.load(run, plugins=acme)


def test_a_migration_that_refuses_a_value_is_named(run: Path, acme: Plugins) -> None:
    (run / "model/modules.json").write_text(json.dumps({KEY: {"sizes": 5}}))
    (run / "model" / MANIFEST).unlink()
    write_manifest(run / "model")
    with pytest.raises(PluginError, match=r"Found: `sizes` of its state cannot be migrated: TypeError"):
        mtl.load(run, plugins=acme)


@pytest.mark.parametrize("text", ["[]", '{"x": 3}', "{"])
def test_states_from_a_stranger_are_checked(run: Path, acme: Plugins, text: str) -> None:
    (run / "model/modules.json").write_text(text)
    (run / "model" / MANIFEST).unlink()
    write_manifest(run / "model")
    with pytest.raises(UsageError, match=r"modules\.json"):
        mtl.load(run, plugins=acme)
