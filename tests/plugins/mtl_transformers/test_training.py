"""Tasks fine-tune each family: train, save, resume and predict without the model's folder."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from attrs import evolve
from safetensors import safe_open

import mtl
from mtl import Batch, hookimpl
from mtl.errors import ConfigError
from mtl.runs.rows import read_rows

FAMILIES = ("bert", "roberta", "deberta-v2", "modernbert", "gpt2")
Config = dict[str, Any]
Models = Callable[[str], Path]

LINES = [
    ("1", "a wonderful film with unforgettable characters"),
    ("0", "dull and predictable"),
    ("1", "the music is better , and the actors are funny"),
    ("0", "a sad story that nobody needed"),
]
TAGGED = "Nobody B-PER\nneeded O\nunforgettable B-ORG\nfilms I-ORG\n\nthe O\nactors B-PER\n\n"


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    rows = [f"{text}\t{label}\n" for label, text in LINES * 3]
    (folder / "rows.tsv").write_text("text\tlabel\n" + "".join(rows), encoding="utf-8")
    (folder / "lines.txt").write_text("".join(f"{text}\n" for _, text in LINES * 3), encoding="utf-8")
    (folder / "tags.conll").write_text(TAGGED * 4, encoding="utf-8")
    return folder


def classifier(model: Path, **settings: Any) -> Config:
    return {
        "DocClassificationTask": {
            "data": {"train_path": "rows.tsv", "eval_path": "rows.tsv"},
            "batch_size": 4,
            "features": {"pretrained_feat": {"model": str(model), **settings}},
            "representation": {"PooledRepresentation": {"encoder": "Identity", "pooling": "MeanPool"}},
        }
    }


def language_model(model: Path, objective: str, **settings: Any) -> Config:
    return {
        "LMTask": {
            "data": {"TextLines": {"train_path": "lines.txt", "eval_path": "lines.txt"}},
            "batch_size": 4,
            "objective": objective,
            "features": {"pretrained_feat": {"model": str(model), "align": None}},
            "representation": "Identity",
            **settings,
        }
    }


def tagger(model: Path, **settings: Any) -> Config:
    return {
        "WordTaggingTask": {
            "data": {"CoNLL": {"train_path": "tags.conll", "eval_path": "tags.conll"}},
            "batch_size": 4,
            "features": {"pretrained_feat": {"model": str(model), **settings}},
            "representation": "Identity",
        }
    }


def config_of(corpus: Path, steps: int = 4, **tasks: Config) -> Config:
    return {
        "base_dir": str(corpus),
        "tasks": tasks,
        "target_task": next(iter(tasks)),
        "trainer": {"max_steps": steps, "num_threads": 1, "optimizer": {"AdamW": {"lr": 0.01}}},
        "device": "cpu",
    }


def weights(run: Path) -> dict[str, torch.Tensor]:
    with safe_open(run / "model/weights.safetensors", framework="pt") as stored:
        return {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118


@pytest.mark.parametrize("family", FAMILIES)
def test_t3_tasks_train_and_predict_without_the_folder(
    model_folder: Models, corpus: Path, family: str, tmp_path: Path
) -> None:
    model = Path(shutil.copytree(model_folder(family), tmp_path / "model"))
    objective = "next-word" if family == "gpt2" else "masked"
    config = config_of(
        corpus,
        steps=9,
        Films=classifier(model, align=None),
        Names=tagger(model, align="mean"),
        Texts=language_model(model, objective, tie_weights=True),
    )
    result = mtl.train(config, output=tmp_path / "run").data
    assert set(result["tasks"]) == {"Films", "Names", "Texts"}
    assert result["tasks"]["Texts"]["eval"]["perplexity"] > 1
    shutil.rmtree(model)
    rows = json.dumps({"text": "a funny film"}) + "\n"
    for task in ("Films", "Names", "Texts"):
        answer = subprocess.run(
            [sys.executable, "-m", "mtl", "predict", str(tmp_path / "run"), "--task", task],
            input=rows,
            capture_output=True,
            text=True,
            check=False,
            env={"HF_HUB_OFFLINE": "1", "PATH": "", "MTL_CACHE_DIR": "", "HF_HOME": str(tmp_path / "none")},
        )
        assert answer.returncode == 0, answer.stderr
        assert json.loads(answer.stdout)
    loaded = mtl.load(tmp_path / "run")
    assert loaded.test("Films", corpus / "rows.tsv")["Films"]["accuracy"] == pytest.approx(
        result["tasks"]["Films"]["eval"]["accuracy"]
    )


class Killed(BaseException):
    """Stands for SIGKILL: nothing is saved."""


class KillAfter:
    def __init__(self, step: int) -> None:
        self.step = step

    @hookimpl
    def mtl_step_ended(self, step: int) -> None:
        if step == self.step:
            raise Killed


@pytest.mark.parametrize(
    ("family", "settings"),
    [
        ("bert", {"layers": "mix", "dropout": 0.3}),
        ("roberta", {"lora": {"rank": 2, "dropout": 0.2}}),
        ("gpt2", {"gradient_checkpointing": True, "freeze_layers": 1}),
        ("modernbert", {"layers": "mean", "last_layers": 2}),
    ],
)
def test_l4_resumed_after_a_step_equals_uninterrupted(
    model_folder: Models, corpus: Path, tmp_path: Path, family: str, settings: Config
) -> None:
    config = config_of(corpus, Films=classifier(model_folder(family), **settings))
    config["trainer"] |= {"checkpoint_every_steps": 1}
    whole = mtl.train(config, output=tmp_path / "whole").data
    for step in range(1, 4):
        run = tmp_path / f"after-{step}"
        with pytest.raises(Killed):
            mtl.train(config, output=run, callbacks=[KillAfter(step)])
        resumed = mtl.train(config, output=run, resume=True).data
        assert resumed["tasks"]["Films"]["eval"] == whole["tasks"]["Films"]["eval"]
        ours, theirs = weights(run), weights(tmp_path / "whole")
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_t1_a_next_word_model_over_an_encoder_is_refused(
    model_folder: Models, corpus: Path, tmp_path: Path
) -> None:
    config = config_of(corpus, Texts=language_model(model_folder("bert"), "next-word"))
    with pytest.raises(ConfigError) as refused:
        mtl.train(config, output=tmp_path / "run")
    assert "tasks.Texts.LMTask.features.pretrained_feat" in str(refused.value)
    assert "tasks.Texts.LMTask.representation" in str(refused.value)


@pytest.mark.parametrize("claim", [{"causal": True}, {"hidden_size": 99}, {"model_type": "gpt2"}])
def test_t1_a_config_cannot_claim_what_the_model_is_not(
    model_folder: Models, corpus: Path, claim: Config, tmp_path: Path
) -> None:
    from mtl_transformers.config import PretrainedFeatConfig

    model = model_folder("bert")
    with pytest.raises(ValueError, match=next(iter(claim))):
        PretrainedFeatConfig(model=str(model), **claim).resolve()
    resolved = PretrainedFeatConfig(model=str(model)).resolve()
    settings = {
        name: getattr(resolved, name)
        for name in ("hidden_size", "positions", "vocabulary", "model_type", "causal", "tokenizer_hash")
    }
    config = config_of(corpus, Texts=classifier(model, **settings | claim))
    place = r"tasks\.Texts\.DocClassificationTask\.features\.pretrained_feat"
    with pytest.raises(ConfigError, match=rf"{place}.*must be"):
        mtl.train(config, output=tmp_path / "run")


@pytest.mark.parametrize("whole_words", [False, True])
def test_t1_masked_predictions_do_not_see_a_hidden_piece(
    model_folder: Models, corpus: Path, tmp_path: Path, whole_words: bool
) -> None:
    """Another piece behind the mask changes no vector, bit for bit."""
    settings = {"head": "pretrained", "whole_words": whole_words, "mask_probability": 0.3}
    config = config_of(corpus, 1, Texts=language_model(model_folder("bert"), "masked", **settings))
    mtl.train(config, output=tmp_path / "run")
    run = mtl.load(tmp_path / "run")
    model: Any = run.model.tasks["Texts"]
    rows = read_rows(run, "Texts", corpus / "lines.txt")
    batch = rows.batch(np.arange(4))
    column = model.objective.tokens.column
    shown = model.objective.show(batch, training=False)
    masked = (shown["hidden"] & (shown[column] == model.objective.tokens.special.mask)).nonzero()
    assert len(masked) > 3

    def states(batch: Batch) -> torch.Tensor:
        with torch.no_grad():
            return model.representation(*model.embedding(model.objective.show(batch, training=False)))

    before = states(batch)
    for row, place in masked.tolist():
        changed = batch[column].clone()
        changed[row, place] = 20 if changed[row, place] != 20 else 21
        assert torch.equal(states(evolve(batch, tensors={**batch.tensors, column: changed})), before)


def test_whole_words_need_masks_over_pieces(model_folder: Models, corpus: Path, tmp_path: Path) -> None:
    over_words = language_model(model_folder("bert"), "masked", whole_words=True, features={})
    causal = language_model(model_folder("gpt2"), "next-word", whole_words=True)
    for task, message in ((over_words, "needs features of pieces"), (causal, 'needs `objective` "masked"')):
        with pytest.raises(ConfigError, match=f"whole_words.*{message}"):
            mtl.train(config_of(corpus, Texts=task), output=tmp_path / "run")
