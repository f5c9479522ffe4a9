"""Vectors of texts, as the encoders of a run make them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import torch
from torch import Tensor, nn

from mtl.components import ModuleConfig, Output, RepresentationConfig, Task
from mtl.config.document import is_text
from mtl.config.walk import components
from mtl.data.batching import evaluation_batches
from mtl.data.columns import Batch, Rows
from mtl.errors import DataError, UsageError, component_errors
from mtl.fields import Component
from mtl.runs.arguments import shown

if TYPE_CHECKING:
    from mtl.runs.loading import LoadedRun


def row_vectors(run: LoadedRun, task: str, rows: Rows) -> list[dict[str, Any]]:
    """Return the document vectors of rows that a task has read.

    They are `{"vector": [...]}` of a text, or of texts that are read jointly, else
    `{"vectors": {"text1": [...], "text2": [...]}}`.

    Raises `UsageError` if the task has no document encoder.
    """
    chosen = run.task(task)
    sequences = chosen.features.sequences(chosen.config.texts)
    found = {name: _document_vectors(run, chosen, rows, name).tolist() for name in sequences}
    if len(sequences) == 1:
        return [{"vector": vector} for vector in found[sequences[0]]]
    return [{"vectors": dict(zip(found, row, strict=True))} for row in zip(*found.values(), strict=True)]


def text_vectors(
    run: LoadedRun, task: str, texts: Iterable[Any], *, tokens: bool
) -> np.ndarray | list[np.ndarray]:
    """See `LoadedRun.vectors`."""
    chosen = run.task(task)
    rows = _encoded(chosen, texts)
    name = chosen.config.texts[0]
    return _token_vectors(run, chosen, rows, name) if tokens else _document_vectors(run, chosen, rows, name)


def _encoded(task: Task[Any], texts: Iterable[Any]) -> Rows:
    """Return texts, or lists of their words, as the columns that the task's features read."""
    given = [texts] if isinstance(texts, str) else texts
    if not isinstance(given, Iterable):
        raise UsageError(f"`texts` must be texts or lists of words, but is {shown(texts)}")
    words: list[list[str]] = []
    for number, text in enumerate(given):
        is_list = isinstance(text, list | tuple) and all(isinstance(word, str) for word in text)
        if not isinstance(text, str) and not is_list:
            raise UsageError(f"`texts[{number}]` must be a text or a list of words, but is {shown(text)}")
        if not all(map(is_text, [text] if isinstance(text, str) else text)):
            raise DataError(f"`texts[{number}]` must be Unicode, but has half of a surrogate pair")
        own = list(text) if is_list else task.features.split(pl.Series([text], dtype=pl.String))[0].to_list()
        if not any(word.strip() for word in own):
            raise DataError(f"`texts[{number}]` must have a word, but has none")
        words.append(own)
    column = pl.Series("words", words, dtype=pl.List(pl.String))
    with component_errors(task, "to encode texts"):
        columns = task.features.encode({task.config.texts[0]: column})
    return Rows(columns=columns, lines=np.arange(1, len(words) + 1), path="texts")


def _document_vectors(run: LoadedRun, task: Task[Any], rows: Rows, name: str) -> np.ndarray:
    """Return the vectors of a sequence of each row, float32 `[rows, dim]`."""
    encoder = _representation(task)
    if encoder.config.output is not Output.DOCUMENT:
        raise UsageError(
            f"{task.name} has no document vectors: its representation {encoder.name} gives one vector per"
            " token, which `LoadedRun.vectors(..., tokens=True)` returns"
        )
    width = encoder.config.output_dim(task.config.features.output_dim)
    vectors = np.zeros((len(rows), width), dtype=np.float32)
    for places, encoded, _ in _forward(run, task, rows, name, encoder):
        vectors[places] = encoded.float().cpu().numpy()
    return vectors


def _token_vectors(run: LoadedRun, task: Task[Any], rows: Rows, name: str) -> list[np.ndarray]:
    """Return the vectors of the words, or pieces, of a sequence of each row, float32 `[words, dim]`."""
    vectors: list[np.ndarray] = [np.zeros(0)] * len(rows)
    for places, encoded, lengths in _forward(run, task, rows, name, _sequence_encoder(task)):
        for place, row, length in zip(places, encoded.float().cpu().numpy(), lengths.tolist(), strict=True):
            vectors[place] = row[:length].copy()
    return vectors


def _forward(
    run: LoadedRun, task: Task[Any], rows: Rows, name: str, encoder: Component
) -> Iterable[tuple[np.ndarray, Tensor, Tensor]]:
    """Yield the rows of each batch, what an encoder makes of a sequence of theirs, and its lengths."""
    embedding, module = _module(run, task.config.features), _module(run, encoder.config)
    size = task.config.eval_batch_size or task.config.batch_size
    with component_errors(task, "to encode texts"), torch.inference_mode():
        for places in evaluation_batches(rows.lengths, size) if len(rows) else ():
            batch: Batch = rows.batch(places).to(run.device)
            embedded, lengths = embedding(batch, name)
            yield places, module(embedded, lengths), lengths


def _representation(task: Task[Any]) -> Component:
    """Return the task's encoder. Raises `UsageError` if its config has none."""
    component = getattr(task.config, "representation", None)
    if not isinstance(component, Component) or not isinstance(component.config, RepresentationConfig):
        raise UsageError(f"{task.name} has no vectors: its config has no `representation`")
    return component


def _sequence_encoder(task: Task[Any]) -> Component:
    """Return the task's encoder, or the one within it, that gives one vector per token."""
    encoder = _representation(task)
    if encoder.config.output is Output.SEQUENCE:
        return encoder
    for found in components(encoder.config):
        if isinstance(found.config, RepresentationConfig) and found.config.output is Output.SEQUENCE:
            return found
    raise UsageError(f"{task.name} has no token vectors: {encoder.name} has no encoder with one per token")


def _module(run: LoadedRun, config: ModuleConfig) -> nn.Module:
    """Return the module of the run that was built from a config."""
    modules: Sequence[Any] = run.model.built
    found = next((built.module for built in modules if built.config is config), None)
    if not isinstance(found, nn.Module):
        raise UsageError("the task does not build its encoder by `build`, so that its vectors are not known")
    return found
