"""Pieces of words to rows that a model reads: marks around texts, cut to a length or in windows.

Everything is done to all rows at once: a corpus has millions of pieces.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from attrs import evolve, frozen

Array = np.ndarray


@frozen(eq=False)
class Layout:
    """What a model puts around texts: `marks` before the first text, after it, and after the second one, with
    their `mark_segments`; `segments` are those of the texts."""

    marks: Sequence[Array]
    mark_segments: Sequence[Array]
    segments: Sequence[int]

    @property
    def size(self) -> int:
        """How many marks a row has."""
        return sum(map(len, self.marks))

    def begun_by(self, mark: int) -> Layout:
        """Return the layout with this mark before the first text."""
        return evolve(
            self,
            marks=[np.array([mark], dtype=np.int32), *self.marks[1:]],
            mark_segments=[np.zeros(1, dtype=np.int32), *self.mark_segments[1:]],
        )


@frozen(eq=False)
class TextPieces:
    """The pieces of one text of every row, end to end: `ids` `[pieces]`, the number of pieces of each word,
    `counts` `[words]`, and the number of words of each row, `words` `[rows]`."""

    ids: Array
    counts: Array
    words: Array

    @classmethod
    def spread(cls, ids: Array, counts: Array, places: Array, words: Array) -> TextPieces:
        """Return the pieces of a text of which word i is distinct word `places[i]`; `ids` and `counts` are
        those of the distinct words."""
        starts = counts.cumsum() - counts
        own = counts[places]
        return cls(ids[_ranges(starts[places], own)], own, words)

    @property
    def row_of_word(self) -> Array:
        """The row of each word."""
        return np.repeat(np.arange(len(self.words)), self.words)

    @property
    def lengths(self) -> Array:
        """Pieces per row, `[rows]`."""
        return np.bincount(self.row_of_word, weights=self.counts, minlength=len(self.words)).astype(np.int64)

    @property
    def begins(self) -> Array:
        """Whether each piece is the first of its word, `[pieces]`."""
        first = (self.counts.cumsum() - self.counts)[self.counts > 0]
        result = np.zeros(len(self.ids), dtype=np.uint8)
        result[first] = 1
        return result

    @property
    def starts(self) -> Array:
        """The first piece of each word, counted from the start of its row's text."""
        first = self.counts.cumsum() - self.counts
        of_row = self.lengths.cumsum() - self.lengths
        result: Array = first - of_row[self.row_of_word]
        return result


@frozen(eq=False)
class PieceRows:
    """The pieces of rows, end to end.

    `ids`, `segments` (the text that a piece belongs to) and `windows` are `[pieces]`, `lengths` `[rows]`
    pieces per row, the marks of the model included. `spans` `[words, 2]` are the first piece of each word and
    the one after its last, counted from the start of the row; they are equal for a word without a piece.
    `starts` `[pieces]` is 1 for the first piece of a word and for marks, else 0.
    `cut_rows` rows were too long, and `cut_words` words of theirs lost pieces.
    """

    ids: Array
    segments: Array
    windows: Array
    lengths: Array
    spans: Array
    starts: Array
    cut_rows: int
    cut_words: int


