"""A pretrained model as an embedding, and the modules that go with it.

Shapes: B rows, P pieces, W words, D width.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, PreTrainedConfig, PreTrainedModel
from transformers.utils import logging as transformers_logging

from mtl import Builder, SavedPart
from mtl.errors import is_out_of_memory
from mtl_transformers.attention import use_fast_dropout
from mtl_transformers.config import FirstTokenConfig, IdentityConfig, PretrainedFeatConfig
from mtl_transformers.lora import base_hash, base_parameters, merged, with_lora
from mtl_transformers.model_files import CONFIG, read_config

PADDING = -1
"""Id of what fills up a batch: not every model has a piece for it."""
DROPOUTS = (
    "dropout",
    "embd_pdrop",
    "embedding_dropout",
    "hidden_dropout",
    "hidden_dropout_prob",
    "mlp_dropout",
    "resid_pdrop",
)
"""How architectures call the dropout of their hidden layers."""


class PretrainedEmbedding(nn.Module):
    """Pieces to vectors of pieces or words.

    *Shape:* `pieces`, `segments` and `windows` `[B, P]`, with -1 in the padding of `pieces`, to `[B, P, D]`;
    with `words` `[B, W, 2]`, the span of each word's pieces, to `[B, W, D]`. A word without a piece, and
    whatever lies after a row's length, has zeros.

    `is_pretrained` says that the model has its pretrained weights, and not yet those of a run.
    """

    def __init__(self, model: PreTrainedModel, config: PretrainedFeatConfig, *, is_pretrained: bool) -> None:
        super().__init__()
        self.model = model
        self.config = config
        self.is_pretrained = is_pretrained
        self.reads_segments = getattr(model.config, "type_vocab_size", 0) > 1
        padding = getattr(model.config, "pad_token_id", None)
        self.filler = padding if type(padding) is int and 0 <= padding < len(self.piece_weight) else 0
        if config.layers == "mix":
            self.mix = nn.Parameter(torch.zeros(model.config.num_hidden_layers + 1))
            self.scale = nn.Parameter(torch.ones(()))

    @property
    def piece_weight(self) -> nn.Parameter:
        """The vectors of the pieces, `[pieces, dim]`."""
        weight: nn.Parameter = self.model.get_input_embeddings().get_parameter("weight")
        return weight

    def saved_part(self) -> SavedPart | None:
        """Return what `save_path` writes, if that is not everything."""
        lora = self.config.lora
        if lora is None or lora.save == "whole":
            return None
        base = {id(parameter) for *_, parameter in base_parameters(self.model)}
        own = {name: tensor for name, tensor in self.named_parameters() if id(tensor) not in base}
        if lora.save == "merged":
            updated = {f"model.{name}": tensor for name, tensor in merged(self.model).items()}
            return SavedPart({**{name: own[name] for name in own if ".lora_" not in name}, **updated})
        return SavedPart(
            own, {"model": self.config.model, "sha256": base_hash(self.model), "alpha": lora.alpha}
        )

    def check_base(self, base: Mapping[str, Any]) -> None:
        """Raise `ValueError` if updates in a file are not those of this model."""
        lora = self.config.lora
        if lora is None:
            raise ValueError(f"they are low-rank updates of {base.get('model')}; set `lora`")
        if base.get("sha256") != base_hash(self.model):
            raise ValueError(
                f"they are low-rank updates of {base.get('model')}, whose weights are not those of"
                f" {self.config.model}"
            )
        if base.get("alpha") != lora.alpha:
            raise ValueError(f"`lora.alpha` must be {base.get('alpha')}, as in training, but is {lora.alpha}")

    def forward(self, columns: Mapping[str, Tensor]) -> Tensor:
        ids = columns["pieces"].long()
        inside = ids >= 0
        windows = columns.get("windows")
        # A row with several windows is longer than a single one can be.
        if windows is not None and ids.shape[1] > self.config.longest:
            vectors = self._windowed(ids, columns["segments"], windows, inside)
        else:
            vectors = self._encode(ids.masked_fill(~inside, self.filler), columns["segments"], inside)
        if self.config.align is None:
            return vectors * inside[..., None]
        return align_pieces(vectors, columns["words"], self.config.align)

    def _windowed(self, ids: Tensor, segments: Tensor, windows: Tensor, inside: Tensor) -> Tensor:
        """Encode each window as a row of its own, and put their vectors back in place, `[B, P, D]`."""
        row = torch.arange(len(ids), device=ids.device)[:, None].expand_as(ids)
        _, window = torch.unique(
            torch.stack([row[inside], windows.long()[inside]]), dim=1, return_inverse=True
        )
        count = window.bincount()
        place = torch.arange(len(window), device=ids.device) - (count.cumsum(0) - count)[window]
        shape = (len(count), int(count.max()))
        cut_ids = ids.new_full(shape, self.filler).index_put((window, place), ids[inside])
        cut_segments = segments.new_zeros(shape).index_put((window, place), segments[inside])
        mask = torch.zeros(shape, dtype=torch.bool, device=ids.device).index_put(
            (window, place), torch.ones_like(window, dtype=torch.bool)
        )
        encoded = self._encode(cut_ids, cut_segments, mask)
        vectors = encoded.new_zeros(*ids.shape, encoded.shape[-1])
        return vectors.masked_scatter(inside[..., None], encoded[window, place])

    def _encode(self, ids: Tensor, segments: Tensor, mask: Tensor) -> Tensor:
        """Return the vectors of the chosen layers, `[rows, P, D]`."""
        # A row without pieces attends to one piece of padding: a softmax over nothing is not defined.
        mask = torch.cat([torch.ones_like(mask[:, :1]), mask[:, 1:]], dim=1)
        inputs: dict[str, Any] = {"input_ids": ids, "attention_mask": mask.long()}
        if self.reads_segments:
            inputs["token_type_ids"] = segments.long()
        every_layer = self.config.layers != "last"
        output = self.model(**inputs, output_hidden_states=every_layer, return_dict=True)
        if not every_layer:
            last: Tensor = output.last_hidden_state
            return last
        layers = output.hidden_states
        if self.config.layers == "mean":
            return torch.stack(layers[-self.config.last_layers :]).mean(0)
        weights = self.mix.softmax(0)
        return self.scale * torch.einsum("l,lbpd->bpd", weights, torch.stack(layers))


def align_pieces(vectors: Tensor, spans: Tensor, how: str) -> Tensor:
    """Return one vector per word, `[B, P, D]` and `[B, W, 2]` to `[B, W, D]`."""
    start, stop = spans.long().unbind(-1)
    has_pieces = (stop > start)[..., None]
    if how == "mean":
        place = torch.arange(vectors.shape[1], device=vectors.device)
        own = (place >= start[..., None]) & (place < stop[..., None])
        weights = own.to(vectors.dtype) / (stop - start).clamp(min=1)[..., None]
        return weights @ vectors
    place = start if how == "first" else (stop - 1).clamp(min=0)
    picked = vectors.gather(1, place[..., None].expand(-1, -1, vectors.shape[-1]))
    return picked * has_pieces


def load_model(folder: Path, config: PretrainedFeatConfig, *, with_weights: bool) -> PreTrainedModel:
    """Load a pretrained model, or only build it if its weights come from elsewhere.

    Raises `ValueError` for a folder that does not hold a model that transformers knows.
    """
    with loading_errors(config.model):
        described = auto_config(folder, config)
        if with_weights:
            model = AutoModel.from_pretrained(
                folder, config=described, local_files_only=True, use_safetensors=True, dtype=torch.float32
            )
        else:
            model = AutoModel.from_config(described, dtype=torch.float32)  # type: ignore[no-untyped-call]
    # What reads the first piece for tasks of the pretraining would be parameters that nothing trains.
    if getattr(model, "pooler", None) is not None:
        model.pooler = None
    if config.gradient_checkpointing:
        model.activation_checkpointing_enable({"use_reentrant": False})
    _freeze(model, config)
    if config.lora is not None:
        model = with_lora(model, config.lora)
    use_fast_dropout(model)
    return model  # type: ignore[no-any-return]


def auto_config(folder: Path, config: PretrainedFeatConfig) -> PreTrainedConfig:
    """Return the config of a model in a folder, with the settings that change it.

    Raises `ValueError` for settings that do not fit the model.
    """
    read_config(folder / CONFIG, config.model)
    described: PreTrainedConfig = AutoConfig.from_pretrained(
        folder, local_files_only=True, trust_remote_code=False
    )
    if hasattr(described, "use_cache"):
        described.use_cache = False
    if config.dropout is not None:
        rates = [name for name in DROPOUTS if hasattr(described, name)]
        if not rates:
            raise ValueError(f"`dropout` must be absent, since a {config.model_type} model has none")
        for name in rates:
            setattr(described, name, config.dropout)
    layers = getattr(described, "num_hidden_layers", 0)
    most = {"last_layers": layers + 1} if config.layers == "mean" else {}
    for name, number in {**most, "freeze_layers": layers}.items():
        if getattr(config, name) > number:
            raise ValueError(
                f"`{name}` must be at most {number} for a model of {layers} layers, but is"
                f" {getattr(config, name)}"
            )
    return described


@contextmanager
def loading_errors(model: str) -> Iterator[None]:
    """Turn what transformers raises for a model that it cannot load into `ValueError`; it logs nothing."""
    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    except Exception as error:
        is_ours = isinstance(error, ValueError) and str(error).startswith("`")
        if is_ours or is_out_of_memory(error):
            raise
        reason = " ".join(str(error).split())[:300]
        raise ValueError(f"`model` {model} cannot be loaded: {type(error).__name__}: {reason}") from error
    finally:
        transformers_logging.set_verbosity(verbosity)


def _freeze(model: PreTrainedModel, config: PretrainedFeatConfig) -> None:
    """Freeze embeddings and lower layers as the config says."""
    if config.freeze_embeddings or config.freeze_layers:
        embeddings = getattr(model, "embeddings", None)
        if isinstance(embeddings, nn.Module):
            embeddings.requires_grad_(False)
        for module in model.modules():
            if isinstance(module, nn.Embedding):
                module.requires_grad_(False)
    if not config.freeze_layers:
        return
    count = model.config.num_hidden_layers
    stacks = [each for each in model.modules() if isinstance(each, nn.ModuleList) and len(each) == count]
    if not stacks:
        raise ValueError(f"`freeze_layers` must be 0 for {config.model_type}, whose layers are not in a list")
    for layer in stacks[0][: config.freeze_layers]:
        layer.requires_grad_(False)


class Identity(nn.Module):
    """Returns the features as they are.

    *Shape:* `embedded` `[batch, time, dim]` to the same.
    """

    def __init__(self, config: IdentityConfig, build: Builder, *, input_dim: int) -> None:
        super().__init__()

    def forward(self, embedded: Tensor, lengths: Tensor) -> Tensor:
        inside = torch.arange(embedded.shape[1], device=embedded.device) < lengths[:, None]
        return embedded * inside[..., None]


class FirstToken(nn.Module):
    """Returns the first vector of each row.

    *Shape:* `sequence` `[batch, time, dim]` to `[batch, dim]`, zeros for a row of length 0.
    """

    def __init__(self, config: FirstTokenConfig, build: Builder, *, input_dim: int) -> None:
        super().__init__()

    def forward(self, sequence: Tensor, lengths: Tensor) -> Tensor:
        return sequence[:, 0] * (lengths > 0)[:, None]
