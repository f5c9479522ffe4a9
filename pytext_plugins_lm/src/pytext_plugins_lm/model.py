"""The language model: embedding, representation, and a score per token."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from attrs import define
from torch import Tensor, nn

from mtl import Batch, Loss, ModelOutput
from pytext_plugins_lm.objectives import Objective, Reading
from pytext_plugins_lm.scorers import AdaptiveWordScorer, WordScorer

NEXT_WORDS = 5


@define(eq=False)
class ScoredReading:
    """The negative log-probability of each prediction, and its row in the batch, both `[n]`."""

    losses: Tensor
    rows: Tensor


@define(eq=False)
class NextWords:
    """The likeliest tokens after each row: ids and probabilities, `[batch, 5]`."""

    words: Tensor
    probabilities: Tensor


@define(eq=False)
class LMOutput(ModelOutput):
    """`readings` by direction; `next_words` in evaluation, if the objective predicts them."""

    readings: Mapping[str, ScoredReading]
    next_words: NextWords | None


class LanguageModel(nn.Module):
    """Predicts tokens as its objective says; the loss is the sum over all predictions."""

    def __init__(
        self,
        *,
        embedding: nn.Module,
        representation: nn.Module,
        scorer: WordScorer | AdaptiveWordScorer,
        objective: Objective,
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
        tokens = self.objective.tokens
        last = batch.lengths[tokens.column] - 1
        if tokens.special.end is not None:
            last = last - (batch[tokens.column][row, last] == tokens.special.end).long()
        scores = self.scorer(forward.states[row, last]).float()
        best = scores.log_softmax(-1).topk(min(NEXT_WORDS, scores.shape[-1]))
        return NextWords(best.indices, best.values.exp())
