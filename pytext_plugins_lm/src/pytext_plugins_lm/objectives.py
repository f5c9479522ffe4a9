"""What is predicted from which vector, and that no vector has seen what it predicts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from attrs import define, evolve, frozen
from torch import Tensor

from mtl import Batch, Direction
from mtl_text.text import EOS_ID, MASK_ID, SPECIAL_TOKENS
from pytext_plugins_lm.config import MASK_PROBABILITY, LMTaskConfig

WORDS = "text.word_feat.ids"


@define(eq=False)
class Reading:
    """Predictions of one kind: vector `index[i]` of `states` predicts word `targets[i]`.

    Shapes: `states` `[batch, time, dim]`, in which `index` `[n]` counts row by row; `targets` `[n]`;
    `rows` `[n]`, each prediction's row in the batch.
    """

    states: Tensor
    index: Tensor
    targets: Tensor
    rows: Tensor

    @property
    def inputs(self) -> Tensor:
        """The vectors that predict, `[n, dim]`."""
        return self.states.flatten(0, 1).index_select(0, self.index)


class Objective(ABC):
    """How a batch is shown to the representation and how its vectors are read."""

    readings: ClassVar[tuple[str, ...]]

    def width(self, output_dim: int) -> int:
        """Width of the vectors that predict, of a representation's `output_dim`."""
        return output_dim

    def show(self, batch: Batch, *, training: bool) -> Batch:
        """The batch as the representation sees it."""
        return batch

    @abstractmethod
    def read(self, states: Tensor, batch: Batch, shown: Batch) -> dict[str, Reading]:
        """The predictions of a batch from its vectors `[batch, time, dim]`, one of each of `readings`."""


@frozen
class NextWord(Objective):
    """The vector of each token predicts the next one.

    With `split` only the first half of a vector does, which has not seen what comes after.
    """

    split: bool
    readings: ClassVar[tuple[str, ...]] = ("forward",)

    def width(self, output_dim: int) -> int:
        return output_dim // 2 if self.split else output_dim

    def read(self, states: Tensor, batch: Batch, shown: Batch) -> dict[str, Reading]:
        index, rows = pairs(batch)
        forward = states[..., : self.width(states.shape[-1])]
        return {"forward": Reading(forward, index, batch[WORDS].flatten()[index + 1], rows)}


@frozen
class Unmasked(Objective):
    """The vector of each token predicts the next one, which it has seen: this leaks."""

    readings: ClassVar[tuple[str, ...]] = ("leaking",)

    def read(self, states: Tensor, batch: Batch, shown: Batch) -> dict[str, Reading]:
        index, rows = pairs(batch)
        return {"leaking": Reading(states, index, batch[WORDS].flatten()[index + 1], rows)}


@frozen
class BothDirections(Objective):
    """The first half of each vector predicts the next token, the second half the previous one.

    Peters et al., "Deep contextualized word representations", NAACL 2018, section 3.1.
    """

    readings: ClassVar[tuple[str, ...]] = ("forward", "backward")

    def width(self, output_dim: int) -> int:
        return output_dim // 2

    def read(self, states: Tensor, batch: Batch, shown: Batch) -> dict[str, Reading]:
        forward, backward = states.chunk(2, dim=-1)
        index, rows = pairs(batch)
        words = batch[WORDS].flatten()
        return {
            "forward": Reading(forward, index, words[index + 1], rows),
            "backward": Reading(backward, index + 1, words[index], rows),
        }


