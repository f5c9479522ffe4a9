"""A linear-chain conditional random field, in log space and for whole batches."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class LinearChainCRF(nn.Module):
    """Scores a row's tags together: each tag by its own score and by the tag before it.

    Lafferty, McCallum and Pereira, "Conditional Random Fields: Probabilistic Models for Segmenting
    and Labeling Sequence Data", ICML 2001.

    *Shape:* `scores` are `[batch, time, tags]`, `tags` int64 `[batch, time]` and `lengths` `[batch]`,
    each at least 1. What stands after a row's length changes nothing.
    """

    def __init__(self, tags: int) -> None:
        super().__init__()
        self.start = nn.Parameter(torch.zeros(tags))
        self.end = nn.Parameter(torch.zeros(tags))
        self.transitions = nn.Parameter(torch.zeros(tags, tags))  # from a tag to the next

    def log_likelihood(self, scores: Tensor, tags: Tensor, lengths: Tensor) -> Tensor:
        """Logarithm of the probability of these tags, `[batch]`."""
        return self.score(scores, tags, lengths) - self.log_partition(scores, lengths)

    def score(self, scores: Tensor, tags: Tensor, lengths: Tensor) -> Tensor:
        """Return what these tags score, `[batch]`."""
        inside = torch.arange(scores.shape[1], device=scores.device) < lengths[:, None]
        tags = tags.where(inside, 0)
        last = tags.gather(1, lengths[:, None] - 1).squeeze(1)
        words = scores.gather(2, tags[:, :, None]).squeeze(2).where(inside, 0).sum(dim=1)
        steps = self.transitions[tags[:, :-1], tags[:, 1:]].where(inside[:, 1:], 0).sum(dim=1)
        return self.start[tags[:, 0]] + words + steps + self.end[last]

    def log_partition(self, scores: Tensor, lengths: Tensor) -> Tensor:
        """Logarithm of the sum, over all sequences of tags, of the exponential of what they score,
        `[batch]`: the forward algorithm."""
        total = self.start + scores[:, 0]
        for time in range(1, scores.shape[1]):
            longer = (total[:, :, None] + self.transitions).logsumexp(dim=1) + scores[:, time]
            total = longer.where((time < lengths)[:, None], total)
        return (total + self.end).logsumexp(dim=1)

    def best_tags(self, scores: Tensor, lengths: Tensor) -> Tensor:
        """Return the tags that score highest, `[batch, time]`; after a row's length its last one again.

        Viterbi, "Error Bounds for Convolutional Codes and an Asymptotically Optimum Decoding
        Algorithm", 1967.
        """
        best, came_from = self.start + scores[:, 0], []
        stay = torch.arange(scores.shape[2], device=scores.device)
        for time in range(1, scores.shape[1]):
            inside = (time < lengths)[:, None]
            longer, previous = (best[:, :, None] + self.transitions).max(dim=1)
            best = (longer + scores[:, time]).where(inside, best)
            came_from.append(previous.where(inside, stay))
        path = [(best + self.end).argmax(dim=1, keepdim=True)]
        for previous in reversed(came_from):
            path.append(previous.gather(1, path[-1]))
        return torch.cat(path[::-1], dim=1)
