"""Weights that another vocabulary or other labels load: each row goes where its word or label is."""

from __future__ import annotations

import copy
import json
import random
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import mtl
from mtl.builder import Builder
from mtl.errors import ConfigError, UsageError
from mtl.files import MANIFEST, write_manifest
from mtl.runs.planning import plan
from mtl.weights import load_module, row_names, save_module
from mtl_text.data_config import CharFeatConfig, NgramFeatConfig, WordFeatConfig
from mtl_text.decoders import MLPDecoder
from mtl_text.featurizers import CharEmbedding, WordEmbedding
from mtl_text.model_config import MLPDecoderConfig
from mtl_text.ngrams import NgramEmbedding
from pytext_plugins_lm.scorers import AdaptiveWordScorer, WordScorer

Config = dict[str, Any]
GOOD, BAD = ["bright", "warm", "clever", "neat"], ["dull", "flat", "hollow", "noisy"]
REST = ["the", "a", "film", "plot", "scene", "story", "music", "pace"]


def write_rows(path: Path, seed: int, names: tuple[str, str], *, more: Sequence[str] = ()) -> None:
    """Rows whose label is told by one word. The seed decides how frequent each other word is."""
    chance = random.Random(seed)
    weights = [chance.random() + 0.05 for _ in REST]
    rows = []
    for number in range(60):
        word = chance.choice([BAD, GOOD][number % 2])
        others = chance.choices(REST, weights, k=6) + chance.sample(more, min(1, len(more)))
        rows.append(f"{' '.join(chance.sample([word, *others], len(others) + 1))}\t{names[number % 2]}\n")
    path.write_text("text\tlabel\n" + "".join(rows))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("films")
    for seed, name in enumerate(("one", "two", "dev")):
        write_rows(folder / f"{name}.tsv", seed, ("0", "1"))
    write_rows(folder / "more.tsv", 7, ("0", "1"), more=["new", "words"])
    (folder / "words.txt").write_text("".join(f"{word}\n" for word in [*REST, *GOOD, *BAD]))
    return folder


def films(folder: Path, rows: str, trainer: Config, **modules: Config) -> Config:
    task = {
        "batch_size": 10,
        "data": {"train_path": f"{rows}.tsv", "eval_path": "dev.tsv"},
        "features": {"word_feat": {"embed_dim": 8, **modules.get("words", {})}},
        "representation": {
            "BiLSTMDocAttention": {"lstm": {"lstm_dim": 6}, **modules.get("representation", {})}
        },
        "decoder": modules.get("decoder", {}),
        **modules.get("task", {}),
    }
    return {
        "base_dir": str(folder),
        "tasks": {"Films": {"DocClassificationTask": task}},
        "trainer": {"num_threads": 1, **trainer},
        "device": "cpu",
    }


LEARNS = {"epochs": 12, "optimizer": {"Adam": {"lr": 0.02}}}
STANDS = {"max_steps": 1, "optimizer": {"Adam": {"lr": 1e-9}}}
PLACES = ("words", "representation", "decoder")


