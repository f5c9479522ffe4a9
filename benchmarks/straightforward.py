"""The same models and the loop around them as one writes them first, in plain torch and without mtl.

A batch's text becomes numbers when its turn comes, sequences are packed, the language model makes the
scores of all words, Adam is torch's default, and each loss is read.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence

PAD, UNK, BOS, EOS = range(4)
Order = Iterable[tuple[str, Sequence[int]]]


def padding(lengths: Tensor, states: Tensor) -> Tensor:
    """Return True after the end of a row, `[batch, time]`: of lengths `[batch]`, which are on the CPU, where
    packing needs them, and states `[batch, time, dim]`."""
    return torch.arange(states.shape[1], device=states.device) >= lengths.to(states.device)[:, None]


class LSTMEncoder(nn.Module):
    """`[batch, time, input_dim]` to `[batch, time, output_dim]`; dropout before each layer."""

    def __init__(self, input_dim: int, dim: int, layers: int, dropout: float, bidirectional: bool) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        between = dropout if layers > 1 else 0.0
        self.lstm = nn.LSTM(
            input_dim, dim, layers, batch_first=True, dropout=between, bidirectional=bidirectional
        )
        self.output_dim = 2 * dim if bidirectional else dim

    def forward(self, embedded: Tensor, lengths: Tensor) -> Tensor:
        packed = pack_padded_sequence(self.dropout(embedded), lengths, batch_first=True, enforce_sorted=False)
        states: Tensor = pad_packed_sequence(self.lstm(packed)[0], batch_first=True)[0]
        return states


class TransformerEncoder(nn.Module):
    """`[batch, time, input_dim]` to `[batch, time, dim]`."""

    def __init__(
        self, input_dim: int, dim: int, layers: int, heads: int, wide: int, dropout: float, causal: bool
    ) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(
            dim, heads, wide, dropout, activation="gelu", batch_first=True, norm_first=True
        )
        self.projection = nn.Linear(input_dim, dim)
        self.dropout = nn.Dropout(dropout)
        self.encoder = nn.TransformerEncoder(layer, layers, nn.LayerNorm(dim), enable_nested_tensor=False)
        self.causal = causal
        self.output_dim = dim

    def forward(self, embedded: Tensor, lengths: Tensor) -> Tensor:
        time = embedded.shape[1]
        position = torch.arange(time, device=embedded.device)
        future = position > position[:, None] if self.causal else None
        states = self.projection(embedded)
        states = self.dropout(states + self._positions(position).to(states.dtype))
        encoded: Tensor = self.encoder(states, mask=future, src_key_padding_mask=padding(lengths, embedded))
        return encoded

    def _positions(self, position: Tensor) -> Tensor:
        dim = self.output_dim
        rates = torch.exp(torch.arange(0, dim, 2, device=position.device) * (-math.log(10_000) / dim))
        angles = position[:, None] * rates
        return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)


class Classifier(nn.Module):
    """Self-attention over the encoder's states, then a linear layer."""

    def __init__(self, embedding: nn.Embedding, encoder: nn.Module, dim: int) -> None:
        super().__init__()
        self.embedding, self.encoder = embedding, encoder
        self.keys = nn.Linear(dim, 64, bias=False)
        self.query = nn.Linear(64, 1, bias=False)
        self.dropout = nn.Dropout(0.4)
        self.output = nn.Linear(dim, 2)

    def forward(self, ids: Tensor, lengths: Tensor, labels: Tensor) -> Tensor:
        """Ids `[batch, time]`, lengths (on the CPU) and labels `[batch]` to the mean loss."""
        states = self.encoder(self.embedding(ids), lengths)
        scores = self.query(torch.tanh(self.keys(states))).squeeze(-1)
        weights = scores.masked_fill(padding(lengths, states), float("-inf")).softmax(dim=1)
        pooled = (weights[..., None] * states).sum(1)
        return F.cross_entropy(self.output(self.dropout(pooled)).float(), labels)


