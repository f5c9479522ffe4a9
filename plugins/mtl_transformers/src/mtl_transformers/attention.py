"""Dropout whose masks are drawn fast on a CPU, in the layers and the attention of pretrained models."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import repeat_kv, sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from mtl_text.dropout import Dropout

IMPLEMENTATION = "mtl_sdpa"
"""Name of the attention among those of transformers."""


def use_fast_dropout(model: PreTrainedModel) -> None:
    """Replace a model's dropout, and torch's attention where it would draw masks, by faster ones.

    The vectors of a model in evaluation mode, and the names of its parameters, stay as they are.
    """
    for module in model.modules():
        for name, child in module.named_children():
            if type(child) is nn.Dropout:
                setattr(module, name, Dropout(child.p, child.inplace).train(child.training))
    if model.config._attn_implementation == "sdpa":
        model.set_attn_implementation(IMPLEMENTATION)


def attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    is_causal: bool | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """Attend as torch does, but draw the masks of attention weights fast on a CPU.

    *Shape:* `query`, `key` and `value` `[batch, heads, time, head_dim]` to `[batch, time, heads, head_dim]`.
    """
    changes_scores = any(others.get(name) is not None for name in ("position_bias", "softcap"))
    if not dropout or changes_scores or query.device.type != "cpu" or torch.compiler.is_compiling():
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout, scaling, is_causal, **others
        )
    groups = getattr(module, "num_key_value_groups", 1)
    key, value = repeat_kv(key, groups), repeat_kv(value, groups)
    scores = (query * (query.shape[-1] ** -0.5 if scaling is None else scaling)) @ key.transpose(-2, -1)
    if attention_mask is None:
        causal = getattr(module, "is_causal", True) if is_causal is None else is_causal
        if causal and query.shape[2] > 1:
            attention_mask = torch.ones(scores.shape[-2:], dtype=torch.bool).tril()
    if attention_mask is not None and attention_mask.dtype == torch.bool:
        scores = scores.masked_fill(~attention_mask, torch.finfo(scores.dtype).min)
    elif attention_mask is not None:
        scores = scores + attention_mask
    dropped = Dropout(dropout)(scores.softmax(-1))
    return (dropped @ value).transpose(1, 2).contiguous(), None


AttentionInterface.register(IMPLEMENTATION, attention)
AttentionMaskInterface.register(IMPLEMENTATION, sdpa_mask)
