"""The tutorial's models and loop as one would write them by hand in plain torch.

No mtl: this is what mtl is measured against. It packs its sequences, takes the default Adam and reads each
loss, as most people write it first.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence

PAD, UNK, BOS, EOS = range(4)
Row = TypeVar("Row")


class BareEncoder(nn.Module):
    """Embedding 100 and a bidirectional LSTM of 32 a direction, dropout 0.4 before it."""

    def __init__(self, words: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words, 100, padding_idx=PAD)
        self.lstm = nn.LSTM(100, 32, batch_first=True, bidirectional=True)

    def forward(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """`[batch, time]` to `[batch, time, 64]`."""
        embedded = F.dropout(self.embedding(ids), 0.4, self.training)
        packed = pack_padded_sequence(embedded, lengths, batch_first=True, enforce_sorted=False)
        return pad_packed_sequence(self.lstm(packed)[0], batch_first=True)[0]


class BareClassifier(nn.Module):
    """Self-attention over the encoder's states, then a linear layer."""

    def __init__(self, encoder: BareEncoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.keys = nn.Linear(64, 64, bias=False)
        self.query = nn.Linear(64, 1, bias=False)
        self.output = nn.Linear(64, 2)

    def forward(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """`[batch, time]` to logits `[batch, 2]`."""
        states = self.encoder(ids, lengths)
        scores = self.query(torch.tanh(self.keys(states))).squeeze(-1)
        scores = scores.masked_fill(torch.arange(states.shape[1]) >= lengths[:, None], float("-inf"))
        pooled = (torch.softmax(scores, dim=1)[..., None] * states).sum(1)
        return self.output(F.dropout(pooled, 0.4, self.training))


class BareLanguageModel(nn.Module):
    """The next word from the forward states, the previous one from the backward states."""

    def __init__(self, encoder: BareEncoder, words: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.output = nn.Linear(32, words)

    def forward(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """`[batch, time]`, begin and end tokens included, to the mean loss."""
        forward, backward = self.encoder(ids, lengths).split(32, dim=-1)
        last = ids[:, 1:].flatten()
        first = ids[:, :-1].flatten()
        total = F.cross_entropy(self.output(forward[:, :-1]).flatten(0, 1), last, ignore_index=PAD)
        return (
            total + F.cross_entropy(self.output(backward[:, 1:]).flatten(0, 1), first, ignore_index=PAD)
        ) / 2


def read_words(path: Path, limit: int) -> list[list[str]]:
    """The lines of a file as lowercased words, empty ones left out."""
    lines = (line.split() for line in path.read_text(encoding="utf-8").lower().splitlines())
    return [line for line in lines if line][:limit]


class Data:
    """Sentences with labels and lines of text, tokenised batch by batch as most first loops do."""

    def __init__(self, folder: Path, limit: int = 10**9) -> None:
        rows = (folder / "SST-2/train.tsv").read_text(encoding="utf-8").splitlines()[1 : limit + 1]
        self.sentences = [row.rsplit("\t", 1) for row in rows]
        self.text = read_words(folder / "wikitext-2/wiki.train.tokens", limit)
        counts = Counter(word for sentence, _ in self.sentences for word in sentence.lower().split())
        self.vocabulary = {word: index + 4 for index, (word, _) in enumerate(counts.most_common(15000))}
        self.words = len(self.vocabulary) + 4

    def ids(self, words: list[str]) -> Tensor:
        """Word rows."""
        return torch.tensor([self.vocabulary.get(word, UNK) for word in words])

    def classification(self, batch_size: int = 128) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Ids `[batch, time]`, lengths and labels `[batch]`, sorted within pools of 100 batches."""
        rows = random.sample(self.sentences, len(self.sentences))
        for batch in pooled(rows, batch_size, lambda row: len(row[0])):
            ids = [self.ids(sentence.lower().split() or ["."]) for sentence, _ in batch]
            labels = torch.tensor([int(label) for _, label in batch])
            yield pad_sequence(ids, batch_first=True), torch.tensor([len(row) for row in ids]), labels

    def lines(self, batch_size: int = 16) -> Iterator[tuple[Tensor, Tensor]]:
        """Ids `[batch, time]` between begin and end, and lengths `[batch]`."""
        rows = random.sample(self.text, len(self.text))
        for batch in pooled(rows, batch_size, len):
            ids = [F.pad(F.pad(self.ids(line), (1, 0), value=BOS), (0, 1), value=EOS) for line in batch]
            yield pad_sequence(ids, batch_first=True), torch.tensor([len(row) for row in ids])


def pooled(rows: list[Row], batch_size: int, length: Callable[[Row], int]) -> Iterator[list[Row]]:
    """Batches of similar lengths."""
    for start in range(0, len(rows), 100 * batch_size):
        pool = sorted(rows[start : start + 100 * batch_size], key=length)
        batches = [pool[begin : begin + batch_size] for begin in range(0, len(pool), batch_size)]
        random.shuffle(batches)
        yield from batches


class Straightforward:
    """The tutorial by hand: one model a task over one encoder, one Adam, each loss read at once."""

    def __init__(self, folder: Path, *, multitask: bool) -> None:
        torch.manual_seed(0)
        random.seed(0)
        data = Data(folder)
        encoder = BareEncoder(data.words)
        self.classifier = BareClassifier(encoder)
        self.language_model = BareLanguageModel(encoder, data.words)
        modules = [self.classifier, self.language_model] if multitask else [self.classifier]
        parameters = {id(p): p for module in modules for p in module.parameters()}
        self.optimizer = torch.optim.Adam(parameters.values(), lr=1e-3, weight_decay=1e-5)
        self.sentences = data.classification()
        self.lines = data.lines()

    def classify(self) -> tuple[int, int]:
        """One step of the classifier: rows and tokens."""
        ids, lengths, labels = next(self.sentences)
        self._step(F.cross_entropy(self.classifier(ids, lengths), labels))
        return len(labels), int(lengths.sum())

    def model_language(self) -> tuple[int, int]:
        """One step of the language model: rows and tokens."""
        ids, lengths = next(self.lines)
        self._step(self.language_model(ids, lengths))
        return len(ids), int(lengths.sum())

    def _step(self, loss: Tensor) -> None:
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        loss.item()
