"""Tasks over the same rows: one forward of what they share in a joint step, and the same gradients as two."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import mtl
from mtl import hookimpl
from mtl.data.features import Embedding
from mtl.plugins import Plugins
from mtl.runs.preparation import load_source, make_trainer, prepare
from mtl.training.loader import BatchLoader, batch_keys
from mtl.training.shared_forward import SharedForward
from mtl.training.trainer import Trainer
from mtl_text.encoders import BiLSTM

Config = dict[str, Any]
Differences = Callable[[Path, Path], list[str]]


@pytest.fixture(scope="session")
def reviews(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with two labels per row."""
    folder, draw = tmp_path_factory.mktemp("reviews"), random.Random(1)
    words = "a the film plot is was dull funny brave slow and but never always loved hated".split()
    for name, rows in (("train", 26), ("eval", 9)):
        lines = [
            f"{' '.join(draw.choices(words, k=draw.randint(1, 9)))}\t{row % 2}\t{draw.choice('xyz')}\n"
            for row in range(rows)
        ]
        (folder / f"{name}.tsv").write_text("sentence\tlabel\tgenre\n" + "".join(lines))
    return folder


@pytest.fixture
def joint(reviews: Path) -> Config:
    """Sentiment and genre of the same rows over one embedding and one LSTM, without dropout."""

    def task(label: str, width: dict[str, Any]) -> Config:
        return {
            "DocClassificationTask": {
                "batch_size": 4,
                "data": {
                    "train_path": "train.tsv",
                    "eval_path": "eval.tsv",
                    "columns": {"text": "sentence", "label": label},
                },
                "features": {"shared_module_key": "WORDS", **width},
                "representation": {
                    "BiLSTMDocAttention": {
                        "dropout": 0.0,
                        "lstm": {"BiLSTM": {"shared_module_key": "LSTM", "lstm_dim": 3, "dropout": 0.0}},
                    }
                },
            }
        }

    return {
        "base_dir": str(reviews),
        "tasks": {
            "sentiment": task("label", {"word_feat": {"embed_dim": 4}}),
            "genre": task("genre", {}),
        },
        "schedule": "Joint",
        "trainer": {"epochs": 2, "report_every_steps": 3},
        "device": "cpu",
    }


@pytest.fixture
def forwards(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The forward passes of shared modules in training, by class."""
    called: list[str] = []
    for kind in (Embedding, BiLSTM):

        def counted(self: Any, *args: Any, forward: Any = kind.forward, **kwargs: Any) -> Any:
            if self.training:
                called.append(type(self).__name__)
            return forward(self, *args, **kwargs)

        monkeypatch.setattr(kind, "forward", counted)
    return called


@pytest.fixture
def apart(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Tasks forward everything by themselves."""
    with monkeypatch.context() as patched:
        patched.setattr(SharedForward, "during", lambda self, step: nullcontext())
        yield


def trainer_of(config: Config, plugins: Plugins) -> Trainer:
    return make_trainer(prepare(load_source(config, plugins), plugins))


def rows_of_steps(trainer: Trainer) -> list[dict[str, list[int]]]:
    """The rows of each task in each step of the first epoch."""
    batching = trainer.phase.timeline.batching
    return [
        {
            task: batching[task].batches(pass_index)[number].tolist()
            for span in step.spans
            for task, pass_index, number in batch_keys(span)
        }
        for step in next(trainer.phase.timeline.walk())
    ]


@pytest.mark.parametrize("balancer", ["StaticWeights", "UPGrad"])
def test_gradients_are_those_of_separate_forwards(
    balancer: str, joint: Config, plugins: Plugins, forwards: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    joint |= {"balancer": balancer, "task_weights": {"sentiment": 1, "genre": 0.5}}
    joint["tasks"]["genre"]["DocClassificationTask"]["max_clip_norm"] = 0.3

    def gradients() -> list[dict[str, torch.Tensor]]:
        trainer, found = trainer_of(joint, plugins), []
        for step in next(trainer.phase.timeline.walk())[:4]:
            trainer.train_step(step)
            found.append({name: p.grad.clone() for name, p in trainer.model.named_parameters()})  # type: ignore[union-attr]
        return found

    shared = gradients()
    assert forwards == 4 * ["Embedding", "BiLSTM"]
    monkeypatch.setattr(SharedForward, "during", lambda self, step: nullcontext())
    separate = gradients()
    assert len(forwards) == 8 + 16
    for ours, theirs in zip(shared, separate, strict=True):
        for name in theirs:
            torch.testing.assert_close(ours[name], theirs[name], rtol=1e-6, atol=1e-6)


def test_gradients_are_those_of_the_summed_losses(joint: Config, plugins: Plugins) -> None:
    """Beside a plain reference: the tasks' models on the tasks' own batches, in one backward pass."""
    trainer, reference = trainer_of(joint, plugins), trainer_of(joint, plugins)
    step = next(trainer.phase.timeline.walk())[0]
    rows = rows_of_steps(trainer)[0]
    losses = [
        model(reference.data[task].train.batch(np.array(rows[task]))).loss
        for task, model in reference.model.tasks.items()
    ]
    sum(loss.total / loss.weight for loss in losses).backward()  # type: ignore[union-attr]
    trainer.train_step(step)
    expected = dict(reference.model.named_parameters())
    for name, parameter in trainer.model.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name].grad, rtol=1e-6, atol=1e-6)


