"""Low-rank updates: saved alone, merged or whole, and of one base for all tasks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

import mtl
from mtl import Builder
from mtl.data.columns import Rows
from mtl.errors import UsageError
from mtl.weights import load_module, save_module
from mtl_transformers.config import LoRAConfig, PretrainedFeatConfig
from mtl_transformers.featurizer import PretrainedFeat
from mtl_transformers.modules import PretrainedEmbedding

Models = Callable[[str], Path]
ROWS = [["a", "wonderful", "film"], ["dull"]]


def made(folder: Path, lora: LoRAConfig | None, builder: Builder | None = None) -> PretrainedEmbedding:
    config = PretrainedFeatConfig(model=str(folder), align=None, lora=lora, layers="mix").resolve()
    embedding = PretrainedFeat(config).build_embedding(builder or Builder())
    assert isinstance(embedding, PretrainedEmbedding)
    return embedding.eval()


def trained(folder: Path, **settings: Any) -> PretrainedEmbedding:
    """Updates that are not zero, as they are before training."""
    embedding = made(folder, LoRAConfig(rank=2, **settings))
    torch.manual_seed(3)
    for parameter in embedding.parameters():
        if parameter.requires_grad:
            parameter.data.normal_(std=0.3)
    return embedding


def vectors(embedding: PretrainedEmbedding, folder: Path) -> Tensor:
    featurizer = PretrainedFeat(PretrainedFeatConfig(model=str(folder), align=None).resolve())
    columns = featurizer.encode(pl.Series("text", ROWS, dtype=pl.List(pl.String)))
    with torch.no_grad():
        return embedding(dict(Rows(columns, np.arange(2)).batch(np.arange(2)).tensors))


@pytest.mark.parametrize("family", ["bert", "gpt2"])
def test_t5_updates_are_saved_without_their_base(model_folder: Models, family: str, tmp_path: Path) -> None:
    folder, file = model_folder(family), tmp_path / "updates.safetensors"
    first = trained(folder)
    save_module(first, file)
    with safe_open(file, framework="pt") as stored:
        assert {name for name in stored.keys()} == {  # noqa: SIM118
            name for name, parameter in first.named_parameters() if parameter.requires_grad
        }
        assert str(folder) in stored.metadata()["base"]
        assert "sha256" in stored.metadata()["base"]
    second = made(folder, LoRAConfig(rank=2))
    assert not torch.equal(vectors(second, folder), vectors(first, folder))
    load_module(second, file)
    assert torch.equal(vectors(second, folder), vectors(first, folder))


@pytest.mark.parametrize("family", ["bert", "gpt2"])
def test_t5_merged_updates_are_a_model_without_them(
    model_folder: Models, family: str, tmp_path: Path
) -> None:
    folder, file = model_folder(family), tmp_path / "merged.safetensors"
    first = trained(folder, save="merged")
    save_module(first, file)
    plain = made(folder, None)
    load_module(plain, file)
    torch.testing.assert_close(vectors(plain, folder), vectors(first, folder), rtol=1e-5, atol=1e-5)


def test_t5_a_whole_model_holds_its_base(model_folder: Models, tmp_path: Path) -> None:
    folder, file = model_folder("bert"), tmp_path / "whole.safetensors"
    first = trained(folder, save="whole")
    save_module(first, file)
    assert load_file(file).keys() == dict(first.named_parameters()).keys()


def test_t5_updates_of_another_base_are_refused(model_folder: Models, tmp_path: Path) -> None:
    folder, file = model_folder("bert"), tmp_path / "updates.safetensors"
    save_module(trained(folder), file)
    other = tmp_path / "other"
    other.mkdir()
    for each in folder.iterdir():
        (other / each.name).write_bytes(each.read_bytes())
    weights = load_file(other / "model.safetensors")
    name = next(name for name in weights if name.endswith("query.weight"))
    weights[name] = weights[name] + 1e-3
    save_file(weights, other / "model.safetensors", {"format": "pt"})
    with pytest.raises(UsageError, match=r"low-rank updates of .*, whose weights are not those of .*other"):
        load_module(made(other, LoRAConfig(rank=2)), file)
    with pytest.raises(UsageError, match="set `lora`"):
        load_module(made(folder, None), file)
    with pytest.raises(UsageError, match=r"`lora.alpha` must be 16.0, as in training, but is 4.0"):
        load_module(made(folder, LoRAConfig(rank=2, alpha=4.0)), file)
    with pytest.raises(UsageError, match="must have"):
        load_module(made(folder, LoRAConfig(rank=3)), file)
    with pytest.raises(UsageError, match="they need"):
        load_module(torch.nn.Linear(2, 2), file)


def test_tasks_with_updates_of_their_own_have_one_base(model_folder: Models, tmp_path: Path) -> None:
    rows = "text\tlabel\n" + "".join(f"a film {number}\t{number % 2}\n" for number in range(8))
    (tmp_path / "rows.tsv").write_text(rows, encoding="utf-8")
    feature = {"model": str(model_folder("bert")), "align": None, "lora": {"rank": 2}}
    task = {
        "DocClassificationTask": {
            "data": {"train_path": "rows.tsv", "eval_path": "rows.tsv"},
            "features": {"pretrained_feat": feature},
            "representation": {"PooledRepresentation": {"encoder": "Identity", "pooling": "MeanPool"}},
            "batch_size": 4,
        }
    }
    config = {
        "base_dir": str(tmp_path),
        "tasks": {"A": task, "B": task},
        "target_task": "A",
        "trainer": {"max_steps": 4, "optimizer": {"AdamW": {"lr": 0.01}}},
        "device": "cpu",
    }
    result = mtl.train(config, output=tmp_path / "run").data
    run = mtl.load(tmp_path / "run")
    for task_name in ("A", "B"):
        tested = run.test(task_name, tmp_path / "rows.tsv")[task_name]
        assert tested["loss"] == pytest.approx(result["tasks"][task_name]["eval"]["loss"])
    first, second = (dict(run.model.tasks[name].named_parameters()) for name in ("A", "B"))
    shared = {name for name in first if first[name] is second[name]}
    assert shared == {name for name in first if ".lora_" not in name and "decoder" not in name}
    updates = [name for name in first if ".lora_B" in name]
    assert updates and all(not torch.equal(first[name], second[name]) for name in updates)
    stored = load_file(tmp_path / "run/model/weights.safetensors")
    assert sum("word_embeddings" in name for name in stored) == 1
