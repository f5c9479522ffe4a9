"""Metrics of similarity: how near a text's partner is among all texts, and rank correlation."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import torch
from attrs import define
from torch import Tensor
from torchmetrics.functional import spearman_corrcoef

from mtl import Batch, Metrics, ModelOutput

NEAREST = (1, 5, 10)
CHUNK_ROWS = 512
"""Texts that are compared with all others at once."""


@define(eq=False)
class SimilarityOutput(ModelOutput):
    """`first` and `second` are vectors of length 1, float32 `[batch, dim]`; `is_pair` `[batch]` says which
    rows are to be near each other."""

    first: Tensor
    second: Tensor
    is_pair: Tensor

    @property
    def cosines(self) -> Tensor:
        """The cosine of each row's texts, `[batch]`."""
        return (self.first * self.second).sum(-1)


class SimilarityMetrics(Metrics[SimilarityOutput]):
    """Gathers the vectors of all rows.

    The first text of a pair is looked for among the second texts of all rows; another text that is as near
    as the partner counts as nearer, unless it is the same text.
    """

    def __init__(self) -> None:
        self.parts: dict[str, list[Tensor]] = {
            name: [] for name in ("first", "second", "is_pair", "texts", "cosines", "scores")
        }

    def update(self, output: SimilarityOutput, batch: Batch) -> None:
        self.parts["first"].append(output.first)
        self.parts["second"].append(output.second)
        self.parts["is_pair"].append(output.is_pair)
        self.parts["texts"].append(batch["texts"][:, 1])
        if "score" in batch:
            self.parts["cosines"].append(output.cosines.double())
            self.parts["scores"].append(batch["score"].double())

    def compute(self) -> dict[str, Any]:
        state = self.state()
        ranks = _ranks(state) if len(state["first"]) else torch.zeros(0)
        recalls = {f"recall_at_{nearest}": _mean(ranks < nearest) for nearest in NEAREST}
        return {**recalls, "mean_reciprocal_rank": _mean(1 / (ranks + 1)), "spearman": _spearman(state)}

    def state(self) -> dict[str, Tensor]:
        return {
            name: torch.cat([part.cpu() for part in parts]) if parts else torch.zeros(0)
            for name, parts in self.parts.items()
        }

    def merge(self, state: Mapping[str, Tensor]) -> None:
        for name, parts in self.parts.items():
            if len(state[name]):
                parts.append(state[name])


def _ranks(state: Mapping[str, Tensor]) -> Tensor:
    """Return how many texts are nearer to the first text of each pair than its partner, `[pairs]`."""
    second, texts = state["second"].double(), state["texts"]
    ranks = []
    for places in torch.split(state["is_pair"].nonzero().squeeze(1), CHUNK_ROWS):
        cosines = state["first"][places].double() @ second.T
        own = cosines.gather(1, places[:, None])
        is_other = texts[places][:, None] != texts
        ranks.append(((cosines >= own) & is_other).sum(1))
    return torch.cat(ranks) if ranks else torch.zeros(0)


def _mean(values: Tensor) -> float | None:
    return float(values.double().mean()) if len(values) else None


def _spearman(state: Mapping[str, Tensor]) -> float | None:
    """Return the rank correlation of cosines and scores, None if there are none or all are equal."""
    cosines, scores = state["cosines"], state["scores"]
    if not len(scores) or any(bool((values == values[0]).all()) for values in (cosines, scores)):
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of nearly constant values
        return float(spearman_corrcoef(cosines, scores))
