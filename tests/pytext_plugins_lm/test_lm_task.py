"""The task: rows, model, metrics, predictions."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mtl import DataError, Loss
from mtl.weights import load_module, save_module
from mtl_text.text import BOS, EOS
from pytext_plugins_lm.metrics import LMMetrics
from pytext_plugins_lm.model import LMOutput, ScoredReading

LINES = ("the old dog sees a cat", "a tree", "the house likes the dog")
OBJECTIVES = ("next-word", "both-directions", "masked", "unmasked")


WORDS = "text.word_feat.ids"


def test_rows_keep_their_lines_and_wrap_their_words(kit: Any) -> None:
    frame = kit.task(kit.config()).prepare(kit.table(*LINES, first_line=4))
    assert frame["line"].to_list() == [4, 5, 6]
    assert frame["text"].to_list()[1] == [BOS, "a", "tree", EOS]


def test_a_split_line_keeps_its_number_and_a_truncated_one_is_reported(kit: Any) -> None:
    split = kit.task(kit.config(max_tokens=4))
    assert split.prepare(kit.table(*LINES))["line"].to_list() == [1, 1, 2, 3, 3]
    assert not any("max_tokens" in notice for notice in split.notices())
    cut = kit.task(kit.config(max_tokens=4, long_lines="truncate"))
    assert cut.prepare(kit.table(*LINES))["line"].to_list() == [1, 2, 3]
    assert "train.txt: 2 lines are longer than `max_tokens` (4) and lost 5 tokens" in cut.notices()


def test_stream_rows_join_lines(kit: Any) -> None:
    frame = kit.task(kit.config(rows="stream", max_tokens=8)).prepare(kit.table(*LINES))
    assert frame["text"].to_list()[1] == ["a", "tree", EOS, "the", "house", "likes", "the", "dog", EOS]
    assert frame["line"].to_list() == [1, 2]


@pytest.mark.parametrize("tie_weights", [False, True])
@pytest.mark.parametrize("hidden_dims", [[], [7]])
def test_both_directions_equal_plain_torch(kit: Any, hidden_dims: list[int], tie_weights: bool) -> None:
    decoder = kit.component("decoder", "MLPDecoder", hidden_dims=hidden_dims)
    task = kit.task(kit.config(objective="both-directions", decoder=decoder, tie_weights=tie_weights))
    model = kit.build(task).eval()
    batch = kit.batch(task, *LINES)
    output = model(batch)
    losses: dict[str, list[float]] = {"forward": [], "backward": []}
    embedded, lengths = model.embedding(batch)
    states = model.representation(embedded, lengths)
    for row, length in enumerate(lengths.tolist()):
        ids = batch[WORDS][row].long()
        for place in range(length):
            forward, backward = states[row, place, :5], states[row, place, 5:]
            if place + 1 < length:
                losses["forward"].append(F.cross_entropy(model.scorer(forward), ids[place + 1]).item())
            if place > 0:
                losses["backward"].append(F.cross_entropy(model.scorer(backward), ids[place - 1]).item())
    for name, values in losses.items():
        torch.testing.assert_close(output.readings[name].losses, torch.tensor(values))
    count = sum(map(len, losses.values()))
    assert output.loss.weight == count == 2 * sum(len(line.split()) + 1 for line in LINES)
    torch.testing.assert_close(output.loss.total.item(), sum(map(sum, losses.values())))


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_metrics_do_not_depend_on_how_rows_meet_in_batches(kit: Any, objective: str) -> None:
    task = kit.task(kit.config(objective=objective))
    model = kit.build(task).eval()
    results = []
    for batches in ([[0, 1, 2]], [[2], [0, 1]], [[1], [2], [0]]):
        metrics = task.metrics()
        for rows in batches:
            batch = kit.batch(task, *LINES, rows=rows)
            metrics.update(model(batch), batch)
        results.append(metrics.compute())
    for other in results[1:]:
        assert other == pytest.approx(results[0], rel=1e-5)
    assert 1 < results[0]["perplexity"] < math.inf
    json.dumps(results, allow_nan=False)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_d4_nothing_scored_is_no_perplexity(kit: Any, objective: str) -> None:
    metrics = kit.task(kit.config(objective=objective)).metrics().compute()
    assert metrics["tokens"] == 0
    assert all(value is None for name, value in metrics.items() if name != "tokens")
    assert ("perplexity_backward" in metrics) == (objective == "both-directions")


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_d4_a_batch_of_one_empty_line_works(kit: Any, objective: str) -> None:
    task = kit.task(kit.config(objective=objective))
    model = kit.build(task)
    batch = kit.batch(task, "")
    output = model(batch)
    output.loss.total.backward()
    assert output.loss.weight == (2 if objective == "both-directions" else 1)
    [answer] = task.predictions(model.eval()(batch), batch)
    assert answer["tokens"] == output.loss.weight


def test_perplexity_weighs_predictions_equally_and_overflow_is_undefined() -> None:
    def output(*losses: float) -> LMOutput:
        part = torch.tensor(losses)
        reading = ScoredReading(part, torch.zeros(len(losses), dtype=torch.long))
        return LMOutput(Loss(part.sum(), len(losses)), {"forward": reading}, None)

    metrics = LMMetrics(["forward"])
    batch: Any = None
    for losses in ((1.0, 2.0, 3.0), (6.0,)):
        metrics.update(output(*losses), batch)
    assert metrics.compute() == {"perplexity": pytest.approx(math.exp(3)), "tokens": 4}
    for extreme in (1e6, math.inf, math.nan):
        metrics = LMMetrics(["forward"])
        metrics.update(output(extreme), batch)
        assert metrics.compute() == {"perplexity": None, "tokens": 1}


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_predictions_say_how_likely_a_row_is(kit: Any, objective: str) -> None:
    task = kit.task(kit.config(objective=objective))
    model = kit.build(task).eval()
    batch = kit.batch(task, *LINES)
    answers = task.predictions(model(batch), batch)
    assert len(answers) == len(LINES)
    metrics = task.metrics()
    metrics.update(model(batch), batch)
    total = -sum(answer["log_probability"] for answer in answers)
    tokens = sum(answer["tokens"] for answer in answers)
    assert metrics.compute()["perplexity"] == pytest.approx(math.exp(total / tokens))
    for answer in answers:
        expected = math.exp(-answer["log_probability"] / answer["tokens"])
        assert answer["perplexity"] == pytest.approx(expected)
        assert ("next" in answer) == (objective in ("next-word", "both-directions"))
    json.dumps(answers, allow_nan=False)


def test_the_next_words_are_those_after_the_last_word(kit: Any) -> None:
    task = kit.task(kit.config(lstm={"bidirectional": False}))
    model = kit.build(task).eval()
    batch = kit.batch(task, *LINES)
    answers = task.predictions(model(batch), batch)
    scores = kit.read_scores(model, batch)["forward"]
    for row, answer in enumerate(answers):
        after_last = scores.scores[scores.rows == row][-1].softmax(-1)
        best = after_last.topk(5)
        tokens = task.token_featurizer.token_texts()
        assert [item["word"] for item in answer["next"]] == [tokens[i] for i in best.indices.tolist()]
        assert [item["probability"] for item in answer["next"]] == pytest.approx(best.values.tolist())


def test_tied_weights_are_the_embeddings_and_stay_so_when_saved_and_loaded(kit: Any, tmp_path: Path) -> None:
    config = kit.config(tie_weights=True)
    task = kit.task(config)
    model = kit.build(task)
    words, dim = task.token_featurizer.vocabulary_size, 6
    shapes = [tuple(p.shape) for p in model.parameters()]
    assert shapes.count((words, dim)) == 1
    save_module(model, tmp_path / "weights.safetensors")
    other = kit.build(kit.task(config), seed=1)
    load_module(other, tmp_path / "weights.safetensors")
    assert other.scorer.tied_weight is other.embedding.parts["word_feat"].weight
    batch = kit.batch(task, *LINES)
    assert torch.equal(model.eval()(batch).loss.total, other.eval()(batch).loss.total)


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("tie_weights", [False, True])
def test_every_parameter_gets_a_gradient(kit: Any, objective: str, tie_weights: bool) -> None:
    lstm = {"bidirectional": objective != "next-word"}
    task = kit.task(kit.config(objective=objective, tie_weights=tie_weights, lstm=lstm))
    model = kit.build(task)
    model(kit.batch(task, *LINES)).loss.total.backward()
    without = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []


def test_a_decoder_of_another_make_scores_alike(kit: Any) -> None:
    """A plugin's decoder need not be split into hidden layers and output."""
    task = kit.task(kit.config())
    model = kit.build(task).eval()
    batch = kit.batch(task, *LINES)
    expected = model(batch)
    model.scorer.decoder = nn.Sequential(model.scorer.decoder.hidden, model.scorer.decoder.output)
    found = model(batch)
    torch.testing.assert_close(found.loss.total, expected.loss.total)
    torch.testing.assert_close(found.readings["backward"].losses, expected.readings["backward"].losses)