@pytest.fixture(scope="module")
def saved(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[float, dict[str, Path], Path]:
    """The accuracy of a classifier, the files that its three modules are saved in, and its run."""
    out = tmp_path_factory.mktemp("saved")
    paths = {place: out / f"{place}.safetensors" for place in PLACES}
    modules = {place: {"save_path": str(path)} for place, path in paths.items()}
    result = mtl.train(films(folder, "one", LEARNS, **modules), output=out / "run")
    return accuracy(result), paths, out / "run"


def accuracy(result: mtl.Result) -> float:
    value: float = result.data["tasks"]["Films"]["eval"]["accuracy"]
    return value


def from_files(paths: dict[str, Path]) -> dict[str, Config]:
    return {place: {"load_path": str(path)} for place, path in paths.items()}


@pytest.mark.parametrize("rows", ["one", "two", "more"])
def test_modules_keep_their_accuracy_with_other_training_rows(
    folder: Path, saved: tuple[float, dict[str, Path], Path], tmp_path: Path, rows: str
) -> None:
    before, paths, _ = saved
    assert before > 0.95
    result = mtl.train(films(folder, rows, STANDS, **from_files(paths)), output=tmp_path / "run")
    assert accuracy(result) == before


def test_a_vocabulary_file_is_sorted_by_the_new_rows_and_still_fits(
    folder: Path, saved: tuple[float, dict[str, Path], Path], tmp_path: Path
) -> None:
    before, paths, _ = saved
    modules = from_files(paths)
    modules["words"] |= {"vocab_file": "words.txt", "vocab_from_train_data": False}
    assert accuracy(mtl.train(films(folder, "two", STANDS, **modules), output=tmp_path / "run")) == before


def test_labels_in_another_order_turn_nothing_around(
    folder: Path, saved: tuple[float, dict[str, Path], Path], tmp_path: Path
) -> None:
    before, paths, _ = saved
    modules = {**from_files(paths), "task": {"labels": ["1", "0"]}}
    config = films(folder, "one", STANDS, **modules)
    assert plan(config)["notices"] == [
        "tasks.Films.DocClassificationTask.decoder: rows of"
        f" {paths['decoder']} were matched by name: 2 moved, 0 new, 0 dropped"
    ]
    assert accuracy(mtl.train(config, output=tmp_path / "run")) == before


def test_labels_of_another_task_are_refused_by_name(
    folder: Path, saved: tuple[float, dict[str, Path], Path], tmp_path: Path
) -> None:
    write_rows(folder / "named.tsv", 0, ("bad", "good"))
    config = films(folder, "named", STANDS, decoder={"load_path": str(saved[1]["decoder"])})
    config["tasks"]["Films"]["DocClassificationTask"]["data"]["eval_path"] = "named.tsv"
    with pytest.raises(UsageError, match=r"output\.bias has a row for each of '0', '1', but needs 'bad', "):
        mtl.train(config, output=tmp_path / "run")


@pytest.mark.parametrize("place", ["words", "decoder"])
def test_a_file_without_names_is_refused_with_what_to_do(
    folder: Path, saved: tuple[float, dict[str, Path], Path], tmp_path: Path, place: str
) -> None:
    bare = tmp_path / "bare.safetensors"
    save_file(load_file(saved[1][place]), bare)
    with pytest.raises(UsageError, match=rf"{re.escape(str(bare))}: .* rows have no names .*`save_path`"):
        plan(films(folder, "one", STANDS, **{place: {"load_path": str(bare)}}))


def test_words_are_moved_new_and_dropped_and_counted(
    folder: Path, saved: tuple[float, dict[str, Path], Path]
) -> None:
    config = films(folder, "more", STANDS, words={"load_path": str(saved[1]["words"])})
    [notice] = plan(config)["notices"]
    assert re.search(r"word_feat: rows of .* matched by name: \d+ moved, 2 new, 0 dropped$", notice)


def test_a_shared_decoder_with_labels_in_another_order_is_a_conflict(folder: Path) -> None:
    config = films(folder, "one", STANDS, decoder={"shared_module_key": "HEAD"})
    [task] = config["tasks"]["Films"].values()
    other = copy.deepcopy(task) | {"labels": ["1", "0"]}
    config["tasks"]["More"] = {"DocClassificationTask": other}
    with pytest.raises(ConfigError, match=r"'HEAD' does not fit: .*output_names='1', '0' \(2\) here"):
        plan(config)


# --- a run that goes on with other data -------------------------------------------------------------


@pytest.mark.parametrize("trainer", [{}, {"average_decay": 0.9}])
def test_a_resumed_run_follows_the_names_of_its_rows(
    folder: Path, tmp_path: Path, trainer: Config, caplog: pytest.LogCaptureFixture
) -> None:
    run = tmp_path / "run"
    config = films(folder, "one", {**LEARNS, **trainer})
    before = accuracy(mtl.train(config, output=run))
    config = films(folder, "more", {**LEARNS, "epochs": 13, **trainer}, task={"labels": ["1", "0"]})
    [task] = config["tasks"]["Films"].values()
    changed = mtl.train(config, output=run, resume=True, allow_changes=True)
    assert re.search(r"rows of the model were matched by name: \d+ moved, 2 new, 0 dropped", caplog.text)
    assert accuracy(changed) >= before - 0.02
    last = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    assert last["accuracy"] >= before - 0.1
    assert task["labels"] == ["1", "0"] and mtl.load(run)


def test_a_runs_model_names_its_rows(saved: tuple[float, dict[str, Path], Path]) -> None:
    with safe_open(saved[2] / "model/weights.safetensors", framework="pt") as stored:
        names = json.loads(stored.metadata()["row_names"])
    assert names["task-Films.decoder.output.weight"] == ["0", "1"]
    assert set(GOOD) < set(names["task-Films.embedding.parts.word_feat.embedding.weight"])


def test_a_model_whose_labels_were_swapped_by_hand_still_gives_right_answers(
    saved: tuple[float, dict[str, Path], Path], tmp_path: Path
) -> None:
    run = Path(shutil.copytree(saved[2], tmp_path / "run"))
    text = [{"text": "the bright film"}]
    [before] = mtl.load(run).predict("Films", text)
    (run / "model/tasks.json").write_text('{"Films": {"labels": ["1", "0"]}}')
    (run / "model" / MANIFEST).unlink()
    write_manifest(run / "model")
    [after] = mtl.load(run).predict("Films", text)
    assert after["label"] == before["label"] == "1"
    assert after["probabilities"] == pytest.approx(before["probabilities"])


# --- every module with names, over any order --------------------------------------------------------

Make = Callable[[list[str]], torch.nn.Module]
TOKENS = ["__PAD__", "__UNK__"]


def tied(words: list[str]) -> torch.nn.Module:
    decoder = MLPDecoder(MLPDecoderConfig(), Builder(), input_dim=3, output_dim=4)
    return WordScorer(decoder, torch.nn.Parameter(torch.randn(len(words), 4)), words=words)


def adaptive(words: list[str]) -> torch.nn.Module:
    decoder = MLPDecoder(MLPDecoderConfig(), Builder(), input_dim=3, output_dim=32)
    frequencies = torch.tensor([hash_of(word) for word in words])
    return AdaptiveWordScorer(decoder, words=words, dim=32, frequencies=frequencies, cutoffs=[2, 4])


def hash_of(word: str) -> int:
    return sum(word.encode()) % 97


def decoder(words: list[str]) -> torch.nn.Module:
    config = MLPDecoderConfig(hidden_dims=[5])
    return MLPDecoder(config, Builder(), input_dim=3, output_dim=len(words), output_names=words)


MAKERS: dict[str, Make] = {
    "word_feat": lambda words: WordEmbedding([*TOKENS, *words], WordFeatConfig(embed_dim=3)),
    "char_feat": lambda words: CharEmbedding([*TOKENS, *words], CharFeatConfig(embed_dim=3, kernel_num=2)),
    "decoder": decoder,
    "tied scorer": tied,
}
words = st.lists(
    st.text(st.characters(codec="utf-8"), min_size=1, max_size=3), min_size=5, max_size=9, unique=True
)


@pytest.mark.parametrize("maker", MAKERS)
@settings(max_examples=15, deadline=None)
@given(words=words, chance=st.randoms(use_true_random=False))
def test_rows_follow_their_names_whatever_the_order(
    tmp_path_factory: pytest.TempPathFactory, maker: str, words: list[str], chance: Any
) -> None:
    path = tmp_path_factory.mktemp("file") / "weights"
    shuffled = [*chance.sample(words, len(words) - 1), "another word"]
    chance.shuffle(shuffled)
    before, after = MAKERS[maker](words), MAKERS[maker](shuffled)
    save_module(before, path)
    match = load_module(after, path)
    assert (match.new, match.dropped) == (1, 1)
    old, new = row_names(before), row_names(after)
    tensors = before.state_dict(), after.state_dict()
    assert old
    for name in old:
        for row, word in enumerate(new[name]):
            if word in old[name]:
                assert torch.equal(tensors[1][name][row], tensors[0][name][old[name].index(word)])
    for name in tensors[0].keys() - old.keys():
        assert torch.equal(tensors[0][name], tensors[1][name])


@settings(max_examples=15, deadline=None)
@given(words=words, chance=st.randoms(use_true_random=False))
def test_an_adaptive_softmax_gives_words_in_any_order_the_same_probabilities(
    tmp_path_factory: pytest.TempPathFactory, words: list[str], chance: Any
) -> None:
    """With one frequency per word and no ties the groups are the same; ids alone differ."""
    path = tmp_path_factory.mktemp("file") / "weights"
    distinct = list({hash_of(word): word for word in words}.values())
    if len(distinct) < 5:
        return
    shuffled = chance.sample(distinct, len(distinct))
    before, after = adaptive(distinct), adaptive(shuffled)
    save_module(before, path)
    load_module(after, path)
    states = torch.randn(2, 3)
    expected = before(states)[:, [distinct.index(word) for word in shuffled]]
    assert torch.allclose(after(states), expected, atol=1e-6)


def test_hashed_rows_fit_the_same_settings_only(tmp_path: Path) -> None:
    same = {"embed_dim": 3, "buckets": 20}
    save_module(NgramEmbedding(NgramFeatConfig(**same)), tmp_path / "ngrams")
    load_module(NgramEmbedding(NgramFeatConfig(**same)), tmp_path / "ngrams")
    for other in ({"buckets": 21}, {"shortest": 2}, {"longest": 4}):
        with pytest.raises(UsageError, match=r"bag\.weight has a row for each of .*, but needs"):
            load_module(NgramEmbedding(NgramFeatConfig(**{**same, **other})), tmp_path / "ngrams")