def test_they_take_the_same_rows(joint: Config, plugins: Plugins) -> None:
    steps = rows_of_steps(trainer_of(joint, plugins))
    assert len(steps) == 7
    assert all(rows["sentiment"] == rows["genre"] for rows in steps)
    assert sorted(row for rows in steps for row in rows["genre"]) == list(range(26))


def own_features(config: Config) -> None:
    config["tasks"]["genre"]["DocClassificationTask"]["features"] = {"word_feat": {"embed_dim": 4}}


def other_file(config: Config) -> None:
    config["tasks"]["genre"]["DocClassificationTask"]["data"]["train_path"] = "eval.tsv"


def other_size(config: Config) -> None:
    config["tasks"]["genre"]["DocClassificationTask"]["batch_size"] = 5


def accumulated(config: Config) -> None:
    config["trainer"]["accumulate_batches"] = 2


def in_turn(config: Config) -> None:
    config["schedule"] = "RoundRobin"


@pytest.mark.parametrize("change", [own_features, other_file, other_size, accumulated, in_turn])
def test_other_tasks_take_their_own_rows(
    change: Callable[[Config], None], joint: Config, plugins: Plugins
) -> None:
    change(joint)
    batching = trainer_of(joint, plugins).phase.timeline.batching
    assert {task: each.task for task, each in batching.items()} == {
        "sentiment": "sentiment",
        "genre": "genre",
    }


@pytest.mark.parametrize("change", [accumulated, in_turn])
def test_other_steps_forward_apart(
    change: Callable[[Config], None], joint: Config, plugins: Plugins, forwards: list[str], tmp_path: Path
) -> None:
    change(joint)
    mtl.train(joint, output=tmp_path / "run", plugins=plugins)
    steps = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert any(line["kind"] == "eval" for line in steps)
    assert forwards.count("BiLSTM") == 2 * 2 * 7


class StopAfter:
    def __init__(self, step: int) -> None:
        self.step = step

    @hookimpl
    def mtl_step_ended(self, step: int) -> None:
        if step == self.step:
            raise KeyboardInterrupt


