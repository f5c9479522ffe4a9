"""Output layers: full, sampled and adaptive softmax."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pytext_plugins_lm.loss import linear_cross_entropy


class WordScorer(nn.Module):
    """A decoder that scores each word of the vocabulary.

    With `tied_weight` `[words, dim]`, the decoder's output has width `dim`, and a word's score is the
    product with its row: Press and Wolf, "Using the Output Embedding to Improve Language Models", EACL 2017.
    `words` are the names of the rows.

    *Shape:* `[..., input_dim]` to `[..., words]`.
    """

    def __init__(
        self, decoder: nn.Module, tied_weight: nn.Parameter | None = None, *, words: Sequence[str]
    ) -> None:
        super().__init__()
        self.words = words
        self.decoder = decoder
        self.tied_weight = tied_weight
        self.tied_bias = None if tied_weight is None else nn.Parameter(torch.zeros(len(tied_weight)))

    def row_names(self) -> dict[str, Sequence[str]]:
        """Return the words of the tied rows; those of a decoder's own are given by itself."""
        return {} if self.tied_weight is None else dict.fromkeys(("tied_weight", "tied_bias"), self.words)

    def forward(self, states: Tensor) -> Tensor:
        scores: Tensor = self.decoder(states)
        return scores if self.tied_weight is None else F.linear(scores, self.tied_weight, self.tied_bias)

    def loss(self, states: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return the cross-entropy of `states` `[n, input_dim]` with `targets` `[n]`: sum and parts."""
        layer = self.last_layer(states)
        if layer is not None:
            return linear_cross_entropy(*layer, targets)
        losses = F.cross_entropy(self(states).float(), targets, reduction="none")
        return losses.sum(), losses.detach()

    def last_layer(self, states: Tensor) -> tuple[Tensor, Tensor, Tensor | None] | None:
        """Return the input of the last linear layer, `[n, dim]`, its weight `[words, dim]` and its bias
        `[words]`; None if the decoder does not expose them."""
        if self.tied_weight is not None:
            return self.decoder(states), self.tied_weight, self.tied_bias
        output = getattr(self.decoder, "output", None)
        if not hasattr(self.decoder, "hidden") or not isinstance(output, nn.Linear):
            return None
        return cast(nn.Module, self.decoder.hidden)(states), output.weight, output.bias


class SampledWordScorer(WordScorer):
    """Trains on the target and `samples` random words per step; evaluates on all words.

    The softmax's denominator is estimated from the samples by importance weights, without bias: Bengio
    and Senecal, "Quick Training of Probabilistic Neural Nets by Importance Sampling", AISTATS 2003; Jean
    et al., "On Using Very Large Target Vocabulary for Neural Machine Translation", ACL 2015.

    Words are sampled in proportion to `frequencies` `[words]`, each at least one. A word's bias starts at
    the logarithm of its share; otherwise training would first have to learn it, slowly for rare words.
    """

    frequencies: Tensor

    def __init__(
        self,
        decoder: nn.Module,
        tied_weight: nn.Parameter | None = None,
        *,
        words: Sequence[str],
        frequencies: Tensor,
        samples: int,
    ) -> None:
        super().__init__(decoder, tied_weight, words=words)
        self.samples = samples
        self.register_buffer("frequencies", frequencies.clamp(min=1).float(), persistent=False)
        bias = self.tied_bias
        if bias is None:
            bias = getattr(getattr(decoder, "output", None), "bias", None)
        if bias is not None:
            with torch.no_grad():
                bias.copy_(self._share.log())

    @property
    def _share(self) -> Tensor:
        """Sampling probabilities, `[words]`."""
        return self.frequencies / self.frequencies.sum()

    def loss(self, states: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        if not self.training:
            return super().loss(states, targets)
        layer = self.last_layer(states)
        if layer is None:
            raise ValueError("sampled words need a decoder with a linear last layer, `output`")
        share = self._share
        drawn = torch.multinomial(share, self.samples, replacement=True)
        losses = sampled_losses(*layer, targets, drawn, share)
        return losses.sum(), losses.detach()


def sampled_losses(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, drawn: Tensor, share: Tensor
) -> Tensor:
    """Return the estimated cross-entropy of each row, `[n]`.

    Shapes: `hidden` `[n, dim]`, `weight` `[words, dim]`, `bias` `[words]`, `targets` `[n]`, `drawn`
    `[samples]` with replacement in proportion to `share` `[words]`.
    """
    bias = weight.new_zeros(len(weight)) if bias is None else bias
    correction = (len(drawn) * share[drawn]).log()
    others = F.linear(hidden, weight[drawn], bias[drawn]).float() - correction
    others = others.masked_fill(drawn == targets[:, None], float("-inf"))
    wanted = ((hidden * weight[targets]).sum(-1) + bias[targets]).float()
    return torch.cat([wanted[:, None], others], dim=-1).logsumexp(-1) - wanted


class AdaptiveWordScorer(nn.Module):
    """Words in groups by frequency; rarer groups have narrower vectors.

    Grave et al., "Efficient softmax approximation for GPUs", ICML 2017, as
    `torch.nn.AdaptiveLogSoftmaxWithLoss`. Scores are log-probabilities.

    *Shape:* `[..., input_dim]` to `[..., words]`.
    """

    order: Tensor
    rank: Tensor

    def __init__(
        self,
        decoder: nn.Module,
        *,
        words: Sequence[str],
        dim: int,
        frequencies: Tensor,
        cutoffs: list[int],
    ) -> None:
        super().__init__()
        self.words = words
        self.decoder = decoder
        self.softmax = nn.AdaptiveLogSoftmaxWithLoss(dim, len(frequencies), cutoffs)
        self.register_buffer("order", frequencies.argsort(descending=True, stable=True), persistent=False)
        self.register_buffer("rank", self.order.argsort(), persistent=False)

    def row_names(self) -> dict[str, Sequence[str]]:
        """Return the words of each group; the rows of the first one end with those of the other groups."""
        cutoffs = self.softmax.cutoffs
        words = [self.words[word] for word in self.order.tolist()]
        groups = [words[begin:end] for begin, end in zip([0, *cutoffs], cutoffs, strict=False)]
        head = ["softmax.head.weight", *(["softmax.head.bias"] if self.softmax.head_bias else [])]
        first = [*groups[0], *(f"words from {begin} by frequency" for begin in cutoffs[:-1])]
        tails = {f"softmax.tail.{number}.1.weight": group for number, group in enumerate(groups[1:])}
        return {**dict.fromkeys(head, first), **tails}

    def forward(self, states: Tensor) -> Tensor:
        hidden = self.decoder(states)
        by_rank = self.softmax.log_prob(hidden.flatten(0, -2))
        return by_rank[:, self.rank].reshape(*hidden.shape[:-1], -1)

    def loss(self, states: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return the cross-entropy of `states` `[n, input_dim]` with `targets` `[n]`: sum and parts."""
        if not len(targets):
            return states.sum() * 0.0, states.new_zeros(0)
        losses = -self.softmax(self.decoder(states), self.rank[targets]).output.float()
        return losses.sum(), losses.detach()
