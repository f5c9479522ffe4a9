"""The pretrained output layer of a checkpoint: vectors of pieces to scores of pieces."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPastAndCrossAttentions

from mtl_transformers.config import PretrainedFeatConfig
from mtl_transformers.modules import PretrainedEmbedding, auto_config, loading_errors


class OutputHead(nn.Module):
    """What a language model puts on its encoder, tied to its embeddings if the checkpoint ties it.

    *Shape:* `[..., dim]` to `[..., pieces]`.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        # Each architecture puts its layers together in its own way, but all read a base model's output.
        setattr(model, model.base_model_prefix, _GivenStates())
        self.model = model

    def forward(self, states: Tensor) -> Tensor:
        flat = states.reshape(1, -1, states.shape[-1])
        scores: Tensor = self.model(inputs_embeds=flat, return_dict=True).logits
        return scores.reshape(*states.shape[:-1], scores.shape[-1])


class _GivenStates(nn.Module):
    """Stands for a base model whose output is known."""

    def forward(self, *_: Any, inputs_embeds: Tensor, **__: Any) -> BaseModelOutputWithPastAndCrossAttentions:
        return BaseModelOutputWithPastAndCrossAttentions(last_hidden_state=inputs_embeds)


def load_head(
    folder: Path, config: PretrainedFeatConfig, embedding: PretrainedEmbedding
) -> OutputHead | None:
    """Return the output layer of a checkpoint, or None if it has none.

    Raises `ValueError` if it cannot be loaded.
    """
    auto = AutoModelForCausalLM if config.causal else AutoModelForMaskedLM
    with loading_errors(config.model):
        described = auto_config(folder, config)
        if not embedding.is_pretrained:  # its weights are those of the run
            model = auto.from_config(described, dtype=torch.float32)  # type: ignore[no-untyped-call]
        else:
            model, info = auto.from_pretrained(  # type: ignore[misc]
                folder,
                config=described,
                local_files_only=True,
                use_safetensors=True,
                dtype=torch.float32,
                output_loading_info=True,
            )
            if _lacks_head(model, info):
                return None
    output = model.get_output_embeddings()
    if output is None:
        return None
    is_tied = output.weight is model.get_input_embeddings().weight
    head = OutputHead(model)
    if is_tied:
        output.weight = embedding.piece_weight
    return head


def _lacks_head(model: PreTrainedModel, info: Mapping[str, Any]) -> bool:
    base = f"{model.base_model_prefix}."
    return any(not str(name).startswith(base) for name in info["missing_keys"])
