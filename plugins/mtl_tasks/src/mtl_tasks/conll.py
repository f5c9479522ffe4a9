"""Words with their tags, one per line: CoNLL's formats, CoNLL-U among them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

import polars as pl
from attrs import frozen

from mtl import ColumnSpec, ColumnType, DataError, table_schema
from mtl_tasks.data_config import CoNLLConfig
from mtl_text.layouts import NUMBER
from mtl_text.lines import Lines, bad_lines, divide_lines
from mtl_text.sources import (
    LineRows,
    LineSource,
    Reader,
    Regrouped,
    Wanted,
    check_columns,
    columns_notice,
    listed_names,
)

CONLLU = ("ID", "FORM", "LEMMA", "UPOS", "XPOS", "FEATS", "HEAD", "DEPREL", "DEPS", "MISC")
USUAL = {"words": ("FORM", 0), "text": ("FORM", 0), "tags": ("UPOS", -1)}
"""Where columns of tasks are in CoNLL-U, and elsewhere, unless the config says."""
DOCUMENT = "-DOCSTART-"
_GLOBAL_COLUMNS = "# global.columns ="
_NOT_A_WORD = re.compile(r"\d+(-|\.)\d+")
_ID = re.compile(r"\d+(?:[-.]\d+)?")


@frozen
class Format:
    """How the lines of a file are words: `names` of its columns, if they have some, and where those that
    the task reads are."""

    is_tabbed: bool
    width: int
    names: Sequence[str]
    positions: Mapping[str, int]
    comment: str | None

    @property
    def has_ids(self) -> bool:
        """Whether words are numbered, as in CoNLL-U."""
        return bool(self.names) and self.names[0] == "ID"

    def cells(self, text: str) -> list[str]:
        """Return the columns of a line."""
        return text.split("\t") if self.is_tabbed else text.split()

    def is_comment(self, text: str) -> bool:
        """Whether a line before a sentence's first word says something about the sentence."""
        if self.comment is not None:
            return text.startswith(self.comment)
        return text.startswith("#") and (self.has_ids or len(self.cells(text)) != self.width)

    def title(self, position: int) -> str:
        """Return what a column is called."""
        return self.names[position] if self.names else str(position)


class CoNLL(LineSource[CoNLLConfig]):
    """A sentence per row, a word per line; blank lines end sentences."""

    def _whole_rows(self, blocks: Iterable[Lines], wanted: Wanted) -> Iterable[Lines]:
        return Regrouped(blocks, lambda lines, is_last: _cut(lines, is_last=is_last))

    def _reader(self, blocks: Iterable[Lines], wanted: Wanted) -> Reader:
        lines = next(iter(blocks))
        check_columns(self.config.columns, wanted.columns, lines.source)
        format = self._format(lines, wanted)
        notices: list[str] = []
        if not wanted.for_inputs:
            read = {format.title(at): name for name, at in format.positions.items()}
            unread = [format.title(at) for at in range(format.width) if format.title(at) not in read]
            notices = columns_notice(lines.source, read, unread[1:] if format.has_ids else unread)
        return Reader(lambda lines: _rows(lines, format, wanted), notices)

    # --- format ----------------------------------------------------------------------------------------

    def _format(self, lines: Lines, wanted: Wanted) -> Format:
        named: Sequence[str] = ()
        first = ""
        for text in (text for text in lines.texts if text.strip()):
            if text.startswith(_GLOBAL_COLUMNS):
                named = text.removeprefix(_GLOBAL_COLUMNS).split()
            if not (text.startswith((self.config.comment or "#", DOCUMENT))):
                first = text
                break
        first = first or next((text for text in lines.texts if text.strip()), "")
        if not first:
            raise bad_lines(lines, lines.bad).error(lines.last)
        is_tabbed = "\t" in first if self.config.delimiter == "auto" else self.config.delimiter == "tab"
        cells = first.split("\t") if is_tabbed else first.split()
        is_conllu = is_tabbed and len(cells) == len(CONLLU) and _ID.fullmatch(cells[0])
        names = named or (CONLLU if is_conllu else ())
        positions = {
            column.name: self._position(column, cells, names, lines.source) for column in wanted.read
        }
        return Format(is_tabbed, len(cells), names, positions, self.config.comment)

    def _position(self, column: ColumnSpec, first: Sequence[str], names: Sequence[str], source: str) -> int:
        name = column.name
        place = self.config.columns.get(name)
        if place is None:
            usual = USUAL.get(name)
            if usual is None:
                raise DataError(f"{source}: `columns` must say where `{name}` is, by name or position")
            place = usual[0] if usual[0] in names else usual[1]
        if isinstance(place, int):
            if not -len(first) <= place < len(first):
                raise DataError(
                    f"{source}: `{name}` must be at position {place}, but the first word has"
                    f" {_columns(len(first))}"
                )
            return place % len(first)
        if place not in names:
            has = f"has {listed_names(names)}" if names else "has no names of columns, as only CoNLL-U has"
            raise DataError(f"{source}: `{name}` must be there, as `{place}`, but the file {has}")
        return list(names).index(place)


