"""`"on_bad_row": "skip"`: what is left out is counted, and said once (D11)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import mtl
from mtl import DataError
from mtl.commands import main
from mtl.runs import plan

GOOD = "sentence\tlabel\n" + "a warm film\t1\na dull film\t0\n" * 8


@pytest.fixture
def spoiled(tmp_path: Path) -> dict[str, Any]:
    """Two bad rows to train on, one in the file that is both evaluated and tested."""
    (tmp_path / "train.tsv").write_bytes(f"{GOOD}no tab\nnaïve\t1\n".encode("latin-1"))
    (tmp_path / "eval.tsv").write_text(f"{GOOD}\n\tno text\n")
    data: dict[str, Any] = {
        "train_path": "train.tsv",
        "eval_path": "eval.tsv",
        "test_path": "eval.tsv",
        "on_bad_row": "skip",
    }
    data["max_skipped_share"] = 0.2
    task = {
        "data": data,
        "features": {"word_feat": {"embed_dim": 4}},
        "representation": {"lstm": {"lstm_dim": 4}},
    }
    return {
        "base_dir": str(tmp_path),
        "tasks": {"SST2": {"DocClassificationTask": task}},
        "trainer": {"max_steps": 1},
        "device": "cpu",
    }


def test_d11_skipped_rows_are_counted_in_the_plan_and_in_the_result(
    spoiled: dict[str, Any], tmp_path: Path
) -> None:
    planned = plan(spoiled)
    splits = {split: planned["tasks"]["SST2"][split] for split in ("train", "eval", "test")}
    assert {split: (facts["rows"], facts["skipped"]) for split, facts in splits.items()} == {
        "train": (16, 2),
        "eval": (16, 1),
        "test": (16, 1),
    }
    result = mtl.train(spoiled, output=tmp_path / "run").data["tasks"]["SST2"]
    assert result["rows_skipped"] == {"train": 2, "eval": 1, "test": 1}
    assert result["rows_total"] == 16


def test_d11_skipped_rows_are_reported_once_per_file_with_the_first(
    spoiled: dict[str, Any], tmp_path: Path
) -> None:
    notices = plan(spoiled)["notices"]
    assert [notice for notice in notices if "bad row" in notice] == [
        "SST2: train.tsv: 2 bad rows are skipped; line 18: a row must have 2 columns, but has 1 column;"
        " line 19: text must be UTF-8, but byte 3 of the line is not",
        "SST2: eval.tsv: 1 bad row is skipped; line 19, character 1: `text` must not be empty",
    ]


def test_d11_rows_skipped_by_a_test_are_reported(
    spoiled: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    mtl.train(spoiled, output=tmp_path / "run")
    mtl.load(tmp_path / "run").test("SST2")
    said = "eval.tsv: 1 bad row is skipped; line 19, character 1: `text` must not be empty"
    assert [record.getMessage() for record in caplog.records] == [f"{tmp_path}/{said}"]


def test_skipping_is_off_by_default(spoiled: dict[str, Any]) -> None:
    del spoiled["tasks"]["SST2"]["DocClassificationTask"]["data"]["on_bad_row"]
    with pytest.raises(DataError, match=r"train\.tsv:18: (.|\n)*train\.tsv: 2 of 19 lines are bad"):
        plan(spoiled)


def test_a_run_that_skips_many_rows_needs_the_users_word(spoiled: dict[str, Any]) -> None:
    spoiled["tasks"]["SST2"]["DocClassificationTask"]["data"]["max_skipped_share"] = 0.1
    with pytest.raises(DataError) as caught:
        plan(spoiled)
    said = "train.tsv: 2 of 19 lines are bad; `max_skipped_share` allows 10.00% of the rows to be skipped"
    assert str(caught.value).endswith(said)


def test_a_label_unseen_in_training_is_never_skipped(spoiled: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "eval.tsv").write_text(f"{GOOD}a film\t2\n")
    with pytest.raises(
        DataError, match=r"eval\.tsv:18: `label` must be one of the task's labels, but is '2'"
    ):
        plan(spoiled)


@pytest.mark.parametrize("option", [(), ("--json",)])
def test_no_control_character_of_the_data_reaches_the_terminal(
    option: tuple[str, ...], spoiled: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """From its labels, its texts, its keys and the names of its files."""
    odd = tmp_path / "\x1b[2J.jsonl"
    rows = [{"text": "a \x1b]0;x\x07film", "label": "\x1b[31m"}, {"text": "a", "label": "\x9b0m"}]
    odd.write_text("".join(json.dumps(row) + "\n" for row in [*rows, *rows, {"\x1b[5m": 1}]))
    data: dict[str, Any] = {"JSONL": {"train_path": odd.name, "eval_path": odd.name, "on_bad_row": "skip"}}
    data["JSONL"]["max_skipped_share"] = 0.2
    task = spoiled["tasks"].pop("SST2")
    task["DocClassificationTask"] |= {"data": data, "labels": ["\x1b[31m", "\x9b0m", "\x1b[2J"]}
    spoiled["tasks"]["\x1b[1m name"] = task
    config = tmp_path / "config.json"
    config.write_text(json.dumps(spoiled))
    for skip in (True, False):
        data["JSONL"]["on_bad_row"] = "skip" if skip else "error"
        config.write_text(json.dumps(spoiled))
        status = main(["plan", str(config), *option])
        shown = "".join(capsys.readouterr())
        assert status == (0 if skip else 2), shown
        assert "\\u001b[5m" in shown and "\\u001b[2J.jsonl" in shown
        assert "\x1b" not in shown and "\x9b" not in shown and "\x07" not in shown
