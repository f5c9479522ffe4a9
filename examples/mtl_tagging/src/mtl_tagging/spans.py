"""Spans of words from tags, as conlleval and seqeval read them unless they are told to be strict.

A tag is `O`, or a prefix, a hyphen and a type, as in `B-PER`. A word goes on with the span before it
where that is open (its tag there is B or I), its own tag is I or E, and both have one type; any other
tag but O begins a span. So IOB2, IOB1 and IOBES need not be told apart, and every sequence of tags has
spans: an I that nothing precedes begins one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import torch
from attrs import frozen
from torch import Tensor

OUTSIDE = "O"
PREFIXES = "BIES"
TAG = re.compile(rf"{OUTSIDE}|[{PREFIXES}]-\S+")
"""How a tag is written."""


@frozen(eq=False)
class Spans:
    """Where spans begin and end, both words within, as bool `[batch, time]`, and the number of the
    type of each word, int64 `[batch, time]`."""

    begins: Tensor
    ends: Tensor
    types: Tensor

    def common(self, other: Spans) -> Tensor:
        """Return where spans begin that both have, whole and of one type, as bool `[batch, time]`."""
        return (
            self.begins
            & other.begins
            & (self.types == other.types)
            & (_next_end(self.ends) == _next_end(other.ends))
        )


def _next_end(ends: Tensor) -> Tensor:
    """Return the first place from each word on where a span ends, int64 `[batch, time]`."""
    time = ends.shape[1]
    places = torch.arange(time, device=ends.device).where(ends, time)
    return places.flip(1).cummin(dim=1).values.flip(1)


class SpanReader:
    """Reads tags, given as their places in `tags`, into spans."""

    def __init__(self, tags: Sequence[str]) -> None:
        prefixes, types = zip(*(split_tag(tag) for tag in tags), strict=True)
        self.types = sorted({each for each in types if each})
        self._opens = torch.tensor([prefix in ("B", "I") for prefix in prefixes])
        self._goes_on = torch.tensor([prefix in ("I", "E") for prefix in prefixes])
        self._inside = torch.tensor([prefix != OUTSIDE for prefix in prefixes])
        self._type = torch.tensor([self.types.index(each) if each else 0 for each in types])

    def read(self, tags: Tensor, lengths: Tensor) -> Spans:
        """Return the spans of `tags` int64 `[batch, time]`; `lengths` are `[batch]`."""
        words = torch.arange(tags.shape[1], device=tags.device) < lengths[:, None]
        tags = tags.where(words, 0)
        opens, goes_on, inside, types = (
            table.to(tags.device)[tags] for table in (self._opens, self._goes_on, self._inside, self._type)
        )
        inside = inside & words
        follows = torch.zeros_like(inside)
        follows[:, 1:] = (
            opens[:, :-1] & (inside & goes_on)[:, 1:] & inside[:, :-1] & (types[:, :-1] == types[:, 1:])
        )
        is_followed = torch.zeros_like(inside)
        is_followed[:, :-1] = follows[:, 1:]
        return Spans(inside & ~follows, inside & ~is_followed, types)


def split_tag(tag: str) -> tuple[str, str]:
    """Prefix and type of a tag; the type of O is empty."""
    prefix, _, type_ = tag.partition("-")
    return prefix, type_


def complete_tags(tags: Sequence[str]) -> list[str]:
    """Return all tags that go with those seen: O first, then each type with each prefix that any type has."""
    seen = [split_tag(tag) for tag in tags if tag != OUTSIDE]
    prefixes = sorted({prefix for prefix, _ in seen}, key=PREFIXES.index)
    types = sorted({type_ for _, type_ in seen})
    return [OUTSIDE, *(f"{prefix}-{type_}" for type_ in types for prefix in prefixes)]
