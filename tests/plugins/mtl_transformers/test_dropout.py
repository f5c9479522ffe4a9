"""Dropout that is fast on a CPU does what torch's does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from mtl_text.dropout import Dropout
from mtl_transformers import attention as ours
from mtl_transformers.config import PretrainedFeatConfig
from mtl_transformers.modules import PretrainedEmbedding, load_model

Models = Callable[[str], Path]


@pytest.mark.parametrize("mask", ["none", "boolean", "float"])
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("groups", [1, 2])
def test_attention_equals_torchs_but_for_its_masks(
    mask: str, causal: bool, groups: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ours, "Dropout", lambda rate: nn.Identity())
    torch.manual_seed(0)
    query = torch.randn(2, 4, 5, 8, requires_grad=True)
    key, value = torch.randn(2, 2, 4 // groups, 5, 8)
    module = nn.Module()
    module.num_key_value_groups, module.is_causal = groups, causal  # type: ignore[assignment]
    attended = torch.arange(5) < torch.tensor([5, 3])[:, None, None, None]
    masks: dict[str, Any] = {
        "none": None,
        "boolean": attended,
        "float": torch.zeros(2, 1, 1, 5).masked_fill(~attended, torch.finfo(torch.float32).min),
    }
    expected, _ = sdpa_attention_forward(module, query, key, value, masks[mask])
    found, _ = ours.attention(module, query, key, value, masks[mask], dropout=0.1)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("family", ("bert", "roberta", "deberta-v2", "modernbert", "gpt2"))
def test_every_family_drops_in_training(family: str, model_folder: Models) -> None:
    config = PretrainedFeatConfig(model=str(model_folder(family)), align=None, dropout=0.3).resolve()
    model = load_model(Path(config.model), config, with_weights=True)
    dropouts = [each for each in model.modules() if isinstance(each, nn.Dropout)]
    assert all(isinstance(each, Dropout) for each in dropouts)
    embedding = PretrainedEmbedding(model, config, is_pretrained=True).train()
    columns = {"pieces": torch.tensor([[2, 7, 8, 3]]), "segments": torch.zeros(1, 4, dtype=torch.int32)}

    def vectors(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return embedding(columns)

    assert torch.equal(vectors(1), vectors(1))
    assert not torch.equal(vectors(1), vectors(2))
    embedding.eval()
    assert torch.equal(vectors(1), vectors(2))
