"""A run that keeps what its components read elsewhere: it needs the run folder and its data only."""

from __future__ import annotations

import copy
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, Self

import attrs
import polars as pl
import pytest
import torch
from torch import Tensor, nn

import mtl
from mtl import (
    Builder,
    ComponentSpec,
    Featurizer,
    FeaturizerConfig,
    InputPath,
    Ragged,
    configclass,
    hookimpl,
    option,
)
from mtl.errors import ConfigError, UsageError
from mtl.files import MANIFEST, write_manifest
from mtl.plugins import Plugins, discover

Config = dict[str, Any]


@configclass
class LexiconFeatConfig(FeaturizerConfig):
    """Scores of words from a file: a word, a tab and numbers per line."""

    lexicon: InputPath = option(help="The file.")
    width: int | None = option(None, "Numbers per word; as many as the file has if absent.")

    def resolve(self) -> Self:
        if self.width is not None:
            return self
        first = self.lexicon.read_text().splitlines()[0]
        return attrs.evolve(self, width=len(first.split("\t")) - 1)

    @property
    def output_dim(self) -> int:
        assert self.width is not None
        return self.width


class LexiconFeat(Featurizer[LexiconFeatConfig]):
    """The numbers of each word, zeros if the file lacks it."""

    def __init__(self, config: LexiconFeatConfig) -> None:
        super().__init__(config)
        self.path: Path = config.lexicon

    @property
    def rows(self) -> dict[str, list[float]]:
        cells = [line.split("\t") for line in self.path.read_text().splitlines()]
        return {word: [float(number) for number in numbers] for word, *numbers in cells}

    def encode(self, tokens: pl.Series) -> dict[str, Any]:
        words = {word: number for number, word in enumerate(self.rows, start=1)}
        ids = pl.Series([words.get(word, 0) for row in tokens.to_list() for word in row])
        return {"ids": Ragged.from_lists(tokens, ids, dtype=torch.int32)}

    def build_embedding(self, build: Builder) -> nn.Module:
        return Scores(torch.tensor([[0.0] * self.config.output_dim, *self.rows.values()]))

    def save_files(self, folder: Path) -> None:
        shutil.copy(self.path, folder / "lexicon.tsv")

    def load_files(self, folder: Path) -> None:
        self.path = folder / "lexicon.tsv"


class Scores(nn.Module):
    """Ids `[batch, time]` to scores `[batch, time, width]`."""

    def __init__(self, scores: Tensor) -> None:
        super().__init__()
        self.register_buffer("scores", scores, persistent=False)
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, columns: dict[str, Tensor]) -> Tensor:
        scores: Tensor = self.get_buffer("scores")
        return scores[columns["ids"]] * self.scale


