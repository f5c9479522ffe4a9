"""Objectives: what is predicted from which vector, without leaks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import attrs
import torch
from attrs import define, evolve, frozen
from torch import Tensor

from mtl import Batch, ConfigError, Direction, Problem, SpecialTokens, Unit
from pytext_plugins_lm.config import MASK_PROBABILITY, LMTaskConfig


@frozen
class Tokens:
    """What is predicted: the `column` of token ids in a batch, the number of tokens, and the special ones.

    The column `word_starts` says which tokens begin a word, if a word may be several.
    """

    column: str
    size: int
    special: SpecialTokens
    unit: Unit = Unit.WORD
    word_starts: str | None = None

    @property
    def first(self) -> int:
        """The id of the first token that is not special."""
        special = set(attrs.astuple(self.special))
        return next(number for number in range(self.size + 1) if number not in special)

    def count(self, batch: Batch) -> int:
        """Return the number of tokens in a batch, without waiting for a GPU."""
        return batch.pieces if self.unit is Unit.PIECE else batch.words


@define(eq=False)
class Reading:
    """Predictions of one kind: vector `index[i]` of `states` predicts token `targets[i]`.

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


@frozen
class Objective(ABC):
    """What the representation gets of a batch, and what its vectors predict."""

    tokens: Tokens
    readings: ClassVar[tuple[str, ...]]

    def width(self, output_dim: int) -> int:
        """Return the width of the vectors that predict, given the representation's `output_dim`."""
        return output_dim

    def show(self, batch: Batch, *, training: bool) -> Batch:
        """Return the input of the representation."""
        return batch

    @abstractmethod
    def read(self, states: Tensor, batch: Batch, shown: Batch) -> dict[str, Reading]:
        """Return the predictions from the vectors of a batch, `[batch, time, dim]`, by `readings`."""


@frozen
class NextWord(Objective):
    """The vector of each token predicts the next one.

    With `split`, only the first half of a vector does, which has not seen later tokens.
    """

    split: bool
    readings: ClassVar[tuple[str, ...]] = ("forward",)

    def width(self, output_dim: int) -> int:
        return output_dim // 2 if self.split else output_dim

    def read(self, states: Tensor, batch: Batch, shown: Batch) -> dict[str, Reading]:
        index, rows = pairs(batch, self.tokens)
        forward = states[..., : self.width(states.shape[-1])]
        return {"forward": Reading(forward, index, batch[self.tokens.column].flatten()[index + 1], rows)}


@frozen
class Unmasked(Objective):
    """The vector of each token predicts the next one, which it may depend on: this leaks."""

    readings: ClassVar[tuple[str, ...]] = ("leaking",)

    def read(self, states: Tensor, batch: Batch, shown: Batch) -> dict[str, Reading]:
        index, rows = pairs(batch, self.tokens)
        return {"leaking": Reading(states, index, batch[self.tokens.column].flatten()[index + 1], rows)}


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
        index, rows = pairs(batch, self.tokens)
        words = batch[self.tokens.column].flatten()
        return {
            "forward": Reading(forward, index, words[index + 1], rows),
            "backward": Reading(backward, index + 1, words[index], rows),
        }


