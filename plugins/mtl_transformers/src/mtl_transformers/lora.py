"""Low-rank updates of a pretrained model, by peft."""

from __future__ import annotations

from typing import Any

from peft import LoraConfig, inject_adapter_in_model
from transformers import PreTrainedModel

from mtl_transformers.config import LoRAConfig


def with_lora(model: PreTrainedModel, config: LoRAConfig) -> PreTrainedModel:
    """Put low-rank updates into a model, and freeze everything else in it.

    Raises `ValueError` if it has none of the layers to update.
    """
    settings: dict[str, Any] = {"r": config.rank, "lora_alpha": config.alpha, "lora_dropout": config.dropout}
    if config.target_modules:
        settings["target_modules"] = config.target_modules
    model.requires_grad_(False)
    return inject_adapter_in_model(LoraConfig(**settings), model)  # type: ignore[return-value]
