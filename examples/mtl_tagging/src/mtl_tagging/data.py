"""Rows: from CoNLL files to sentences, and from their strings to words and tags."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import polars as pl
from attrs import frozen
from mtl import ColumnSpec, DataError, Dataset, DataSource, Download, Features, Table, split_words

from mtl_tagging import sample
from mtl_tagging.config import CoNLLConfig
from mtl_tagging.spans import TAG

DOCUMENT = "-DOCSTART-"
POSITIONS = {"text": 0, "tags": -1}
"""Where the columns are that a config does not mention."""
SHOWN = 5


@frozen(kw_only=True)
class Sentences(Table):
    """A table with a sentence a row; so many lines of its file begin a document."""

    documents: int = 0


class CoNLL(DataSource[CoNLLConfig]):
    """A word a line, a blank line after each sentence. A row has its words with a space between them,
    and so each other column; `line` is the sentence's first."""

    def read(self, path: Path, columns: Sequence[ColumnSpec]) -> Sentences:
        positions = self._positions(path, [column.name for column in columns])
        lines = _read_lines(path)
        sentences = list(_sentences(lines))
        width = _usual_width(sentences)
        rows: dict[str, list[int | str]] = {"line": [], **{name: [] for name in positions}}
        bad: dict[int, str] = {}
        for first, words in sentences:
            wrong = next(_mistakes(first, words, positions, width), None)
            if wrong is not None:
                bad.update([wrong])
                continue
            rows["line"].append(first)
            for name, position in positions.items():
                rows[name].append(" ".join(cells[position] for cells in words))
        if bad and self.config.on_bad_row == "error":
            raise _refusal(path, bad, len(sentences))
        frame = pl.DataFrame(rows, schema={"line": pl.Int64, **dict.fromkeys(positions, pl.String)})
        return Sentences(
            frame,
            str(path),
            skipped=len(bad),
            skipped_first=[f"line {line}: {wrong}" for line, wrong in bad.items()][:SHOWN],
            documents=sum(map(_begins_document, lines)),
        )

    def _positions(self, path: Path, columns: Sequence[str]) -> dict[str, int]:
        stated = self.config.columns
        for name in stated:
            if name not in columns and name not in POSITIONS:
                asked = ", ".join(f"`{each}`" for each in columns)
                raise DataError(
                    f"{path}: `columns` must name what the task reads, {asked}, but names `{name}`"
                )
        known = {**POSITIONS, **stated}
        for name in columns:
            if name not in known:
                raise DataError(f"{path}: `{name}` must have a place in `columns`, but has none")
        return {name: known[name] for name in columns}


def _read_lines(path: Path) -> list[str]:
    """Return the lines of a file; bytes that are no UTF-8 are surrogates in them."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: must be a file that can be read, but: {error.strerror or error}") from error
    return data.decode("utf-8-sig", errors="surrogateescape").split("\n")


def _begins_document(line: str) -> bool:
    return line.startswith(DOCUMENT) and line.split()[0] == DOCUMENT


def _sentences(lines: Sequence[str]) -> Iterator[tuple[int, list[list[str]]]]:
    """Yield each sentence: the number of its first line, and the cells of each of its lines."""
    first, words = 0, list[list[str]]()
    for number, line in enumerate([*lines, ""], start=1):
        if line.strip() and not _begins_document(line):
            first = first if words else number
            words.append([cell.strip() for cell in line.split("\t")] if "\t" in line else line.split())
        elif words:
            yield first, words
            words = []


def _usual_width(sentences: Sequence[tuple[int, list[list[str]]]]) -> int:
    """Return how many columns most lines have."""
    widths = Counter(len(cells) for _, words in sentences for cells in words)
    return widths.most_common(1)[0][0] if widths else 0


def _mistakes(
    first: int, words: Sequence[Sequence[str]], positions: Mapping[str, int], width: int
) -> Iterator[tuple[int, str]]:
    """Yield what is wrong with the lines of a sentence, by their numbers."""
    needed = max(len(positions), *(at + 1 if at >= 0 else -at for at in positions.values()))
    for line, cells in enumerate(words, start=first):
        if any("\ud800" <= character <= "\udfff" for cell in cells for character in cell):
            yield line, "a line must be UTF-8, but is not"
        elif len(cells) < needed:
            yield line, f"a line must have at least {needed} columns, but has {len(cells)}"
        elif len(cells) != width:
            yield line, f"a line must have {width} columns, as most have, but has {len(cells)}"
        elif len({at % width for at in positions.values()}) < len(positions):
            yield line, f"{_named(positions)} must be different columns, but are not, of {width}"
        else:
            for name, at in positions.items():
                if cells[at].split() != [cells[at]]:
                    yield line, f"`{name}` must be one word, but is {cells[at]!r}"


def _named(names: Mapping[str, int]) -> str:
    return " and ".join(f"`{name}`" for name in names)


def _refusal(path: Path, bad: Mapping[int, str], total: int) -> DataError:
    shown = [f"{path}:{line}: {wrong}" for line, wrong in list(bad.items())[:SHOWN]]
    share = f"{len(bad):,} of {total:,} sentences are bad"
    hint = 'correct them, or have them left out and counted with `"on_bad_row": "skip"`'
    return DataError("\n".join([*shown, f"{path}: {share}; {hint}"]))


def prepare_rows(table: Table, features: Features) -> pl.DataFrame:
    """Return `text` as words and, if the table has them, `tags`, one for each word; `line` and `path`.

    Raises `DataError` for a text without a word, and for tags that are not one per word or not well
    formed.
    """
    words = features.split(table.frame["text"])
    given = table.frame.with_columns(path=pl.lit(table.path))
    _refuse(given.filter(words.list.len() == 0), "text", "have a word")
    frame = given.with_columns(words.alias("text"))
    if "tags" not in frame.columns:
        return frame
    tagged = frame.with_columns(split_words(frame["tags"]).alias("tags"))
    is_wrong = tagged["tags"].list.len() != words.list.len()
    _refuse(frame.filter(is_wrong), "tags", "be one for each word")
    is_tag = pl.element().str.contains(f"^(?:{TAG.pattern})$")
    ill_formed = tagged.select(~pl.col("tags").list.eval(is_tag).list.all()).to_series()
    _refuse(frame.filter(ill_formed), "tags", "each be O, or B, I, E or S with a hyphen and a type")
    return tagged


def number_tags(frame: pl.DataFrame, tags: Sequence[str]) -> pl.Series:
    """Return the position in `tags` of each tag of prepared rows, int64, rows concatenated.

    Raises `DataError` with file and line of the first row with a tag that is not among them.
    """
    places = pl.DataFrame({"tags": tags, "place": range(len(tags))}, schema_overrides={"place": pl.Int64})
    single = frame.select("path", "line", "tags").explode("tags")
    numbered = single.join(places, on="tags", how="left", maintain_order="left")
    _refuse(numbered.filter(pl.col("place").is_null()), "tags", f"be among {', '.join(tags)}, as in training")
    return numbered["place"]


def _refuse(wrong: pl.DataFrame, column: str, rule: str) -> None:
    if len(wrong):
        path, line, value = wrong.select("path", "line", column).row(0)
        more = f" (and so for {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        raise DataError(f"{path}:{line}: `{column}` must {rule}, but is {value!r}{more}")


class MadeUpNames(Dataset):
    """Sentences with names in them, from a grammar; there is nothing to fetch."""

    def downloads(self) -> Sequence[Download]:
        return ()

    def sample(self, seed: int) -> Mapping[str, str]:
        """Return `made-up-names/train.conll` and `…/eval.conll`, with names that training lacks."""
        return sample.files(seed)
