"""From lines of text to rows of words that a language model predicts."""

from __future__ import annotations

import numpy as np
import polars as pl
from attrs import frozen

from mtl import DataError, Features

MOST_WORDS = 100_000
"""Words of a line that is a row as it stands; a text in one line, as some corpora are, must be cut."""


@frozen(eq=False)
class LMRows:
    """Rows as a frame with `text` (words) and `line` (that of the first word that the row predicts).

    `cut_lines` lines lost `cut_words` words.
    """

    frame: pl.DataFrame
    cut_lines: int = 0
    cut_words: int = 0


@frozen
class RowMaker:
    """Splits lines into rows.

    With `bounds`, the words for the begin and the end of a text, a row's first word is not predicted: it is
    the begin, or the word before the row. Without, the featurizer adds such tokens to each row itself. If
    words may be several tokens (`are_pieces`), every row starts with the begin, so that none is predicted
    twice.
    """

    features: Features
    bounds: tuple[str, str] | None
    are_pieces: bool = False

    @property
    def _context(self) -> int:
        """How many words at the start of a row are not predicted."""
        return 0 if self.bounds is None else 1

    def split(self, table: pl.DataFrame) -> pl.DataFrame:
        """Return each line's `text` as words (`list[str]`) between the bounds, and `line`."""
        text = table["text"]
        if self.bounds is None:
            return table.select(self.features.split(text).alias("text"), "line")
        begin, end = self.bounds
        if self.features.config.tokenizer == "whitespace" and text.dtype == pl.String:
            # Adding them to the text is twice as fast as adding them to lists.
            marked = table.select(pl.concat_str(pl.lit(f"{begin} "), "text", pl.lit(f" {end}")), "line")
            return marked.select(self.features.split(marked["literal"]).alias("text"), "line")
        words = table.select(self.features.split(text).alias("text"), "line")
        return words.select(pl.concat_list(pl.lit([begin]), "text", pl.lit([end])).alias("text"), "line")

    def refuse_endless(self, lines: pl.DataFrame, path: str) -> None:
        """Raise `DataError` for a line from `split` that is too long to be one row."""
        words = lines["text"].list.len().cast(pl.Int64) - 2 * self._context
        endless = lines.select("line", words.alias("words")).filter(words > MOST_WORDS)
        if len(endless):
            line, words = endless.row(0)
            raise DataError(
                f"{path}:{line}: a row must have at most {MOST_WORDS:,} words, but this line has {words:,};"
                ' set `max_tokens`, or `"rows": "stream"`, to cut it into rows'
            )

    def lines(self, lines: pl.DataFrame, *, max_words: int | None = None, truncate: bool = False) -> LMRows:
        """Return each of the lines from `split` as a row.

        A line with more than `max_words` words to predict becomes several rows, each but the first starting
        with the last word of the one before; with `truncate` it loses the others.
        """
        if max_words is None or lines.is_empty():
            return LMRows(lines)
        lines = lines.filter(pl.col("text").list.len() > 0)
        ends = lines["text"].list.len().cast(pl.Int64).cum_sum().to_numpy()
        starts = np.concatenate([[0], ends[:-1]]).astype(np.int64)
        longest = max_words + self._context
        excess = np.maximum(ends - starts - longest, 0) if truncate else np.zeros(1, dtype=np.int64)
        windows = self._windows(starts, np.minimum(ends, starts + longest) if truncate else ends, max_words)
        frame = self._gather(lines.explode("text"), *windows)
        return LMRows(frame, int((excess > 0).sum()), int(excess.sum()))

    def stream(self, lines: pl.DataFrame, *, max_words: int) -> LMRows:
        """Return all lines from `split` as one stream, the end after each, in windows.

        Each window predicts `max_words` words, the last one the rest.
        """
        words = lines.with_columns(pl.col("text").list.slice(self._context))
        flat = words.filter(pl.col("text").list.len() > 0).explode("text")
        if flat.is_empty():
            return LMRows(self._gather(flat, *(np.zeros(0, dtype=np.int64),) * 2))
        if self.bounds is not None:
            begin = pl.DataFrame({"text": [self.bounds[0]], "line": [0]}, schema=flat.schema)
            flat = pl.concat([begin, flat])
        return LMRows(self._gather(flat, *self._windows(np.array([0]), np.array([len(flat)]), max_words)))

    def _windows(self, starts: np.ndarray, ends: np.ndarray, max_words: int) -> tuple[np.ndarray, np.ndarray]:
        """Return spans `[start, end)` as windows that predict at most `max_words` words each."""
        counts = -(-(ends - starts - self._context) // max_words)
        span = np.repeat(np.arange(len(starts)), counts)
        place = np.arange(len(span)) - np.repeat(counts.cumsum() - counts, counts)
        first = starts[span] + place * max_words
        return first, np.minimum(first + max_words + self._context, ends[span])

    def _gather(self, flat: pl.DataFrame, starts: np.ndarray, ends: np.ndarray) -> pl.DataFrame:
        """Return one row per window of the exploded `text`."""
        lengths = ends - starts
        row = np.repeat(np.arange(len(starts)), lengths)
        place = np.arange(len(row)) - np.repeat(lengths.cumsum() - lengths, lengths)
        words = flat["text"].gather(starts[row] + place)
        windows = pl.DataFrame({"row": row, "text": words}).group_by("row", maintain_order=True).agg("text")
        text = pl.col("text")
        if self.are_pieces and self.bounds is not None:
            text = pl.concat_list(pl.lit([self.bounds[0]]), text.list.slice(1)).alias("text")
        return windows.select(text, flat["line"].gather(starts + self._context).alias("line"))
