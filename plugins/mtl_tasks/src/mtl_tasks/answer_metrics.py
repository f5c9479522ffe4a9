"""Exact match and F1 of answers, by the definition of SQuAD 2.0's evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from attrs import define
from torch import Tensor

from mtl import Batch, Metrics, ModelOutput
from mtl_tasks.answer_text import exact_match, f1


@define(eq=False)
class SpanOutput(ModelOutput):
    """`starts` and `ends` are scores of each word of the context as the first and the last of the answer,
    float32 `[batch, words]`, minus infinity in padding; `none_start` and `none_end`, `[batch]`, those of no
    answer. An answer must score more than `threshold` above no answer."""

    starts: Tensor
    ends: Tensor
    none_start: Tensor
    none_end: Tensor
    threshold: Tensor

    def best(self, longest: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return the score, the first and the last word of the best answer of at most `longest` words,
        `[batch]` each."""
        best = self.starts + self.ends
        lengths = torch.zeros_like(best, dtype=torch.int64)
        for more in range(1, min(longest, best.shape[1])):
            scores = self.starts[:, :-more] + self.ends[:, more:]
            better = scores > best[:, :-more]
            best[:, :-more] = torch.where(better, scores, best[:, :-more])
            lengths[:, :-more] = torch.where(better, more, lengths[:, :-more])
        score, first = best.max(dim=1)
        return score, first, first + lengths.gather(1, first[:, None]).squeeze(1)

    def margins(self, score: Tensor) -> Tensor:
        """Return how much the best answers, with these scores, score above no answer."""
        return score - self.none_start - self.none_end


def answer_texts(first: Tensor, last: Tensor, batch: Batch) -> list[tuple[str, int, int]]:
    """Return the text of each answer, its first character in the context and the one after its last."""
    rows = torch.arange(len(first), device=first.device)
    starts = batch["offsets"][rows, first, 0].tolist()
    ends = batch["offsets"][rows, last, 1].tolist()
    contexts = texts_of(batch, "context_text")
    return [(text[start:end], start, end) for text, start, end in zip(contexts, starts, ends, strict=True)]


def texts_of(batch: Batch, column: str) -> list[str]:
    """Return the texts of a column of bytes."""
    lengths = batch.lengths[column].tolist()
    return [
        bytes(row[:length].tolist()).decode()
        for row, length in zip(batch[column].cpu(), lengths, strict=True)
    ]


class SpanMetrics(Metrics[SpanOutput]):
    """Gathers for each row the exact match and the F1 of the best answer and of no answer, and the margin
    between their scores: what is predicted then follows from `threshold`, None until a batch was added."""

    def __init__(self, longest: int) -> None:
        self.longest = longest
        self.threshold: float | None = None
        self.parts: list[Tensor] = []

    def update(self, output: SpanOutput, batch: Batch) -> None:
        self.threshold = float(output.threshold)
        score, first, last = output.best(self.longest)
        margins = output.margins(score).double().tolist()
        found = [text for text, _, _ in answer_texts(first, last, batch)]
        right = [text.split("\0")[:-1] for text in texts_of(batch, "answers")]
        rows = [
            [margin, exact_match(text, answers), f1(text, answers), f1("", answers), bool(answers)]
            for margin, text, answers in zip(margins, found, right, strict=True)
        ]
        self.parts.append(torch.tensor(rows, dtype=torch.float64).reshape(-1, 5))

    def state(self) -> dict[str, Tensor]:
        threshold = torch.tensor([] if self.threshold is None else [self.threshold], dtype=torch.float64)
        empty = torch.zeros(0, 5, dtype=torch.float64)
        return {"rows": torch.cat([empty, *self.parts]), "threshold": threshold}

    def merge(self, state: Mapping[str, Tensor]) -> None:
        self.parts.append(state["rows"])
        if self.threshold is None and len(state["threshold"]):
            self.threshold = float(state["threshold"])

    def fitted_threshold(self) -> float:
        """Return the threshold with the best F1: of equals the one nearest to zero."""
        margins, _, of_answer, of_none, _ = self.state()["rows"].T
        order = margins.argsort(descending=True)
        margins = margins[order]
        gains = (of_answer - of_none)[order].cumsum(0)
        # Between two margins, the rows above the threshold are answered.
        following = torch.cat([margins[1:], margins[-1:] - 2])
        candidates = [(0.0, float(torch.where(margins > 0, of_answer[order] - of_none[order], 0).sum()))]
        candidates += [
            ((high + low) / 2, gain)
            for high, low, gain in zip(margins.tolist(), following.tolist(), gains.tolist(), strict=True)
            if high > low
        ]
        candidates += [(margin + 1, 0.0) for margin in margins[:1].tolist()]
        return max(candidates, key=lambda each: (round(each[1], 9), -abs(each[0])))[0]

    def compute(self) -> dict[str, Any]:
        rows = self.state()["rows"]
        margins, exact, of_answer, of_none, has_answer = rows.T
        is_answered = margins > (self.threshold or 0)
        exact = torch.where(is_answered, exact, of_none)
        scores = torch.where(is_answered, of_answer, of_none)
        found: dict[str, Any] = {"exact_match": _mean(exact), "f1": _mean(scores), "rows": len(rows)}
        answerable = has_answer.bool()
        if not answerable.all():
            found |= {
                "exact_match_answerable": _mean(exact[answerable]),
                "f1_answerable": _mean(scores[answerable]),
                "accuracy_unanswerable": _mean(scores[~answerable]),
                "threshold": self.threshold,
            }
        return found


def _mean(values: Tensor) -> float | None:
    return float(values.mean()) if len(values) else None
