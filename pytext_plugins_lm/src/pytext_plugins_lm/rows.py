"""From lines of words to rows of tokens."""

from __future__ import annotations

import numpy as np
import polars as pl
from attrs import frozen

from mtl import DataError, Features
from mtl_text.text import BOS, EOS


@frozen(eq=False)
class LMRows:
    """Rows as a frame with `text` and `line` (that of the first token that the row predicts).

    A row's tokens but the first are what it predicts. `cut_lines` lines lost `cut_tokens` tokens.
    """

    frame: pl.DataFrame
    cut_lines: int = 0
    cut_tokens: int = 0


MOST_WORDS = 100_000
"""Words of a line that is a row as it stands; a text in one line, as some corpora are, must be cut."""


def split_lines(table: pl.DataFrame, features: Features) -> pl.DataFrame:
    """Return each line's `text` as words (`list[str]`): `BOS`, its words, `EOS`."""
    if features.config.tokenizer == "whitespace" and table["text"].dtype == pl.String:
        # Adding them to the text takes half the time that it takes to add them to lists.
        marked = table.select(pl.concat_str(pl.lit(f"{BOS} "), "text", pl.lit(f" {EOS}")), "line")
        return marked.select(features.split(marked["literal"]).alias("text"), "line")
    words = table.select(features.split(table["text"]).alias("text"), "line")
    return words.select(pl.concat_list(pl.lit([BOS]), "text", pl.lit([EOS])).alias("text"), "line")


def refuse_endless_lines(lines: pl.DataFrame, path: str) -> None:
    """Raise `DataError` for a line of `text` that no computer could read as one row."""
    words = lines["text"].list.len().cast(pl.Int64) - 2
    endless = lines.select("line", words.alias("words")).filter(words > MOST_WORDS)
    if len(endless):
        line, words = endless.row(0)
        raise DataError(
            f"{path}:{line}: a row must have at most {MOST_WORDS:,} words, but this line has {words:,};"
            ' `max_tokens` cuts it into rows, and so does `"rows": "stream"`'
        )


def line_rows(lines: pl.DataFrame, *, max_tokens: int | None = None, truncate: bool = False) -> LMRows:
    """Each line of `text`, as from `split_lines`, as a row.

    A line with more than `max_tokens` tokens to predict is cut into several rows, each but the
    first starting with the last token of the one before; with `truncate` it loses the others.
    """
    if max_tokens is None or lines.is_empty():
        return LMRows(lines)
    ends = lines["text"].list.len().cast(pl.Int64).cum_sum().to_numpy()
    starts = np.concatenate([[0], ends[:-1]])
    excess = np.maximum(ends - starts - 1 - max_tokens, 0) if truncate else np.zeros(1, dtype=np.int64)
    windows = _windows(starts, np.minimum(ends, starts + max_tokens + 1) if truncate else ends, max_tokens)
    return LMRows(_gather(lines.explode("text"), *windows), int((excess > 0).sum()), int(excess.sum()))


def stream_rows(lines: pl.DataFrame, *, max_tokens: int) -> LMRows:
    """All lines of `text`, as from `split_lines`, as one stream, `EOS` after each, in windows.

    Each window predicts `max_tokens` tokens, the last the rest, and starts with the token before.
    """
    tokens = lines.with_columns(pl.col("text").list.slice(1)).explode("text")
    stream = pl.concat([pl.DataFrame({"text": [BOS], "line": [0]}, schema=tokens.schema), tokens])
    if tokens.is_empty():
        return LMRows(_gather(stream, *(np.zeros(0, dtype=np.int64),) * 2))
    return LMRows(_gather(stream, *_windows(np.array([0]), np.array([len(stream)]), max_tokens)))


def _windows(starts: np.ndarray, ends: np.ndarray, max_tokens: int) -> tuple[np.ndarray, np.ndarray]:
    """Spans `[start, end)` as windows of at most `max_tokens + 1`, overlapping by one."""
    counts = -(-(ends - starts - 1) // max_tokens)
    span = np.repeat(np.arange(len(starts)), counts)
    place = np.arange(len(span)) - np.repeat(counts.cumsum() - counts, counts)
    first = starts[span] + place * max_tokens
    return first, np.minimum(first + max_tokens + 1, ends[span])


def _gather(flat: pl.DataFrame, starts: np.ndarray, ends: np.ndarray) -> pl.DataFrame:
    """A row a window of the exploded `text`."""
    lengths = ends - starts
    row = np.repeat(np.arange(len(starts)), lengths)
    place = np.arange(len(row)) - np.repeat(lengths.cumsum() - lengths, lengths)
    tokens = flat["text"].gather(starts[row] + place)
    windows = pl.DataFrame({"row": row, "text": tokens}).group_by("row", maintain_order=True).agg("text")
    return windows.select("text", flat["line"].gather(starts + 1).alias("line"))