def lay_out(texts: Sequence[TextPieces], layout: Layout, longest: int, stride: int | None) -> PieceRows:
    """Return the rows of one or two texts, at most `longest` pieces each.

    Without `stride` a longer row is cut at the end: of two texts the longer one first, until both have the
    same length. With it the row becomes windows that share so many pieces, at most half of one: of two texts
    the shorter one, cut to half a window, stands in each, and the windows lead over the other. A word has its
    pieces in the window that holds most of them, with most context around them.

    Raises `ValueError` if the marks leave no room for the texts.
    """
    room = longest - layout.size
    if room < 2 * len(texts):
        raise ValueError(
            f"`max_length` must be at least {layout.size + 2 * len(texts)}, for {layout.size} marks and"
            f" pieces of {'a text' if len(texts) == 1 else 'two texts'}, but is {longest}"
        )
    lengths = [text.lengths for text in texts]
    if len(texts) == 1:
        sizes = [np.minimum(lengths[0], room)]
    else:
        shorter = np.minimum(np.minimum(*lengths), room // 2)
        is_first = lengths[0] <= lengths[1]
        sizes = [
            np.minimum(own, np.where(short, shorter, room - shorter))
            for own, short in zip(lengths, (is_first, ~is_first), strict=True)
        ]
    windows = _Windows.of(lengths, sizes, stride)
    return windows.rows(texts, layout)


@frozen(eq=False)
class _Windows:
    """Windows, row by row: `row` `[windows]`, and for each text the first piece and the number of pieces."""

    row: Array
    number: Array
    first: Sequence[Array]
    size: Sequence[Array]

    @classmethod
    def of(cls, lengths: Sequence[Array], sizes: Sequence[Array], stride: int | None) -> _Windows:
        """Return the windows of rows; `sizes` are the pieces of each text in a window."""
        rows = len(lengths[0])
        counts = np.ones(rows, dtype=np.int64)
        steps = []
        # Windows lead over the longer text; the other one may only be cut.
        longer = [np.ones(rows, dtype=bool)]
        if len(lengths) == 2:
            longer = [lengths[0] > lengths[1], lengths[0] <= lengths[1]]
        for own, size, leads in zip(lengths, sizes, longer, strict=True):
            step = np.where(leads, np.maximum(size - np.minimum(stride or 0, size // 2), 1), 0)
            steps.append(step)
            if stride is not None:
                more = -(-np.maximum(own - size, 0) // np.maximum(step, 1))
                counts += np.where(leads, more, 0)
        row = np.repeat(np.arange(rows), counts)
        number = np.arange(len(row)) - np.repeat(counts.cumsum() - counts, counts)
        first = [number * step[row] for step in steps]
        inside = [
            np.minimum(size[row], own[row] - start)
            for size, own, start in zip(sizes, lengths, first, strict=True)
        ]
        return cls(row, number, first, inside)

    def rows(self, texts: Sequence[TextPieces], layout: Layout) -> PieceRows:
        """Return the pieces of the windows, and the spans of the words in them."""
        total = sum(self.size, start=np.full(len(self.row), layout.size))
        start = total.cumsum() - total
        ids, segments = (np.zeros(int(total.sum()), dtype=np.int32) for _ in range(2))
        starts = np.ones(len(ids), dtype=np.uint8)
        place = start.copy()  # where the next part of each window begins
        text_places = []
        for number, (marks, kinds) in enumerate(zip(layout.marks, layout.mark_segments, strict=True)):
            for mark, kind in zip(marks, kinds, strict=True):
                ids[place], segments[place] = mark, kind
                place += 1
            if number < len(texts):
                text = texts[number]
                begin = (text.lengths.cumsum() - text.lengths)[self.row] + self.first[number]
                target = _ranges(place, self.size[number])
                source = _ranges(begin, self.size[number])
                ids[target], starts[target] = text.ids[source], text.begins[source]
                segments[target] = layout.segments[number]
                text_places.append(place.copy())
                place += self.size[number]
        rows = len(texts[0].words)
        lengths = np.bincount(self.row, weights=total, minlength=rows).astype(np.int64)
        offset = start - (lengths.cumsum() - lengths)[self.row]
        found = [
            self._spans(text, number, offset + places - start)
            for number, (text, places) in enumerate(zip(texts, text_places, strict=True))
        ]
        cut = [self._cut(text, number) for number, text in enumerate(texts)]
        cut_rows = {int(row) for text, lost in zip(texts, cut, strict=True) for row in text.row_of_word[lost]}
        return PieceRows(
            ids=ids,
            segments=segments,
            windows=np.repeat(self.number, total).astype(np.int32),
            lengths=lengths,
            starts=starts,
            spans=_interleave(found, [text.words for text in texts]),
            cut_rows=len(cut_rows),
            cut_words=sum(int(lost.sum()) for lost in cut),
        )

    def _cut(self, text: TextPieces, number: int) -> Array:
        """Return which words of a text have pieces that are in no window, `[words]`."""
        read = np.zeros(len(text.words), dtype=np.int64)
        np.maximum.at(read, self.row, self.first[number] + self.size[number])
        result: Array = text.starts + text.counts > read[text.row_of_word]
        return result

    def _spans(self, text: TextPieces, number: int, place: Array) -> Array:
        """Return the span of each word of a text, `[words, 2]`; `place` is where the text begins in each
        window, counted from the start of the row."""
        per_row = np.bincount(self.row, minlength=len(text.words))
        windows = per_row[text.row_of_word]
        word = np.repeat(np.arange(len(windows)), windows)
        window = _ranges((per_row.cumsum() - per_row)[text.row_of_word], windows)
        first = text.starts[word] - self.first[number][window]
        size = self.size[number][window]
        start = np.clip(first, 0, size)
        stop = np.clip(first + text.counts[word], 0, size)
        context = np.minimum(start, size - stop)
        best = np.lexsort((-window, context, stop - start, word))
        last = np.flatnonzero(np.diff(word[best], append=-1))
        chosen = best[last]
        held = stop[chosen] - start[chosen]
        at = np.where(held > 0, place[window[chosen]] + start[chosen], 0)
        return np.stack([at, at + held], axis=1).astype(np.int32)


def offsets_of(lengths: Array) -> torch.Tensor:
    """Return where each row begins and the last one ends, `[rows + 1]`."""
    offsets = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return torch.from_numpy(offsets)


def _ranges(starts: Array, counts: Array) -> Array:
    """Return the numbers from each start on, as many as its count, one range after another."""
    ends = counts.cumsum()
    total = int(ends[-1]) if len(ends) else 0
    result: Array = np.repeat(starts - (ends - counts), counts) + np.arange(total)
    return result


def _interleave(parts: Sequence[Array], words: Sequence[Array]) -> Array:
    """Return the words of all texts, row by row: in a row those of the first text, then of the second."""
    if len(parts) == 1:
        return parts[0]
    order = np.argsort(np.concatenate([np.repeat(np.arange(len(own)), own) for own in words]), kind="stable")
    return np.concatenate(parts)[order]