@frozen
class Masked(Objective):
    """The vectors of some words predict them; the input hides them.

    `probability` of a row's words are predicted, at least one, or its end where it has none. Of
    these 80 % are shown as `MASK`, 10 % as another word, 10 % as they are: Devlin et al., "BERT:
    Pre-training of Deep Bidirectional Transformers for Language Understanding", NAACL 2019, section
    3.1. Training draws from torch's generator; evaluation always hides the same words of a row.
    """

    probability: float
    vocabulary_size: int
    readings: ClassVar[tuple[str, ...]] = ("masked",)

    def show(self, batch: Batch, *, training: bool) -> Batch:
        words = batch[WORDS]
        draw = _draw if training else _fixed_draw
        hidden = self._choose(words, batch.lengths[WORDS], draw(batch, 0))
        fate, other = draw(batch, 1), draw(batch, 2)
        first_word = len(SPECIAL_TOKENS)
        others = first_word + (other * max(self.vocabulary_size - first_word, 1)).long()
        others = others.clamp(max=self.vocabulary_size - 1).to(words.dtype)
        shown = torch.where(fate < 0.8, MASK_ID, torch.where(fate < 0.9, others, words))
        tensors = {**batch.tensors, WORDS: torch.where(hidden, shown, words), "hidden": hidden}
        return evolve(batch, tensors=tensors)

    def _choose(self, words: Tensor, lengths: Tensor, order: Tensor) -> Tensor:
        """Which tokens are predicted, `[batch, time]`: those that `order` puts first."""
        position = torch.arange(words.shape[1], device=words.device)
        tokens = (position > 0) & (position < lengths[:, None])
        allowed = tokens & (words != EOS_ID)
        allowed |= tokens & ~allowed.any(1, keepdim=True)
        counts = (allowed.sum(1, keepdim=True) * self.probability).round().clamp(min=1)
        rank = order.masked_fill(~allowed, 2.0).argsort(dim=1, stable=True).argsort(dim=1)
        return allowed & (rank < counts)

    def read(self, states: Tensor, batch: Batch, shown: Batch) -> dict[str, Reading]:
        hidden = shown["hidden"]
        index = hidden.flatten().nonzero().squeeze(1)
        rows = index.div(hidden.shape[1], rounding_mode="floor")
        return {"masked": Reading(states, index, batch[WORDS].flatten()[index], rows)}


def make_objective(config: LMTaskConfig, vocabulary_size: int) -> Objective:
    """The objective of a task's config."""
    match config.resolved_objective:
        case "next-word":
            return NextWord(split=config.representation.config.direction is Direction.SPLIT)
        case "both-directions":
            return BothDirections()
        case "masked":
            return Masked(config.mask_probability or MASK_PROBABILITY, vocabulary_size)
        case "unmasked":
            return Unmasked()


def pairs(batch: Batch) -> tuple[Tensor, Tensor]:
    """Where each token that another one follows stands in the batch, row by row, and its row: `[n]`.

    `batch.words` says how many there are, so that a GPU need not be waited for.
    """
    lengths = batch.lengths[WORDS]
    counts = lengths - 1
    number = batch.words - len(batch)
    row_numbers = torch.arange(len(counts), device=counts.device)
    rows = torch.repeat_interleave(row_numbers, counts, output_size=number)
    place = torch.arange(number, device=counts.device) - (counts.cumsum(0) - counts)[rows]
    return rows * batch[WORDS].shape[1] + place, rows


def _draw(batch: Batch, purpose: int) -> Tensor:
    words = batch[WORDS]
    return torch.rand(words.shape, device=words.device)


def _fixed_draw(batch: Batch, purpose: int) -> Tensor:
    """Numbers in [0, 1) for each token, from its row in the split and its place alone."""
    words = batch[WORDS]
    rows = batch.rows.to(words.device, non_blocking=True)[:, None]
    place = torch.arange(words.shape[1], device=words.device)
    return _hash(_hash(rows * 3 + purpose) ^ place) / 2.0**32


def _hash(numbers: Tensor) -> Tensor:
    """Spreads integers over 32 bits: `lowbias32` of Chris Wellons' "Prospecting for Hash Functions"."""
    numbers = ((numbers ^ (numbers >> 16)) * 0x7FEB352D) & 0xFFFFFFFF
    numbers = ((numbers ^ (numbers >> 15)) * 0x846CA68B) & 0xFFFFFFFF
    return numbers ^ (numbers >> 16)
