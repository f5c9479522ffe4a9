"""`mtl predict`: how it chooses a reader for its rows, and where it writes (C2)."""

from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest


def objects(out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.splitlines()]


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    file = tmp_path / "rows.txt"
    file.write_text("a good film\n\na café [bold]\n", encoding="utf-8")
    return file


def stdin(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(content), isatty=lambda: False))


def test_a_file_is_read_by_the_data_source(invoke: Any, loaded: list[Path], rows: Path) -> None:
    for options in ((), ("--format", "auto")):
        status, out, err = invoke("predict", "runs/one", "--task", "SST2", rows, *options)
        assert (status, err) == (0, "")
        [answer] = objects(out)
        assert answer == {"task": "SST2", "file": str(rows), "on_bad_row": "report"}
    assert loaded[0] == Path("runs/one")


@pytest.mark.parametrize("options", [("--text",), ("--format", "text")])
def test_c2_lines_of_text_by_choice(
    options: tuple[str, ...], invoke: Any, loaded: list[Path], rows: Path
) -> None:
    status, out, err = invoke("predict", "runs/one", "--task", "SST2", rows, *options)
    assert (status, err) == (0, "")
    assert [row["line"] for row in objects(out)] == ["a good film\n", "\n", "a café [bold]\n"]
    assert {row["format"] for row in objects(out)} == {"text"}


@pytest.mark.parametrize("place", [(), ("-",)])
def test_rows_from_standard_input(
    place: tuple[str, ...], invoke: Any, loaded: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    stdin(monkeypatch, b"one\ntwo")
    status, out, err = invoke("predict", "runs/one", "--task", "LM", *place, "--on-bad-row", "skip")
    assert (status, err) == (0, "")
    assert [(row["line"], row["name"], row["format"]) for row in objects(out)] == [
        ("one\n", "<stdin>", "auto"),
        ("two", "<stdin>", "auto"),
    ]
    assert {row["on_bad_row"] for row in objects(out)} == {"skip"}


def test_output_is_whole_or_absent(
    invoke: Any, loaded: list[Path], rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "out.jsonl"
    line = ("predict", "r", "--task", "LM", rows, "--text", "--output", target)
    assert invoke(*line) == (0, "", "")
    assert len(objects(target.read_text())) == 3
    target.write_text("before")
    assert invoke("predict", "r", "--task", "LM", tmp_path / "absent", "--text", "--output", target)[0] == 2
    assert target.read_text() == "before"
    status, _, err = invoke("predict", "r", "--task", "LM", rows, "--output", tmp_path / "no/out.jsonl")
    assert status == 1 and err.endswith("out.jsonl: cannot be written: No such file or directory\n")


def test_output_to_a_pipe_leaves_it_one(invoke: Any, loaded: list[Path], rows: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert invoke("predict", "r", "--task", "LM", rows, "--text", "--output", pipe) == (0, "", "")
        assert len(objects(os.read(reader, 10_000).decode())) == 3
    finally:
        os.close(reader)
    assert pipe.is_fifo()


def test_a_task_must_be_named_where_there_are_several(invoke: Any, loaded: list[Path]) -> None:
    assert invoke("predict", "r", "x")[::2] == (2, "mtl: `--task` is needed, one of: SST2, LM\n")
    assert invoke("predict", "r", "x", "--task", "SST")[::2] == (
        2,
        "mtl: `--task` must be one of SST2, LM, but is `SST`\n",
    )


def test_a_missing_file_is_named(invoke: Any, loaded: list[Path]) -> None:
    status, _, err = invoke("predict", "r", "nowhere", "--text", "--task", "LM")
    assert (status, err) == (2, "mtl: nowhere: cannot be read: No such file or directory\n")
