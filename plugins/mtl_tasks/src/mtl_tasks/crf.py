"""A linear-chain conditional random field over tags.

Lafferty, McCallum and Pereira, "Conditional Random Fields: Probabilistic Models for Segmenting and Labeling
Sequence Data", ICML 2001.

Shapes: B rows, T words, K tags; `scores` of each word for each tag are `[B, T, K]`, `lengths` `[B]`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class LinearChainCRF(nn.Module):
    """Scores a sequence of tags by the words' scores and those of each tag after the one before it.

    `transitions[i, j]` is the score of tag j after tag i, `start[j]` and `end[i]` those of the first and
    last tag of a row.
    """

    def __init__(self, tags: int) -> None:
        super().__init__()
        self.transitions = nn.Parameter(torch.zeros(tags, tags))
        self.start = nn.Parameter(torch.zeros(tags))
        self.end = nn.Parameter(torch.zeros(tags))

    def negative_log_likelihood(self, scores: Tensor, tags: Tensor, lengths: Tensor) -> Tensor:
        """Return `log Z - score(tags)` of each row, `[B]`; `tags` is `[B, T]`, padding ignored.

        A row without words has one sequence of tags, the empty one, and a loss of 0.
        """
        return self._log_partition(scores, lengths) - self._score(scores, tags, lengths)

    def _score(self, scores: Tensor, tags: Tensor, lengths: Tensor) -> Tensor:
        inside = torch.arange(scores.shape[1], device=scores.device) < lengths[:, None]
        tags = tags.masked_fill(~inside, 0)
        of_words = scores.gather(2, tags[..., None]).squeeze(2)
        of_steps = self.transitions[tags[:, :-1], tags[:, 1:]]
        last = tags.gather(1, (lengths - 1).clamp(min=0)[:, None]).squeeze(1)
        total = (of_words * inside).sum(1) + (of_steps * inside[:, 1:]).sum(1)
        return total + torch.where(lengths > 0, self.start[tags[:, 0]] + self.end[last], 0.0)

    def _log_partition(self, scores: Tensor, lengths: Tensor) -> Tensor:
        alpha = self.start + scores[:, 0]
        for step in range(1, scores.shape[1]):
            following = (alpha[:, :, None] + self.transitions).logsumexp(dim=1) + scores[:, step]
            alpha = torch.where((step < lengths)[:, None], following, alpha)
        return torch.where(lengths > 0, (alpha + self.end).logsumexp(dim=1), 0.0)

    @torch.no_grad()
    def decode(self, scores: Tensor, lengths: Tensor) -> Tensor:
        """Return the most likely tags, int64 `[B, T]`, 0 in padding (Viterbi 1967)."""
        if torch.compiler.is_exporting():
            return self._decode_by_scan(scores, lengths)
        time = scores.shape[1]
        best = self.start + scores[:, 0]
        pointers: list[Tensor] = []
        for step in range(1, time):
            values, before = (best[:, :, None] + self.transitions).max(dim=1)
            inside = (step < lengths)[:, None]
            stay = torch.arange(before.shape[1], device=scores.device).expand_as(before)
            pointers.append(torch.where(inside, before, stay))
            best = torch.where(inside, values + scores[:, step], best)
        tag = (best + self.end).argmax(dim=1)
        path = [tag]
        for before in reversed(pointers):
            tag = before.gather(1, tag[:, None]).squeeze(1)
            path.append(tag)
        tags = torch.stack(path[::-1], dim=1)
        inside = torch.arange(time, device=scores.device) < lengths[:, None]
        return tags.masked_fill(~inside, 0)

    def _decode_by_scan(self, scores: Tensor, lengths: Tensor) -> Tensor:
        """Do what `decode` does, as an exported model must: a loop would have the time of the example."""
        from torch._higher_order_ops.scan import scan

        states = torch.arange(scores.shape[2], device=scores.device)
        transitions, start = self.transitions, self.start

        def forward(best: Tensor, step: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
            of_word, number = step
            values, before = (best[:, :, None] + transitions).max(dim=1)
            inside = (number < lengths)[:, None]
            values = torch.where(number == 0, (start + of_word).expand_as(values), values + of_word)
            return torch.where(inside, values, best), torch.where(inside, before, states.expand_as(before))

        def backward(tag: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
            return before.gather(1, tag[:, None]).squeeze(1), tag.clone()

        steps = torch.arange(scores.shape[1], device=scores.device)
        best, pointers = scan(forward, torch.zeros_like(scores[:, 0]), (scores.transpose(0, 1), steps))
        _, path = scan(backward, (best + self.end).argmax(dim=1), pointers, reverse=True)
        tags: Tensor = path.transpose(0, 1)
        return tags.masked_fill(steps >= lengths[:, None], 0)