def test_characters_may_stand_beside_words(kit: Any) -> None:
    task = kit.task(kit.config(featurizers=("word_feat", "char_feat")))
    output = kit.build(task)(kit.batch(task, *LINES))
    assert output.loss.weight == 2 * sum(len(line.split()) + 1 for line in LINES)


@pytest.mark.parametrize(
    ("objective", "words"),
    [
        ("unmasked", "leaks"),
        ("masked", "no language-model perplexity"),
        ("both-directions", "perplexity_forward"),
    ],
)
def test_a_user_hears_what_the_perplexity_is_not(kit: Any, objective: str, words: str) -> None:
    [notice] = kit.task(kit.config(objective=objective)).notices()
    assert words in notice


def test_a_language_model_needs_no_notice(kit: Any) -> None:
    assert kit.task(kit.config(objective="next-word")).notices() == []


def test_training_learns_a_grammar_and_the_leak_shows(kit: Any) -> None:
    """Words that follow each other at random cannot be predicted, but a leak predicts them."""
    generator = torch.Generator().manual_seed(0)
    lines = [" ".join(kit.words[i] for i in torch.randint(10, (8,), generator=generator)) for _ in range(64)]
    found = {}
    for objective in ("next-word", "unmasked"):
        task = kit.task(kit.config(objective=objective, lstm={"dropout": 0.0, "lstm_dim": 16}))
        model = kit.build(task)
        batch = kit.batch(task, *lines)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
        for _ in range(60):
            optimizer.zero_grad()
            loss = model(batch).loss
            (loss.total / loss.weight).backward()
            optimizer.step()
        fresh = kit.batch(task, *(" ".join(reversed(line.split())) for line in lines))
        metrics = task.metrics()
        metrics.update(model.eval()(fresh), fresh)
        found[objective] = metrics.compute()["perplexity"]
    floor = 10 ** (8 / 9)  # eight words of ten each, then a certain end
    assert found["next-word"] > floor
    assert found["unmasked"] < floor / 3


def test_a_line_too_long_for_a_row_must_be_cut(kit: Any) -> None:
    table = kit.table("the dog", "the " * 100_001)
    message = (
        r"train\.txt:2: a row must have at most 100,000 words, but this line has 100,001; set `max_tokens`"
    )
    with pytest.raises(DataError, match=message):
        kit.task(kit.config()).prepare(table)
    for settings in ({"max_tokens": 1000}, {"rows": "stream"}):
        assert kit.task(kit.config(**settings)).prepare(table)["text"].list.len().max() <= 1001
