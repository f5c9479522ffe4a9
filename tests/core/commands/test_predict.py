"""`mtl predict`: rows from files and standard input, as text and as JSON lines (C2)."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtl.commands.predict import read_rows
from mtl.errors import DataError

TEXTS = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\r\n"))


def objects(out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.splitlines()]


def test_c2_one_object_a_line_in_order(invoke: Any, loaded: list[Path], tmp_path: Path) -> None:
    file = tmp_path / "rows.txt"
    file.write_text("a good film\n\na café [bold]\n", encoding="utf-8")
    status, out, err = invoke("predict", "runs/one", "--task", "SST2", file)
    assert (status, err) == (0, "")
    assert objects(out) == [{"task": "SST2", "text": text} for text in ("a good film", "", "a café [bold]")]
    assert loaded == [Path("runs/one")]


@pytest.mark.parametrize("place", [(), ("-",)])
def test_rows_from_standard_input(
    place: tuple[str, ...], invoke: Any, loaded: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"one\ntwo"), isatty=lambda: False))
    status, out, err = invoke("predict", "runs/one", "--task", "LM", *place)
    assert (status, err) == (0, "")
    assert [row["text"] for row in objects(out)] == ["one", "two"]


def test_json_lines_are_recognised(invoke: Any, loaded: list[Path], tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text('{"text": "one", "id": 1}\n\n{"text": "two", "id": 2}\n')
    assert [row["id"] for row in objects(invoke("predict", "r", "--task", "LM", file)[1])] == [1, 2]
    as_text = objects(invoke("predict", "r", "--task", "LM", file, "--format", "text")[1])
    assert as_text[0]["text"] == '{"text": "one", "id": 1}'


def test_a_task_must_be_named_where_there_are_several(invoke: Any, loaded: list[Path]) -> None:
    assert invoke("predict", "r", "x")[::2] == (2, "mtl: `--task` is needed, one of: SST2, LM\n")
    assert invoke("predict", "r", "x", "--task", "SST")[::2] == (
        2,
        "mtl: `--task` must be one of SST2, LM, but is `SST`\n",
    )


@given(st.lists(TEXTS, min_size=1))
def test_every_line_of_text_is_a_row(texts: list[str]) -> None:
    content = "".join(f"{text}\n" for text in texts).encode()
    rows = _read(content, "text")
    assert [row["text"] for row in rows] == [texts[0].removeprefix("\ufeff"), *texts[1:]]


@given(st.lists(st.dictionaries(TEXTS, TEXTS), min_size=1))
def test_objects_round_trip(rows: list[dict[str, str]]) -> None:
    content = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    assert _read(content, "auto") == rows


@pytest.mark.parametrize(
    ("content", "where"),
    [
        (b'{"text": "a"}\n[1]\n', ":2: must be a JSON object"),
        (b'{"text": "a"}\nplain\n', ":2: must be a JSON object, but is not JSON"),
        (b"fine\nbad \xff\n", ":2:5: must be UTF-8"),
    ],
)
def test_a_bad_line_is_named(content: bytes, where: str, tmp_path: Path) -> None:
    file = tmp_path / "rows"
    file.write_bytes(content)
    with pytest.raises(DataError, match=f"^{file}{where}"):
        list(read_rows(str(file), "auto"))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere: cannot be read: No such file"):
        list(read_rows(str(tmp_path / "nowhere"), "auto"))


def _read(content: bytes, format: str) -> list[dict[str, Any]]:
    stdin, sys.stdin = sys.stdin, SimpleNamespace(buffer=io.BytesIO(content), isatty=lambda: False)  # type: ignore[assignment]
    try:
        return list(read_rows("-", format))
    finally:
        sys.stdin = stdin


def test_a_row_that_is_too_deep_is_said_and_so_is_a_first_one(tmp_path: Path) -> None:
    path = tmp_path / "rows"
    path.write_text('{"text": "a"}\n' + "[" * 100_000)
    with pytest.raises(DataError, match=r"rows:2: must be a JSON object, but is too deep"):
        list(read_rows(str(path), "auto"))
    path.write_text("[" * 100_000)
    assert list(read_rows(str(path), "auto")) == [{"text": "[" * 100_000}]
