"""The language model: embedding, representation, and a score for each word."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
import torch.nn.functional as F
from attrs import define
from torch import Tensor, nn

from mtl import Batch, Loss, ModelOutput
from mtl_text.text import EOS_ID
from pytext_plugins_lm.loss import linear_cross_entropy
from pytext_plugins_lm.objectives import WORDS, Objective, Reading

NEXT_WORDS = 5


@define(eq=False)
class ScoredReading:
    """The negative log-probability of each prediction and its row in the batch, both `[n]`."""

    losses: Tensor
    rows: Tensor


@define(eq=False)
class NextWords:
    """The likeliest words after the last one of each row: ids and probabilities, `[batch, 5]`."""

    words: Tensor
    probabilities: Tensor


@define(eq=False)
class LMOutput(ModelOutput):
    """`readings` by direction; `next_words` in evaluation, of an objective that predicts them."""

    readings: Mapping[str, ScoredReading]
    next_words: NextWords | None


class LanguageModel(nn.Module):
    """Predicts words as its objective says; the loss is the sum over all predictions."""

    def __init__(
        self, *, embedding: nn.Module, representation: nn.Module, scorer: WordScorer, objective: Objective
    ) -> None:
        super().__init__()
        self.embedding = embedding
        self.representation = representation
        self.scorer = scorer
        self.objective = objective

    def forward(self, batch: Batch) -> LMOutput:
        shown = self.objective.show(batch, training=self.training)
        embedded, lengths = self.embedding(shown)
        readings = self.objective.read(self.representation(embedded, lengths), batch, shown)
        total, losses = self.scorer.loss(
            torch.cat([reading.inputs for reading in readings.values()]),
            torch.cat([reading.targets for reading in readings.values()]).long(),
        )
        parts = torch.split(losses, [len(reading.targets) for reading in readings.values()])
        return LMOutput(
            loss=Loss(total, len(losses)),
            readings={
                name: ScoredReading(part, reading.rows)
                for (name, reading), part in zip(readings.items(), parts, strict=True)
            },
            next_words=None if self.training else self._next_words(readings.get("forward"), batch),
        )

    def _next_words(self, forward: Reading | None, batch: Batch) -> NextWords | None:
        if forward is None:
            return None
        row = torch.arange(len(batch), device=forward.states.device)
        last = batch.lengths[WORDS] - 1
        last = last - (batch[WORDS][row, last] == EOS_ID).long()
        scores = self.scorer(forward.states[row, last]).float()
        best = scores.log_softmax(-1).topk(min(NEXT_WORDS, scores.shape[-1]))
        return NextWords(best.indices, best.values.exp())


class WordScorer(nn.Module):
    """A decoder that scores each word of the vocabulary.

    With `tied_weight` `[words, dim]` the decoder leads to `dim`, and a word's score is the product
    with its row: Press and Wolf, "Using the Output Embedding to Improve Language Models", EACL 2017.

    *Shape:* `[..., input_dim]` to `[..., words]`.
    """

    def __init__(self, decoder: nn.Module, tied_weight: nn.Parameter | None = None) -> None:
        super().__init__()
        self.decoder = decoder
        self.tied_weight = tied_weight
        self.tied_bias = None if tied_weight is None else nn.Parameter(torch.zeros(len(tied_weight)))

    def forward(self, states: Tensor) -> Tensor:
        scores: Tensor = self.decoder(states)
        return scores if self.tied_weight is None else F.linear(scores, self.tied_weight, self.tied_bias)

    def loss(self, states: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Cross-entropy of `states` `[n, input_dim]` with `targets` `[n]`: sum, and parts `[n]`."""
        if self.tied_weight is not None:
            return linear_cross_entropy(self.decoder(states), self.tied_weight, self.tied_bias, targets)
        output = getattr(self.decoder, "output", None)
        if hasattr(self.decoder, "hidden") and isinstance(output, nn.Linear):
            hidden = cast(nn.Module, self.decoder.hidden)
            return linear_cross_entropy(hidden(states), output.weight, output.bias, targets)
        losses = F.cross_entropy(self.decoder(states).float(), targets, reduction="none")
        return losses.sum(), losses.detach()
