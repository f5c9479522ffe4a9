"""Texts, units and directions, through a plugin that a third party might have written."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import acme_texts
import numpy as np
import pytest
import torch
from attrs import evolve

import mtl
from mtl import ConfigError, Problem
from mtl.config.load import load_config
from mtl.data.columns import Ragged
from mtl.plugins import Plugins, discover
from mtl.runs.preparation import Prepared, prepare, torch_settings

NAMES = "ada ben cyd dan eve fay gus hal".split()
LINES = ["a dull film .", "the old dog sees a young cat", "good", "the film the film is good or bad"] * 4
PAIR, LM = "tasks.Pairs.PairTask", "tasks.LM.LMTask"
JOINT = {"piece_feat": {"joint": True}}


@pytest.fixture
def plugins() -> Iterator[Plugins]:
    found = discover(blocked=[])
    status = found.register(acme_texts, "acme-texts", "1.0", "acme_texts")
    assert status.state == "ok", status.cause
    return found


def write_pairs(path: Path, rows: int, seed: int, names: list[str]) -> None:
    """Rows whose label depends on both texts: whether the second names whom the first names."""
    draw = random.Random(seed)
    lines = ["first\tsecond\tlabel"]
    for row in range(rows):
        name = draw.choice(names)
        other = name if row % 2 else draw.choice([each for each in names if each != name])
        lines.append(f"{name} spoke\twe heard {other}\t{row % 2}")
    path.write_text("\n".join(lines) + "\n")


def pair_config(folder: Path, features: dict[str, Any] | None = None, **settings: Any) -> dict[str, Any]:
    write_pairs(folder / "train.tsv", 64, 0, NAMES[:6])
    write_pairs(folder / "eval.tsv", 40, 1, NAMES)
    data = {"TSV": {"train_path": "train.tsv", "eval_path": "eval.tsv"}}
    task = {"data": data, "batch_size": 8, **settings}
    task |= {"features": features} if features else {}
    return {
        "base_dir": str(folder),
        "tasks": {"Pairs": {"PairTask": task}},
        "trainer": {"max_steps": 3},
        "device": "cpu",
    }


def lm_config(folder: Path, features: dict[str, Any] | None = None, **settings: Any) -> dict[str, Any]:
    (folder / "lines.txt").write_text("\n".join(LINES) + "\n")
    task = {"data": {"train_path": "lines.txt", "eval_path": "lines.txt"}, "batch_size": 4, **settings}
    task |= {"features": features} if features else {}
    return {
        "base_dir": str(folder),
        "tasks": {"LM": {"LMTask": task}},
        "trainer": {"max_steps": 3},
        "device": "cpu",
    }


def prepared(config: dict[str, Any], plugins: Plugins) -> Prepared:
    loaded = load_config(config, plugins=plugins)
    with torch_settings(loaded.config):
        return prepare(loaded, plugins)


def problems(config: dict[str, Any], plugins: Plugins) -> list[Problem]:
    with pytest.raises(ConfigError) as caught:
        load_config(config, plugins=plugins)
    return list(caught.value.problems)


# --- texts -----------------------------------------------------------------------------------------


def test_both_texts_fit_the_vocabulary_and_count_as_unknown(tmp_path: Path, plugins: Plugins) -> None:
    run = prepared(pair_config(tmp_path), plugins)
    featurizer: Any = run.tasks.tasks["Pairs"].features.featurizers["word_feat"]
    assert set(featurizer.vocabulary.words) == {*NAMES[:6], "spoke", "we", "heard"}
    rows = run.data["Pairs"].splits["eval"]
    assert rows is not None
    words = [line.split("\t")[:2] for line in (tmp_path / "eval.tsv").read_text().splitlines()[1:]]
    flat = [word for row in words for text in row for word in text.split()]
    unknown = sum(word in NAMES[6:] for word in flat) / len(flat)
    assert unknown > 0
    assert run.data["Pairs"].statistics["eval"]["word_feat.unknown"] == pytest.approx(unknown)
    assert rows.words.tolist() == [5] * len(rows)
    for sequence, length in {"first": 2, "second": 3}.items():
        column = rows.columns[f"{sequence}.word_feat.ids"]
        assert isinstance(column, Ragged)
        assert column.lengths.unique().tolist() == [length]
        share = (column.values == 1).float().mean().item()
        assert 0 < share < 0.5


def test_a_pair_task_learns_what_only_its_second_text_tells(tmp_path: Path, plugins: Plugins) -> None:
    """A second text of nothing but unknown words left it at one half."""
    config = pair_config(tmp_path)
    rows = "".join(f"x\t{word}\t{label}\n" for word, label in (("yes", 1), ("no", 0)) for _ in range(20))
    for name in ("train.tsv", "eval.tsv"):
        (tmp_path / name).write_text("first\tsecond\tlabel\n" + rows)
    config["trainer"] |= {"max_steps": 60, "optimizer": {"Adam": {"lr": 0.01}}}
    result = mtl.train(config, output=tmp_path / "run", plugins=plugins).data
    assert result["tasks"]["Pairs"]["eval"]["accuracy"] == 1.0
    run = mtl.load(tmp_path / "run", plugins=plugins)
    answers = run.predict("Pairs", [{"first": "x", "second": "no"}, {"first": "x", "second": "yes"}])
    assert [answer["label"] for answer in answers] == ["0", "1"]


def test_a_joint_featurizer_gives_one_sequence_of_both_texts(tmp_path: Path, plugins: Plugins) -> None:
    run = prepared(pair_config(tmp_path, JOINT), plugins)
    task, rows = run.tasks.tasks["Pairs"], run.data["Pairs"].train
    assert task.features.sequences(task.config.texts) == ("first+second",)
    assert set(rows.columns) == {"first+second.piece_feat.ids", "label"}
    batch = rows.batch(np.arange(4))
    first, second = (tmp_path / "train.tsv").read_text().splitlines()[1].split("\t")[:2]
    texts = [*first.replace(" ", ""), "[END]", *second.replace(" ", ""), "[END]"]
    featurizer: Any = task.features.featurizers["piece_feat"]
    known = featurizer.token_texts()
    length = int(batch.lengths["first+second.piece_feat.ids"][0])
    assert [known[number] for number in batch["first+second.piece_feat.ids"][0, :length]] == [
        "[BEGIN]",
        *texts,
    ]
    assert batch.words == 20
    assert batch.pieces == int(batch.lengths["first+second.piece_feat.ids"].sum())
    result = mtl.train(pair_config(tmp_path, JOINT), output=tmp_path / "run", plugins=plugins).data
    task_result = result["tasks"]["Pairs"]
    assert task_result["pieces_per_second"] > task_result["words_per_second"] > 0


# --- units -----------------------------------------------------------------------------------------


def test_lengths_and_batches_are_those_of_the_vectors(tmp_path: Path, plugins: Plugins) -> None:
    run = prepared(pair_config(tmp_path, {"piece_feat": {}}, batch_tokens=60), plugins)
    task, rows = run.tasks.tasks["Pairs"], run.data["Pairs"].train
    batch = rows.batch(np.arange(6))
    embedding = task.features.build_embedding(mtl.Builder())
    for sequence in ("first", "second"):
        vectors, lengths = embedding(batch, sequence)
        assert torch.equal(lengths, batch.lengths[f"{sequence}.piece_feat.ids"])
        assert list(vectors.shape) == [6, int(lengths.max()), 8]
    assert np.array_equal(rows.lengths, rows.pieces)
    assert (rows.pieces > rows.words).all()
    batching = run.phases[0].timeline.batching["Pairs"]
    for numbers in batching.batches(0):
        assert len(numbers) == 1 or len(numbers) * rows.pieces[numbers].max() <= 60
    plan = mtl.plan(pair_config(tmp_path, {"piece_feat": {}}), plugins=plugins)["tasks"]["Pairs"]["train"]
    assert (plan["words"], plan["pieces"]) == (rows.words.sum(), rows.pieces.sum())


@pytest.mark.parametrize(
    ("features", "name", "values"),
    [
        ({"word_feat": {}, "piece_feat": {}}, "unit", ('"piece"', '"word"')),
        ({"word_feat": {}, "piece_feat": {"joint": True}}, "reads_jointly", ("true", "false")),
    ],
)
def test_featurizers_that_do_not_go_together_are_refused_by_both_paths(
    tmp_path: Path, plugins: Plugins, features: dict[str, Any], name: str, values: tuple[str, str]
) -> None:
    [found] = [
        each
        for each in problems(pair_config(tmp_path, features), plugins)
        if f"same `{name}`" in each.message
    ]
    assert found.path == f"{PAIR}.features.piece_feat"
    assert found.message.endswith(f"it is {values[0]} here and {values[1]} at {PAIR}.features.word_feat")


def test_a_representation_of_words_refuses_pieces(tmp_path: Path, plugins: Plugins) -> None:
    config = pair_config(tmp_path, {"piece_feat": {}}, representation="WordMean")
    [found] = problems(config, plugins)
    assert found.path == f"{PAIR}.representation"
    assert found.message == (
        f"features must have one vector per word here, but {PAIR}.features.piece_feat has one per piece"
    )
    load_config(pair_config(tmp_path, representation="WordMean"), plugins=plugins)


# --- language models -------------------------------------------------------------------------------


@pytest.mark.parametrize("objective", ["next-word", "both-directions", "masked"])
@pytest.mark.parametrize("settings", [{}, {"max_tokens": 3}, {"rows": "stream", "max_tokens": 5}])
def test_a_language_model_predicts_each_piece_once(
    tmp_path: Path, plugins: Plugins, objective: str, settings: dict[str, Any]
) -> None:
    config = lm_config(tmp_path, {"piece_feat": {}}, objective=objective, **settings)
    run = prepared(config, plugins)
    assert any("`perplexity` is per piece of piece_feat" in notice for notice in run.notices)
    rows = run.data["LM"].train
    characters = sum(len(line.replace(" ", "")) for line in LINES)
    if objective == "next-word":
        result = mtl.train(config, output=tmp_path / "run", plugins=plugins).data["tasks"]["LM"]["eval"]
        assert result["tokens"] == characters + len(rows)  # and the end of each row
        assert result["perplexity"] == pytest.approx(math.exp(result["loss"]), rel=1e-4)
        [answer] = mtl.load(tmp_path / "run", plugins=plugins).predict("LM", [{"text": "the film"}])
        assert set(answer["next"][0]) == {"piece", "probability"}
    assert rows.pieces.sum() == characters + 2 * len(rows)


def test_tied_weights_are_those_of_the_featurizers_vectors(tmp_path: Path, plugins: Plugins) -> None:
    run = prepared(lm_config(tmp_path, {"piece_feat": {}}, tie_weights=True), plugins)
    model: Any = run.tasks.tasks["LM"].build_model(mtl.Builder())
    assert model.scorer.tied_weight is model.embedding.parts["piece_feat"].vectors.weight


CONTEXT = {"word_feat": {"embed_dim": 4}, "context_feat": {}}
CAUSAL_CONTEXT = {"word_feat": {"embed_dim": 4}, "context_feat": {"direction_": "causal"}}
ONE_WAY = {"BiLSTM": {"bidirectional": False}}


@pytest.mark.parametrize(
    ("features", "objective", "representation"),
    [
        (CONTEXT, "auto", ONE_WAY),
        (CONTEXT, "next-word", ONE_WAY),
        (CONTEXT, "both-directions", "BiLSTM"),
        (CONTEXT, "masked", "BiLSTM"),
        (CAUSAL_CONTEXT, "both-directions", "BiLSTM"),
        (CAUSAL_CONTEXT, "masked", "BiLSTM"),
    ],
)
def test_t1_features_that_show_the_word_are_refused_by_both_paths(
    tmp_path: Path, plugins: Plugins, features: dict[str, Any], objective: str, representation: Any
) -> None:
    config = lm_config(tmp_path, features, objective=objective, representation=representation)
    [found] = problems(config, plugins)
    assert found.path == f"{LM}.features.context_feat"
    assert f"{LM}.representation" in found.message or f"{LM}.features.word_feat" in found.message


@pytest.mark.parametrize(("features", "is_leak_free"), [(CAUSAL_CONTEXT, True), (CONTEXT, False)])
def test_t1_no_loss_depends_on_a_later_word_through_features(
    tmp_path: Path, plugins: Plugins, features: dict[str, Any], is_leak_free: bool
) -> None:
    """Bit for bit; and the features that are refused would have leaked, so the check can fail."""
    objective = "next-word" if is_leak_free else "unmasked"
    run = prepared(lm_config(tmp_path, features, objective=objective, representation=ONE_WAY), plugins)
    torch.manual_seed(0)
    model: Any = run.tasks.tasks["LM"].build_model(mtl.Builder()).eval()
    batch = run.data["LM"].train.batch(np.array([1]))
    last = int(batch.lengths["text.word_feat.ids"][0]) - 1

    def losses(changed: mtl.Batch) -> torch.Tensor:
        [reading] = model(changed).readings.values()
        found: torch.Tensor = reading.losses
        return found

    before = losses(batch)
    for place in range(1, last + 1):
        tensors = dict(batch.tensors)
        for name, other in {"text.word_feat.ids": 6, "text.context_feat.lengths": 40}.items():
            tensors[name] = tensors[name].clone()
            tensors[name][0, place] = other
        after = losses(evolve(batch, tensors=tensors))
        # The loss at `place - 1` is that of the changed word itself.
        assert torch.equal(after[: place - 1], before[: place - 1]) is is_leak_free or place == 1


def test_two_vocabularies_leave_open_which_is_predicted(tmp_path: Path, plugins: Plugins) -> None:
    found = problems(lm_config(tmp_path, {"context_feat": {}}), plugins)
    assert [each.path for each in found] == [f"{LM}.features"]
    assert "must name one featurizer whose tokens can be predicted" in found[0].message


def test_the_metrics_say_words_and_pieces_apart(tmp_path: Path, plugins: Plugins) -> None:
    config = lm_config(tmp_path, {"piece_feat": {}})
    config["trainer"]["report_every_steps"] = 1
    mtl.train(config, output=tmp_path / "run", plugins=plugins)
    lines = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    trained = [line for line in lines if line.get("split", "train") == "train" and "words_per_second" in line]
    assert trained
    assert all(line["pieces_per_second"] > line["words_per_second"] for line in trained)
