"""What is trained: models of three sizes on three sets of tasks, as configs of mtl."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import frozen
from texts import LINES, SENTENCES, write_words

from mtl.config.load import load_config
from mtl.plugins import discover
from mtl.runs.preparation import make_trainer, prepare
from mtl.training.timeline import Step
from mtl.training.trainer import Trainer

Json = dict[str, Any]

WORKLOADS = {"sst2": ("SST2",), "lm": ("LM",), "multitask": ("SST2", "LM")}


@frozen
class Size:
    """A model and its batches. `encoder` reads sentences; `causal` stands where an LM reads, so that no
    vector has seen the word that it predicts; it is None where the encoder's halves are apart anyway."""

    words: int
    embed_dim: int
    encoder: Json
    causal: Json | None = None
    sentences: int = 128
    lines: int = 16


def _lstm(**settings: Any) -> Json:
    return {"BiLSTM": {"lstm_dim": 256, "num_layers": 2, **settings}}


def _transformer(**settings: Any) -> Json:
    sizes = {"model_dim": 256, "num_layers": 6, "num_heads": 4, "feedforward_dim": 1024}
    return {"Transformer": {**sizes, **settings}}


SIZES: Mapping[str, Size] = {
    "small": Size(words=15_000, embed_dim=100, encoder={"BiLSTM": {"lstm_dim": 32}}),
    "medium": Size(30_000, 256, _lstm(), _lstm(bidirectional=False)),
    "transformer": Size(30_000, 256, _transformer(), _transformer(causal=True)),
}


def encoder_of(size: Size, workload: str) -> Json:
    """Return the encoder that all tasks of a workload share."""
    return size.causal if size.causal is not None and "LM" in WORKLOADS[workload] else size.encoder


def config(size: Size, workload: str, folder: Path, *, device: str = "cpu", **trainer: Any) -> Json:
    """Return the config of a workload whose text is in `folder`; `trainer` are settings of the trainer."""
    ((encoder_name, settings),) = encoder_of(size, workload).items()
    encoder = {encoder_name: {"shared_module_key": "ENCODER", **settings}}
    vocabulary = folder / f"words-{size.words}.txt"
    write_words(vocabulary, size.words)
    word_feat = {"embed_dim": size.embed_dim, "vocab_file": str(vocabulary), "vocab_size": size.words}
    features = {"shared_module_key": "WORDS", "word_feat": word_feat}
    known: Json = {
        "SST2": {
            "DocClassificationTask": {
                "batch_size": size.sentences,
                "data": {"train_path": SENTENCES},
                "features": features,
                "representation": {"BiLSTMDocAttention": {"lstm": encoder}},
            }
        },
        "LM": {
            "LMTask": {
                "batch_size": size.lines,
                "data": {"train_path": LINES},
                "features": features,
                "representation": encoder,
            }
        },
    }
    return {
        "base_dir": str(folder.resolve()),
        "tasks": {task: known[task] for task in WORKLOADS[workload]},
        "trainer": {"max_steps": 2000, **trainer},
        "device": device,
    }


def copies(config: Json, count: int, *, shared: bool = True) -> Json:
    """Return `count` tasks like the config's only one, over one embedding and one encoder, or each with its
    own."""
    ((name, settings),) = config["tasks"].items()
    text = json.dumps(settings)
    return {
        **config,
        "tasks": {
            f"{name}{task}": json.loads(
                text if shared else re.sub(r'"(WORDS|ENCODER)"', rf'"\g<1>{task}"', text)
            )
            for task in range(count)
        },
    }


def make(config: Json) -> Trainer:
    """Return the loop of mtl over a config, before its first step."""
    plugins = discover()
    return make_trainer(prepare(load_config(config, plugins=plugins), plugins))


def all_steps(training: Trainer) -> list[Step]:
    """Return all steps of a run."""
    return [step for epoch in training.phase.timeline.walk() for step in epoch]


def vocabulary(training: Trainer) -> dict[str, int]:
    """Return the row of each word."""
    task = next(iter(training.tasks.values()))
    featurizer: Any = task.features.featurizers["word_feat"]
    return {word: row for row, word in enumerate(featurizer.vocabulary.tokens)}
