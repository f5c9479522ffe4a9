"""The pretrained output layer, and that no vector of a language model has seen what it predicts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM

from mtl import Builder
from mtl.data.columns import Rows
from mtl_transformers.config import PretrainedFeatConfig
from mtl_transformers.featurizer import PretrainedFeat

FAMILIES = ("bert", "roberta", "deberta-v2", "modernbert", "gpt2")
Models = Callable[[str], Path]
ROWS = [["a", "wonderful", "film"], ["dull"], ["the", "characters", "are", "funny"]]


def made(folder: Path, **settings: Any) -> PretrainedFeat:
    return PretrainedFeat(PretrainedFeatConfig(model=str(folder), align=None, **settings).resolve())


def batch_of(featurizer: PretrainedFeat) -> dict[str, torch.Tensor]:
    columns = featurizer.encode(pl.Series("text", ROWS, dtype=pl.List(pl.String)))
    return dict(Rows(columns, np.arange(3)).batch(np.arange(3)).tensors)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_pretrained_head_scores_as_the_whole_model(model_folder: Models, family: str) -> None:
    folder = model_folder(family)
    featurizer = made(folder)
    embedding = featurizer.build_embedding(Builder()).eval()
    head = featurizer.output_head(embedding)
    assert head is not None
    auto = AutoModelForCausalLM if family == "gpt2" else AutoModelForMaskedLM
    whole = auto.from_pretrained(folder).eval()
    columns = batch_of(featurizer)
    ids = columns["pieces"].long()
    inside = ids >= 0
    with torch.no_grad():
        ours = head.eval()(embedding(columns))
        theirs = whole(input_ids=ids.clamp(min=0), attention_mask=inside.long()).logits
    torch.testing.assert_close(ours[inside], theirs[inside], rtol=1e-5, atol=1e-5)
    assert ours.shape[-1] == featurizer.vocabulary_size
    tied = whole.get_output_embeddings().weight is whole.get_input_embeddings().weight
    assert tied == any(each is featurizer.output_weight(embedding) for each in head.parameters())
    base = {id(parameter) for parameter in embedding.parameters()}
    own = {name for name, parameter in head.named_parameters() if id(parameter) not in base}
    assert own == {
        name
        for name, _ in head.named_parameters()
        if not name.endswith("decoder.weight") and not name.endswith("lm_head.weight")
    }


def test_a_checkpoint_without_a_head_has_none(headless_model: Path) -> None:
    featurizer = made(headless_model)
    assert featurizer.output_head(featurizer.build_embedding(Builder())) is None


def test_t1_a_decoder_sees_nothing_of_what_comes_after(model_folder: Models) -> None:
    """Changing a piece changes no vector before it, bit for bit."""
    featurizer = made(model_folder("gpt2"))
    embedding = featurizer.build_embedding(Builder()).eval()
    columns = batch_of(featurizer)
    with torch.no_grad():
        before = embedding(columns)
        for place in range(1, columns["pieces"].shape[1]):
            changed = columns["pieces"].clone()
            changed[:, place] = torch.where(changed[:, place] >= 0, (changed[:, place] + 7) % 300, -1)
            after = embedding({**columns, "pieces": changed})
            assert torch.equal(before[:, :place], after[:, :place])
            moved = columns["pieces"][:, place] >= 0
            assert (before[moved, place] != after[moved, place]).any()
