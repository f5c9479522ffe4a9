"""Parquet and Arrow: rows with types, in pieces, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest import mock

import polars as pl
import pytest

from mtl import ColumnSpec, ColumnType, DataError, InputPaths, table_schema
from mtl_tasks import parquet
from mtl_tasks.data_config import ParquetConfig
from mtl_tasks.parquet import Parquet

BOTH = (ColumnSpec("text"), ColumnSpec("label", input=False))
TYPED = (
    ColumnSpec("text"),
    ColumnSpec("score", ColumnType.FLOAT, input=False),
    ColumnSpec("words", ColumnType.TEXTS, input=False, may_be_empty=True),
    ColumnSpec("starts", ColumnType.INTEGERS, input=False),
)
FRAME = pl.DataFrame(
    {
        "id": [7, 8, 9],
        "text": ["a ", "b", "c"],
        "label": [1, 0, 1],
        "score": [1, 2, 3],
        "words": [["x", "y"], [], None],
        "answers": [
            {"text": ["t"], "starts": [0]},
            {"text": [], "starts": [1, 2]},
            {"text": [], "starts": [3]},
        ],
    }
)


def source(**options: Any) -> Parquet:
    return Parquet(ParquetConfig(train_path=InputPaths(Path("train")), **options))


def refusal(path: Path, columns: Any = BOTH, **options: Any) -> str:
    with pytest.raises(DataError) as caught:
        source(**options).read(path, columns)
    return str(caught.value)


@pytest.fixture(params=["parquet", "arrow", "stream"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / f"rows.{request.param}"
    write = {"parquet": FRAME.write_parquet, "arrow": FRAME.write_ipc, "stream": FRAME.write_ipc_stream}
    write[request.param](path)
    return path


def test_columns_have_their_types_and_fields_dotted_names(path: Path) -> None:
    table = source(columns={"starts": "answers.starts"}).read(path, TYPED)
    assert dict(table.frame.schema) == table_schema(TYPED)
    assert table.frame.rows() == [
        (1, "a", 1.0, ["x", "y"], [0]),
        (2, "b", 2.0, [], [1, 2]),
        (3, "c", 3.0, None, [3]),
    ]
    assert "does not read `id`, `label`" in table.notices[0]
    assert source().read(path, BOTH).frame.rows() == [(1, "a", "1"), (2, "b", "0"), (3, "c", "1")]


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_a_file_in_pieces_is_the_file(path: Path, size: int) -> None:
    with mock.patch.object(parquet, "ROWS", size):
        tables = list(source().pieces(path, BOTH))
    assert pl.concat([table.frame for table in tables]).equals(source().read(path, BOTH).frame)
    assert sum(len(table.notices) for table in tables) == 1


def test_rows_to_predict_keep_the_other_columns(path: Path) -> None:
    [table] = source().inputs(path, BOTH)
    assert table.frame.columns == ["line", "text"]
    assert table.others is not None
    assert table.others["label"].to_list() == ["1", "0", "1"]
    assert table.others["answers"][0] == '{"text": ["t"], "starts": [0]}'


def test_bad_rows_are_named_or_skipped(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    pl.DataFrame({"text": ["a", None, " "], "label": ["x", "y", "z"]}).write_parquet(path)
    said = refusal(path)
    assert f"{path}:2: `text` must not be empty" in said
    assert f"{path}:3: `text` must not be empty" in said
    table = source(on_bad_row="skip", max_skipped_share=1.0).read(path, BOTH)
    assert (table.frame.rows(), table.skipped) == ([(1, "a", "x")], 2)
    [table] = source().inputs(path, BOTH)
    assert set(table.bad) == {2, 3}


def test_mistakes_in_a_file_are_reported(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    FRAME.write_parquet(path)
    assert "`none` must be there, as `none`, but the columns are" in refusal(path, (ColumnSpec("none"),))
    assert "`answers` must be a string" in refusal(path, (ColumnSpec("answers"),))
    assert "`text` must be a number" in refusal(path, (ColumnSpec("text", ColumnType.FLOAT),))
    path.write_bytes(path.read_bytes()[:-20])
    assert "must be a whole Parquet or Arrow file" in refusal(path)
    path.write_text("text,label\n")
    assert "must be a Parquet or Arrow file" in refusal(path)


def test_a_file_without_rows_has_no_rows(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    FRAME.clear().write_parquet(path)
    table = source().read(path, BOTH)
    assert len(table.frame) == 0
    assert dict(table.frame.schema) == table_schema(BOTH)