@pytest.fixture(scope="module")
def lexical() -> Any:
    """All installed plugins and one with the featurizer above."""
    module = ModuleType("lexical")
    vars(module).update(Config=LexiconFeatConfig, factory=LexiconFeat)
    sys.modules["lexical"] = module
    spec = ComponentSpec(name="lexicon_feat", config="lexical:Config", factory="lexical:factory")
    plugins = discover(blocked=[])
    plugin = SimpleNamespace(mtl_api=">=1,<2", mtl_featurizers=hookimpl(lambda: [spec]))
    assert plugins.register(plugin, "acme-lexical", "1.0", "lexical").state == "ok"
    yield plugins
    del sys.modules["lexical"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rows")
    rows = [f"a {word} film\t{label}\n" for label, word in enumerate(["dull", "great"])] * 8
    (folder / "rows.tsv").write_text("text\tlabel\n" + "".join(rows))
    return folder


def config_in(folder: Path, epochs: int) -> Config:
    task = {
        "data": {"train_path": "rows.tsv", "eval_path": "rows.tsv"},
        "batch_size": 4,
        "features": {"lexicon_feat": {"lexicon": "lexicon.tsv"}},
        "representation": {"BiLSTMDocAttention": {"lstm": {"lstm_dim": 3}}},
    }
    return {
        "base_dir": str(folder),
        "tasks": {"Films": {"DocClassificationTask": task}},
        "trainer": {"epochs": epochs, "num_threads": 1},
        "device": "cpu",
    }


@pytest.fixture(scope="module")
def trained(folder: Path, lexical: Plugins, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one epoch, whose lexicon has been removed."""
    run = tmp_path_factory.mktemp("trained") / "run"
    lexicon = folder / "lexicon.tsv"
    lexicon.write_text("dull\t-1\t0.5\ngreat\t1\t0.25\n")
    mtl.train(config_in(folder, 1), output=run, plugins=lexical)
    lexicon.unlink()
    return run


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "run"))


def test_t3_the_runs_config_holds_what_was_found_elsewhere(run: Path) -> None:
    features = json.loads((run / "config.json").read_text())["tasks"]["Films"]["DocClassificationTask"][
        "features"
    ]
    assert features["lexicon_feat"]["width"] == 2


def test_t3_a_model_predicts_without_the_files_that_it_was_made_from(run: Path, lexical: Plugins) -> None:
    assert (run / "model/files/featurizers/Films.lexicon_feat/lexicon.tsv").is_file()
    loaded = mtl.load(run, plugins=lexical)
    answers = list(loaded.predict("Films", [{"text": "a great film"}, {"text": "a dull film"}]))
    assert answers[0]["probabilities"] != answers[1]["probabilities"]
    moved = run.rename(run.with_name("elsewhere"))
    assert list(mtl.load(moved, plugins=lexical).predict("Films", [{"text": "a great film"}])) == answers[:1]


def test_t3_a_run_is_resumed_without_the_files_that_it_began_with(
    run: Path, folder: Path, lexical: Plugins, tmp_path: Path
) -> None:
    resumed = mtl.train(config_in(folder, 2), output=run, resume=True, plugins=lexical)
    whole = tmp_path / "whole"
    lexicon = shutil.copy(run / "files/featurizers/Films.lexicon_feat/lexicon.tsv", folder / "lexicon.tsv")
    uninterrupted = mtl.train(config_in(folder, 2), output=whole, plugins=lexical)
    Path(lexicon).unlink()
    assert resumed.data["tasks"]["Films"]["eval"] == uninterrupted.data["tasks"]["Films"]["eval"]
    assert (run / "model/weights.safetensors").read_bytes() == (
        whole / "model/weights.safetensors"
    ).read_bytes()


def test_a_new_run_says_what_it_cannot_find(folder: Path, lexical: Plugins, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"lexicon_feat\.lexicon"):
        mtl.train(config_in(folder, 1), output=tmp_path / "other", plugins=lexical)


def test_another_file_is_a_change(run: Path, folder: Path, lexical: Plugins) -> None:
    other = folder / "other.tsv"
    other.write_text("dull\t-1\t0.5\ngreat\t1\t0.75\n")
    changed = copy.deepcopy(config_in(folder, 2))
    changed["tasks"]["Films"]["DocClassificationTask"]["features"]["lexicon_feat"]["lexicon"] = "other.tsv"
    with pytest.raises(UsageError, match=r"lexicon.tsv. before, .*other.tsv. now"):
        mtl.train(changed, output=run, resume=True, plugins=lexical)
    mtl.train(changed, output=run, resume=True, allow_changes=True, plugins=lexical)
    kept = run / "files/featurizers/Films.lexicon_feat/lexicon.tsv"
    assert kept.read_text() == other.read_text()


# --- a stranger's model folder ---------------------------------------------------------------------


def add(name: str) -> Callable[[Path], None]:
    def spoil(files: Path) -> None:
        (files / name).parent.mkdir(parents=True, exist_ok=True)
        (files / name).write_text("x")

    return spoil


def link(files: Path) -> None:
    (files / "featurizers/hosts").symlink_to("/etc/hosts")


def link_in_place(files: Path) -> None:
    inside = files / "featurizers/Films.lexicon_feat"
    shutil.move(inside, files.parents[1] / "outside")
    inside.symlink_to(files.parents[1] / "outside")


def change(files: Path) -> None:
    (files / "featurizers/Films.lexicon_feat/lexicon.tsv").write_text("dull\t9\t9\n")


def remove(files: Path) -> None:
    (files / "featurizers/Films.lexicon_feat/lexicon.tsv").unlink()


DAMAGED = [add("featurizers/extra"), add("extra"), link, link_in_place, change, remove]


@pytest.mark.parametrize("spoil", DAMAGED)
def test_files_that_are_not_what_was_written_are_refused(
    run: Path, lexical: Plugins, spoil: Callable[[Path], None]
) -> None:
    spoil(run / "model/files")
    with pytest.raises(UsageError, match=r"files|lexicon"):
        mtl.load(run, plugins=lexical)


@pytest.mark.parametrize("name", ["files/../../config.json", "files//etc/hosts", "files/missing", "files"])
def test_names_in_a_manifest_are_never_opened(run: Path, lexical: Plugins, name: str) -> None:
    manifest = run / "model" / MANIFEST
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), name: "0" * 64}))
    with pytest.raises(UsageError, match="do not belong here"):
        mtl.load(run, plugins=lexical)


@pytest.mark.parametrize("spoil", DAMAGED[:1] + DAMAGED[2:])
def test_a_run_is_not_resumed_with_damaged_files(
    run: Path, folder: Path, lexical: Plugins, spoil: Callable[[Path], None]
) -> None:
    spoil(run / "files")
    with pytest.raises(UsageError, match=r"files|lexicon"):
        mtl.train(config_in(folder, 2), output=run, resume=True, plugins=lexical)


def test_a_component_may_have_any_name(tmp_path: Path, folder: Path, lexical: Plugins) -> None:
    (folder / "lexicon.tsv").write_text("dull\t-1\n")
    config = config_in(folder, 1)
    features = config["tasks"]["Films"]["DocClassificationTask"]["features"]
    features["lexicon_feat"]["shared_module_key"] = "../../..//ä b"
    mtl.train(config, output=tmp_path / "run", plugins=lexical)
    (folder / "lexicon.tsv").unlink()
    [kept] = (tmp_path / "run/model/files/featurizers").iterdir()
    assert kept.name == "%2E.%2F..%2F..%2F%2Fä%20b" and (kept / "lexicon.tsv").is_file()
    assert mtl.load(tmp_path / "run", plugins=lexical)


def test_a_link_in_place_of_a_file_is_not_written_down(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/etc/hosts")
    with pytest.raises(OSError, match="link or device"):
        write_manifest(tmp_path)