@pytest.mark.parametrize("step", [3, 7, 10])
def test_a_resumed_run_is_the_one_that_was_not_stopped(
    step: int, joint: Config, plugins: Plugins, tmp_path: Path, differences: Differences
) -> None:
    joint["trainer"]["checkpoint_every_steps"] = 2
    mtl.train(joint, output=tmp_path / "whole", plugins=plugins)
    with pytest.raises(KeyboardInterrupt):
        mtl.train(joint, output=tmp_path / "resumed", plugins=plugins, callbacks=[StopAfter(step)])
    mtl.train(joint, output=tmp_path / "resumed", plugins=plugins, resume=True)
    assert differences(tmp_path / "whole", tmp_path / "resumed") == []


def test_prefetched_batches_give_the_same_run(
    joint: Config, plugins: Plugins, tmp_path: Path, differences: Differences, monkeypatch: pytest.MonkeyPatch
) -> None:
    mtl.train(joint, output=tmp_path / "in-turn", plugins=plugins)
    monkeypatch.setattr(BatchLoader, "__attrs_post_init__", lambda self: setattr(self, "prefetches", True))
    mtl.train(joint, output=tmp_path / "ahead", plugins=plugins)
    assert differences(tmp_path / "in-turn", tmp_path / "ahead") == []


def test_a_task_that_has_stopped_leaves_the_other_alone(
    joint: Config, plugins: Plugins, forwards: list[str], tmp_path: Path
) -> None:
    joint["tasks"]["sentiment"]["DocClassificationTask"]["early_stop_after"] = 1
    joint["trainer"] = {"epochs": 4, "optimizer": {"SGD": {"lr": 1e-9}}}
    result = mtl.train(joint, output=tmp_path / "run", plugins=plugins).data
    assert result["tasks"]["sentiment"]["stopped_at"] == 14
    assert result["tasks"]["genre"]["steps"] == 28
    assert forwards.count("BiLSTM") == 28


def test_a_third_task_of_other_rows_takes_part(joint: Config, plugins: Plugins, forwards: list[str]) -> None:
    """Between the two in the step, it forwards the shared modules for itself."""
    third = copy.deepcopy(joint["tasks"]["genre"])
    other_file({"tasks": {"genre": third}})
    joint["tasks"] = {
        "sentiment": joint["tasks"]["sentiment"],
        "third": third,
        "genre": joint["tasks"]["genre"],
    }
    trainer = trainer_of(joint, plugins)
    trainer.train_step(next(trainer.phase.timeline.walk())[0])
    assert forwards == 2 * ["Embedding", "BiLSTM"]


def test_a_batch_changed_in_place_is_not_passed_on(joint: Config, plugins: Plugins) -> None:
    """A model may write into its batch; the next task still gets its rows as they are."""
    trainer, reference = trainer_of(joint, plugins), trainer_of(joint, plugins)
    seen: list[torch.Tensor] = []

    def change(module: Any, arguments: Any) -> None:
        arguments[0]["text.word_feat.ids"].fill_(1)

    def look(module: Any, arguments: Any) -> None:
        seen.append(arguments[0]["text.word_feat.ids"].clone())

    trainer.model.tasks["sentiment"].register_forward_pre_hook(change)
    trainer.model.tasks["genre"].register_forward_pre_hook(look)
    trainer.train_step(next(trainer.phase.timeline.walk())[0])
    rows = rows_of_steps(reference)[0]["genre"]
    expected = reference.data["genre"].train.batch(np.array(rows))["text.word_feat.ids"]
    assert torch.equal(seen[0], expected)


def test_an_output_changed_in_place_is_computed_again(
    joint: Config, plugins: Plugins, forwards: list[str]
) -> None:
    trainer = trainer_of(joint, plugins)
    seen: list[torch.Tensor] = []

    def change(module: Any, args: Any, output: Any) -> None:
        seen.append(output[0].detach().clone())
        output[0].detach().mul_(2)

    trainer.model.tasks["sentiment"].embedding.register_forward_hook(change)  # type: ignore[union-attr, operator]
    trainer.train_step(next(trainer.phase.timeline.walk())[0])
    assert forwards.count("Embedding") == 2
    assert torch.equal(seen[0], seen[1])
