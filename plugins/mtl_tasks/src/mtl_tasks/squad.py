"""Questions about texts in SQuAD's JSON.

Rajpurkar, Zhang, Lopyrev and Liang, "SQuAD: 100,000+ Questions for Machine Comprehension of Text",
EMNLP 2016; Rajpurkar, Jia and Liang, "Know What You Don't Know: Unanswerable Questions for SQuAD", ACL 2018.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
from attrs import frozen

from mtl import ColumnSpec, ColumnType, DataError, table_schema
from mtl_tasks.data_config import SQuADConfig
from mtl_tasks.frames import FrameSource, Piece
from mtl_text.sources import Wanted, check_columns, listed_names
from mtl_text.streams import open_text

PARTS = {
    "question": ColumnType.TEXT,
    "context": ColumnType.TEXT,
    "answers": ColumnType.TEXTS,
    "starts": ColumnType.INTEGERS,
    "title": ColumnType.TEXT,
    "id": ColumnType.TEXT,
}
"""What a question has, and of which type."""


class SQuAD(FrameSource[SQuADConfig]):
    """A row per question."""

    def _pieces(self, path: Path, wanted: Wanted) -> Iterator[Piece]:
        check_columns(self.config.columns, wanted.columns, str(path))
        parts = {column.name: self._part(column, str(path)) for column in wanted.read}
        questions = _Reader(str(path)).questions(_load(path))
        needed = "answers" if {"answers", "starts"} & set(parts.values()) else "question"
        rows: list[list[Any]] = []
        others: list[dict[str, str | None]] = []
        bad: dict[int, str] = {}
        for number, question in enumerate(questions, start=1):
            if isinstance(question, dict) and needed not in question:
                question = f"question {question['id']}: `answers` must be there, empty if there is none"
            if isinstance(question, str):
                bad[number] = question
                question = {}
            rows.append([number, *(question.get(parts[column.name]) for column in wanted.read)])
            others.append(
                {name: _as_text(question.get(name)) for name in PARTS if name not in parts.values()}
            )
        frame = pl.DataFrame(rows, schema=table_schema(wanted.read), orient="row")
        names = dict.fromkeys((name for name in PARTS if name not in parts.values()), pl.String)
        yield Piece(frame, pl.DataFrame(others, schema=names) if wanted.for_inputs else None, bad=bad)

    def _part(self, column: ColumnSpec, path: str) -> str:
        """Return the part of a question that a column is."""
        part = self.config.columns.get(column.name, "context" if column.name == "text" else column.name)
        if part not in PARTS:
            raise DataError(
                f"{path}: `columns` must say which part of a question `{column.name}` is, of"
                f" {listed_names(PARTS)}"
            )
        if PARTS[part] is not column.type:
            raise DataError(
                f"{path}: `{column.name}` must be {column.type.value}, but `{part}` is {PARTS[part].value}"
            )
        return part


def _load(path: Path) -> Any:
    """Return the JSON of a file. Raises `DataError` if it is not JSON."""
    with open_text(path, "utf-8") as file:
        data = file.read()
    try:
        return json.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(f"{path}:{line}: text must be UTF-8, but is not") from None
    except json.JSONDecodeError as error:
        raise DataError(f"{path}:{error.lineno}:{error.colno}: must be JSON, but: {error.msg}") from None
    except (ValueError, RecursionError):
        raise DataError(f"{path}: must be JSON, but is too deep or has too long a number") from None


@frozen
class _Reader:
    """Walks through the JSON of a file; `source` is the file in messages."""

    source: str

    def questions(self, root: Any) -> Iterator[dict[str, Any] | str]:
        """Yield the parts of each question, or what is wrong with it."""
        if not isinstance(root, dict) or not isinstance(root.get("data"), list):
            raise DataError(
                f"{self.source}: must be SQuAD's JSON, an object whose `data` is a list of articles"
            )
        for number, article in enumerate(root["data"]):
            place = f"data[{number}]"
            title = article.get("title") if isinstance(article, dict) else None
            for at, paragraph in self._items(article, "paragraphs", place):
                yield from self._of_paragraph(paragraph, title, at)

    def _of_paragraph(self, paragraph: Any, title: Any, place: str) -> Iterator[dict[str, Any] | str]:
        for at, question in self._items(paragraph, "qas", place):
            try:
                yield _question(question, paragraph.get("context"), title)
            except ValueError as error:
                yield f"{at}{error}"

    def _items(self, owner: Any, key: str, place: str) -> Iterator[tuple[str, Any]]:
        """Yield the items of a list in an object, each with its place."""
        items = owner.get(key) if isinstance(owner, dict) else None
        if not isinstance(items, list):
            raise DataError(f"{self.source}: {place}: must be an object whose `{key}` is a list")
        yield from ((f"{place}.{key}[{number}]", item) for number, item in enumerate(items))


def _question(question: Any, context: Any, title: Any) -> dict[str, Any]:
    """Return the parts of a question. Raises `ValueError`, which begins with the place within it."""
    if not isinstance(question, Mapping):
        raise ValueError(": must be an object")
    found = {"question": question.get("question"), "context": context}
    for name, value in found.items():
        if not isinstance(value, str) or not _is_text(value):
            raise ValueError(f": `{name}` must be a string")
    found |= {
        name: value if isinstance(value, str) and _is_text(value) else None
        for name, value in (("title", title), ("id", question.get("id")))
    }
    if "answers" not in question:
        return found
    answers = [] if question.get("is_impossible") is True else question["answers"]
    if not isinstance(answers, Sequence) or isinstance(answers, str):
        raise ValueError(": `answers` must be a list")
    for number, answer in enumerate(answers):
        text, start = (answer.get(key) if isinstance(answer, Mapping) else None for key in _ANSWER)
        if not isinstance(text, str) or not _is_text(text) or not text.strip():
            raise ValueError(f".answers[{number}]: `text` must be a string that is not empty")
        if not isinstance(start, int) or isinstance(start, bool) or not 0 <= start < len(context):
            raise ValueError(
                f".answers[{number}]: `answer_start` must be a character of `context`, from 0 to"
                f" {len(context) - 1:,}, but is {json.dumps(start, default=str)[:40]}"
            )
    # Texts are read without spaces around them.
    indent = len(context) - len(context.lstrip())
    found["answers"] = [answer["text"] for answer in answers]
    found["starts"] = [answer["answer_start"] - indent for answer in answers]
    return found


_ANSWER = ("text", "answer_start")


def _is_text(value: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in value)


def _as_text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)
