"""Targets for the data sources of mtl-tasks: files of each format in any state."""

from __future__ import annotations

import io
import json
from typing import Any

import polars as pl
from targets import BOTH, FOLDER, HERE, ROWS, Target, answerable, filled

import mtl
from mtl import ColumnSpec, ColumnType, DataSource
from mtl_tasks.conll import CoNLL
from mtl_tasks.csv_files import CSV
from mtl_tasks.data_config import CoNLLConfig, CSVConfig, ParquetConfig, SQuADConfig
from mtl_tasks.parquet import Parquet
from mtl_tasks.squad import SQuAD

TAGGED = (ColumnSpec("words", ColumnType.TEXTS), ColumnSpec("tags", ColumnType.TEXTS, input=False))
ANSWERED = (
    ColumnSpec("question"),
    ColumnSpec("context"),
    ColumnSpec("answers", ColumnType.TEXTS, input=False, may_be_empty=True),
    ColumnSpec("starts", ColumnType.INTEGERS, input=False, may_be_empty=True),
)
QUOTED = b'text,label\n"a ""warm"", long\nfilm",1\ndull,0\n\n"",1\n'
SENTENCES = b"-DOCSTART- O\n\n# id = 1\nAda\tB-PER\nslept\tO\n\nRome\tB-LOC\n"
CONLLU = (
    b"# text = Ada's\n1-2\tAda's\t_\t_\t_\t_\t_\t_\t_\t_\n1\tAda\tAda\tPROPN\t_\t_\t0\troot\t_\t_\n"
    b"2\t's\t's\tPART\t_\t_\t1\tcase\t_\t_\n2.1\tx\tx\tX\t_\t_\t_\t_\t_\t_\n"
)
SKIP: Any = {"on_bad_row": "skip", "max_skipped_share": 1.0}
FRAME = pl.DataFrame({"text": ["a film", "dull"], "label": ["1", "0"], "more": [1, None]})


def _taken(table: mtl.Table, columns: tuple[ColumnSpec, ...]) -> None:
    assert dict(table.frame.schema) == mtl.table_schema(columns)
    assert table.frame["line"].is_sorted()
    for column in columns:
        assert column.may_be_empty or not table.frame[column.name].null_count()


def csv(data: bytes) -> None:
    """CSV; the first byte chooses whether bad rows are skipped."""
    source = CSV(CSVConfig(train_path=HERE, **(SKIP if data[:1] == b"\1" else {})))
    answerable(source.parse_inputs(data[1:], "rows", BOTH))
    filled(source.parse(data[1:], "rows", BOTH))


def conll(data: bytes) -> None:
    """Words in lines; the first byte chooses whether bad rows are skipped."""
    source = CoNLL(CoNLLConfig(train_path=HERE, **(SKIP if data[:1] == b"\1" else {})))
    answerable(source.parse_inputs(data[1:], "rows", TAGGED))
    table = source.parse(data[1:], "rows", TAGGED)
    _taken(table, TAGGED)
    assert (table.frame["words"].list.len() == table.frame["tags"].list.len()).all()


def parquet(data: bytes) -> None:
    """Parquet and Arrow; the first byte chooses whether bad rows are skipped."""
    config = ParquetConfig(train_path=HERE, **(SKIP if data[:1] == b"\1" else {}))
    _read(Parquet(config), data[1:], BOTH)


def squad(data: bytes) -> None:
    """SQuAD's JSON; the first byte chooses whether bad rows are skipped."""
    _read(SQuAD(SQuADConfig(train_path=HERE, **(SKIP if data[:1] == b"\1" else {}))), data[1:], ANSWERED)


def _read(source: DataSource[Any], data: bytes, columns: tuple[ColumnSpec, ...]) -> None:
    path = FOLDER / "source"
    path.write_bytes(data)
    for table in source.inputs(path, columns):
        assert table.others is not None and not set(table.bad) & set(table.frame["line"])
        _taken(table, tuple(column for column in columns if column.input))
    for table in source.pieces(path, columns):
        _taken(table, columns)


def _written() -> list[bytes]:
    """Return the frame as Parquet, Arrow, and an Arrow stream."""
    written = []
    for write in (FRAME.write_parquet, FRAME.write_ipc, FRAME.write_ipc_stream):
        stream = io.BytesIO()
        write(stream)
        written.append(b"\0" + stream.getvalue())
    return written


def _questions() -> list[bytes]:
    answer = {"text": "Rome", "answer_start": 7}
    asked = [
        {"id": "1", "question": "Where?", "answers": [answer]},
        {"id": "2", "question": "Why?", "answers": [], "is_impossible": True},
    ]
    paragraphs = [{"context": "Ada in Rome.", "qas": asked}]
    value = json.dumps({"version": "v2.0", "data": [{"title": "T", "paragraphs": paragraphs}]}).encode()
    return [b"\0" + value, b"\1" + value]


SOURCES: dict[str, Target] = {
    "csv": Target(csv, lambda: [b"\1" + QUOTED, b"\0" + ROWS], prefix=1),
    "conll": Target(conll, lambda: [b"\0" + SENTENCES, b"\1" + CONLLU], prefix=1),
    "parquet": Target(parquet, _written, prefix=1),
    "squad": Target(squad, _questions, prefix=1),
}