# --- sentences ---------------------------------------------------------------------------------------------


def _is_blank(lines: Lines) -> pl.Series:
    return lines.texts.str.strip_chars() == ""


def _cut(lines: Lines, *, is_last: bool) -> tuple[Lines, Lines | None]:
    """Return the lines up to the last blank one, and those after it."""
    if is_last:
        return lines, None
    blank = _is_blank(lines).arg_true()
    if not len(blank):
        raise DataError(
            f"{lines.source}:{lines.first}: a blank line must end the sentence that begins here, but none"
            f" does until line {lines.last}"
        )
    whole, rest = divide_lines(lines, int(blank[-1]) + 1)
    return whole, rest if len(rest.texts) else None


def _sentences(lines: Lines) -> Iterator[list[int]]:
    """Yield the places of the lines of each sentence."""
    sentence: list[int] = []
    for place, (text, is_blank) in enumerate(zip(lines.texts, _is_blank(lines), strict=True)):
        if text.startswith(DOCUMENT):
            continue
        if not is_blank or lines.first + place in lines.bad:
            sentence.append(place)
        elif sentence:
            yield sentence
            sentence = []
    if sentence:
        yield sentence


def _rows(lines: Lines, format: Format, wanted: Wanted) -> LineRows:
    texts = lines.texts.to_list()
    bad: dict[int, str] = {}
    rows: list[list[object]] = []
    others: list[dict[str, str]] = []
    for sentence in _sentences(lines):
        words: list[list[str]] = []
        first = 0
        wrong: tuple[int, str] | None = None
        for place in sentence:
            number, text = lines.first + place, texts[place]
            if number in lines.bad:
                wrong = wrong or (number, lines.bad[number])
                continue
            if not words and format.is_comment(text):
                continue
            cells = format.cells(text)
            if format.has_ids and _NOT_A_WORD.fullmatch(cells[0]):
                continue
            problem = _problem(cells, format, wanted)
            if problem:
                wrong = wrong or (number, problem)
            first = first or number
            words.append(cells)
        if wrong is not None:
            bad[wrong[0]] = wrong[1]
        elif words:
            rows.append([first, *(_value(words, format.positions[c.name], c.type) for c in wanted.read)])
            if wanted.for_inputs:
                others.append(_others(words, format))
    frame = pl.DataFrame(rows, schema=table_schema(wanted.read), orient="row")
    return LineRows(frame, bad, _as_frame(others, format) if wanted.for_inputs else None)


def _problem(cells: Sequence[str], format: Format, wanted: Wanted) -> str:
    """Return what is wrong with the line of a word; nothing if nothing is."""
    needed = 1 + max(format.positions.values()) if wanted.for_inputs else format.width
    if len(cells) != format.width and (len(cells) < needed or not wanted.for_inputs):
        return f"a word must have {_columns(format.width)}, but has {_columns(len(cells))}"
    for column in wanted.read:
        cell = cells[format.positions[column.name]].strip()
        if not cell:
            return f"`{column.name}` must not be empty"
        if column.type is ColumnType.INTEGERS and not _is_integer(cell):
            return f"`{column.name}` must be an integer, but is {cell!r}"
    return ""


def _is_integer(cell: str) -> bool:
    return re.match(NUMBER, cell) is not None and abs(int(cell[:20])) < 2**63


def _value(words: Iterable[Sequence[str]], position: int, type_: ColumnType) -> object:
    """Return a column of a sentence's words."""
    cells = [cells[position].strip() for cells in words]
    if type_ is ColumnType.INTEGERS:
        return [int(cell) for cell in cells]
    return " ".join(cells) if type_ is ColumnType.TEXT else cells


def _others(words: Sequence[Sequence[str]], format: Format) -> dict[str, str]:
    """Return the columns that are not read, joined by spaces."""
    unread = [at for at in range(format.width) if at not in format.positions.values()]
    return {
        format.title(at): " ".join(cells[at] if at < len(cells) else "" for cells in words) for at in unread
    }


def _as_frame(others: Sequence[Mapping[str, str]], format: Format) -> pl.DataFrame:
    names = [format.title(at) for at in range(format.width) if at not in format.positions.values()]
    return pl.DataFrame(others, schema=dict.fromkeys(names, pl.String))


def _columns(count: int) -> str:
    return f"{count} column" + ("" if count == 1 else "s")