class LanguageModel(nn.Module):
    """The next word from each state; with `split` from its first half, the previous one from the other."""

    def __init__(
        self, embedding: nn.Embedding, encoder: nn.Module, dim: int, words: int, *, split: bool
    ) -> None:
        super().__init__()
        self.embedding, self.encoder, self.split = embedding, encoder, split
        self.output = nn.Linear(dim // 2 if split else dim, words)

    def forward(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """Ids `[batch, time]`, begin and end tokens included, and lengths `[batch]`, on the CPU, to the
        mean loss."""
        states = self.encoder(self.embedding(ids), lengths)
        if not self.split:
            return self._loss(states[:, :-1], ids[:, 1:])
        forward, backward = states.chunk(2, dim=-1)
        # A state that has read nothing but padding predicts no word.
        is_word = ids[:, 1:] != PAD
        previous = ids[:, :-1].masked_fill(~is_word, PAD)
        return (self._loss(forward[:, :-1], ids[:, 1:]) + self._loss(backward[:, 1:], previous)) / 2

    def _loss(self, states: Tensor, targets: Tensor) -> Tensor:
        scores = self.output(states)
        return F.cross_entropy(scores.flatten(0, 1).float(), targets.flatten().long(), ignore_index=PAD)


def models(
    tasks: Iterable[str], words: int, embed_dim: int, encoder: Mapping[str, Any]
) -> dict[str, nn.Module]:
    """Return the models of some tasks over one embedding and one encoder, which is given as in a config of
    mtl."""
    ((name, given),) = encoder.items()
    embedding = nn.Embedding(words, embed_dim, padding_idx=PAD)
    built = (_lstm if name == "BiLSTM" else _transformer)(embed_dim, **given)
    split = name == "BiLSTM" and built.lstm.bidirectional
    made: dict[str, nn.Module] = {
        "SST2": Classifier(embedding, built, built.output_dim),
        "LM": LanguageModel(embedding, built, built.output_dim, words, split=split),
    }
    return {task: made[task] for task in tasks}


def _lstm(
    input_dim: int, lstm_dim: int, num_layers: int = 1, dropout: float = 0.4, bidirectional: bool = True
) -> Any:
    return LSTMEncoder(input_dim, lstm_dim, num_layers, dropout, bidirectional)


def _transformer(
    input_dim: int,
    model_dim: int,
    num_layers: int,
    num_heads: int,
    feedforward_dim: int,
    dropout: float = 0.1,
    causal: bool = False,
) -> Any:
    return TransformerEncoder(input_dim, model_dim, num_layers, num_heads, feedforward_dim, dropout, causal)


class Straightforward:
    """The loop. `texts` are those of each task, `order` the task and the rows of each step in turn."""

    def __init__(
        self,
        models: Mapping[str, nn.Module],
        texts: Mapping[str, Sequence[str]],
        vocabulary: Mapping[str, int],
        order: Order,
        *,
        device: str = "cpu",
    ) -> None:
        self.models = {task: model.to(device) for task, model in models.items()}
        self.texts, self.vocabulary, self.order = texts, vocabulary, iter(order)
        self.device = device
        parameters = {id(p): p for model in models.values() for p in model.parameters()}
        self.optimizer = torch.optim.Adam(parameters.values(), lr=1e-3, weight_decay=1e-5)

    def step(self) -> float:
        """Return one step: its loss."""
        task, rows = next(self.order)
        ids, lengths, *labels = self.batch(task, rows)
        self.optimizer.zero_grad()
        loss = self.models[task](ids.to(self.device), lengths, *(part.to(self.device) for part in labels))
        loss.backward()
        self.optimizer.step()
        return float(loss.item())

    def batch(self, task: str, rows: Sequence[int]) -> Iterator[Tensor]:
        """Ids `[batch, time]`, lengths and, of sentences, labels `[batch]`."""
        tokens = [self._tokens(task, self.texts[task][row]) for row in rows]
        ids = [torch.tensor([self.vocabulary.get(token, UNK) for token in row]) for row in tokens]
        yield pad_sequence(ids, batch_first=True, padding_value=PAD)
        yield torch.tensor([len(row) for row in ids])
        if task == "SST2":
            yield torch.tensor([row % 2 for row in rows])

    def _tokens(self, task: str, text: str) -> list[str]:
        words = text.lower().split()
        return words if task == "SST2" else ["__BOS__", *words, "__EOS__"]
