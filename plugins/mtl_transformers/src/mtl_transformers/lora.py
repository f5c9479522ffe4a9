"""Low-rank updates of a pretrained model, by peft."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from mtl.data.columns import as_bytes
from mtl_transformers.config import LoRAConfig

_WRAPPED = ".base_layer"


def with_lora(model: PreTrainedModel, config: LoRAConfig) -> PreTrainedModel:
    """Put low-rank updates into a model, and freeze everything else in it.

    Raises `ValueError` if it has none of the layers to update.
    """
    settings: dict[str, Any] = {"r": config.rank, "lora_alpha": config.alpha, "lora_dropout": config.dropout}
    # GPT-2's layers have their weights transposed.
    settings["fan_in_fan_out"] = any(isinstance(module, Conv1D) for module in model.modules())
    if config.target_modules:
        settings["target_modules"] = config.target_modules
    model.requires_grad_(False)
    return inject_adapter_in_model(LoraConfig(**settings), model)  # type: ignore[return-value]


def base_parameters(model: nn.Module) -> Iterator[tuple[str, nn.Module, str, nn.Parameter]]:
    """Yield the parameters that have no part in the updates, by their names in the model without updates;
    and for each the module that has it, and its name there."""
    for place, module in model.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            full = f"{place}.{name}" if place else name
            if ".lora_" not in full:
                yield full.replace(_WRAPPED, ""), module, name, parameter


def share_base(model: nn.Module, common: dict[str, nn.Parameter]) -> None:
    """Let a model with updates read the frozen parameters of the first one of the same base."""
    for full, module, name, parameter in base_parameters(model):
        setattr(module, name, common.setdefault(full, parameter))


def base_hash(model: nn.Module) -> str:
    """Return the SHA-256 of what the updates of a model are added to."""
    content = hashlib.sha256()
    for name, *_, parameter in sorted(base_parameters(model), key=lambda each: each[0]):
        tensor = parameter.detach().cpu()
        content.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        content.update(as_bytes(tensor))
    return content.hexdigest()


def merged(model: nn.Module) -> Mapping[str, Tensor]:
    """Return the parameters of a model with its updates added to them, by their names without updates."""
    tensors = {full: parameter.detach() for full, *_, parameter in base_parameters(model)}
    for place, module in model.named_modules():
        if isinstance(module, LoraLayer):
            for adapter in module.active_adapters:
                with torch.no_grad():
                    name = f"{place}.weight"
                    tensors[name] = tensors[name] + module.get_delta_weight(adapter)  # type: ignore[attr-defined]
    return tensors