@frozen
class Masked(Objective):
    """The vectors of some tokens predict them; the input hides them.

    `probability` of a row's tokens are predicted, at least one, or its end if it has no other. Of these,
    80 % are shown as the mask token, 10 % as another token, 10 % unchanged: Devlin et al., "BERT:
    Pre-training of Deep Bidirectional Transformers for Language Understanding", NAACL 2019, section
    3.1. Training draws from torch's generator; evaluation always hides the same tokens of a row.

    With `whole_words` the tokens of a word are predicted together, so that none is guessed from the others;
    the last word of a row may then exceed the share.
    """

    probability: float
    whole_words: bool = False
    readings: ClassVar[tuple[str, ...]] = ("masked",)

    def show(self, batch: Batch, *, training: bool) -> Batch:
        column, mask = self.tokens.column, self.tokens.special.mask
        if mask is None:
            raise ValueError("the vocabulary has no mask token")
        ids = batch[column]
        draw = _draw if training else _fixed_draw
        first_of_word = self._first_of_word(batch) if self.whole_words else None
        hidden = self._choose(ids, batch.lengths[column], draw(batch, ids, 0), first_of_word)
        fate, other = draw(batch, ids, 1), draw(batch, ids, 2)
        first, size = self.tokens.first, self.tokens.size
        others = first + (other * max(size - first, 1)).long()
        others = others.clamp(max=size - 1).to(ids.dtype)
        shown = torch.where(fate < 0.8, mask, torch.where(fate < 0.9, others, ids))
        tensors = {**batch.tensors, column: torch.where(hidden, shown, ids), "hidden": hidden}
        return evolve(batch, tensors=tensors)

    def _first_of_word(self, batch: Batch) -> Tensor:
        """Return the place of the first token of each token's word, `[batch, time]`."""
        if self.tokens.word_starts is None:
            raise ValueError("the tokens do not say where words begin")
        starts = batch[self.tokens.word_starts]
        place = torch.arange(starts.shape[1], device=starts.device)
        return (place * (starts > 0)).cummax(1).values

    def _choose(self, ids: Tensor, lengths: Tensor, order: Tensor, first_of_word: Tensor | None) -> Tensor:
        """Return which tokens are predicted, `[batch, time]`: those that `order` puts first."""
        position = torch.arange(ids.shape[1], device=ids.device)
        inside = (position > 0) & (position < lengths[:, None])
        end = self.tokens.special.end
        allowed = inside if end is None else inside & (ids != end)
        allowed = allowed | (inside & ~allowed.any(1, keepdim=True))
        counts = (allowed.sum(1, keepdim=True) * self.probability).round().clamp(min=1)
        if first_of_word is not None:
            order = order.gather(1, first_of_word)
        rank = order.masked_fill(~allowed, 2.0).argsort(dim=1, stable=True).argsort(dim=1)
        if first_of_word is not None:
            rank = rank.gather(1, first_of_word)
        return allowed & (rank < counts)

    def read(self, states: Tensor, batch: Batch, shown: Batch) -> dict[str, Reading]:
        hidden = shown["hidden"]
        index = hidden.flatten().nonzero().squeeze(1)
        rows = index.div(hidden.shape[1], rounding_mode="floor")
        return {"masked": Reading(states, index, batch[self.tokens.column].flatten()[index], rows)}


def make_objective(config: LMTaskConfig, tokens: Tokens) -> Objective:
    """Return the objective of a task's config.

    Raises `ConfigError` if it needs a mask token that the vocabulary does not have.
    """
    match config.resolved_objective:
        case "next-word":
            return NextWord(tokens, split=config.representation.config.direction is Direction.SPLIT)
        case "both-directions":
            return BothDirections(tokens)
        case "masked":
            if tokens.special.mask is None:
                featurizer = config.token_featurizers[0]
                message = f"`objective` 'masked' needs a mask token, but {featurizer.name} has none"
                raise ConfigError([Problem(featurizer.path, message)])
            return Masked(tokens, config.mask_probability or MASK_PROBABILITY, config.whole_words)
        case "unmasked":
            return Unmasked(tokens)


def pairs(batch: Batch, tokens: Tokens) -> tuple[Tensor, Tensor]:
    """Return the place in the batch, counted row by row, of each token that another one follows, and its
    row, both `[n]`."""
    lengths = batch.lengths[tokens.column]
    counts = lengths - 1
    number = tokens.count(batch) - len(batch)
    row_numbers = torch.arange(len(counts), device=counts.device)
    rows = torch.repeat_interleave(row_numbers, counts, output_size=number)
    place = torch.arange(number, device=counts.device) - (counts.cumsum(0) - counts)[rows]
    return rows * batch[tokens.column].shape[1] + place, rows


def _draw(batch: Batch, ids: Tensor, purpose: int) -> Tensor:
    return torch.rand(ids.shape, device=ids.device)


def _fixed_draw(batch: Batch, ids: Tensor, purpose: int) -> Tensor:
    """Return numbers in [0, 1) for each token, from its row in the split and its place alone."""
    rows = batch.rows.to(ids.device, non_blocking=True)[:, None]
    place = torch.arange(ids.shape[1], device=ids.device)
    return _hash(_hash(rows * 3 + purpose) ^ place) / 2.0**32


def _hash(numbers: Tensor) -> Tensor:
    """Spread integers over 32 bits: `lowbias32` of Chris Wellons' "Prospecting for Hash Functions"."""
    numbers = ((numbers ^ (numbers >> 16)) * 0x7FEB352D) & 0xFFFFFFFF
    numbers = ((numbers ^ (numbers >> 15)) * 0x846CA68B) & 0xFFFFFFFF
    return numbers ^ (numbers >> 16)
