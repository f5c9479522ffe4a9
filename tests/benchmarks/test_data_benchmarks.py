"""The scripts about data and defaults run, on small files."""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

import defaults
import linear
import pytest

WORDS = "a the film plot is was dull funny brave slow and but never always loved hated".split()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    draw = random.Random(0)
    for folder, header in (("SST-2", "sentence\tlabel\n"), ("CoLA", "sentence\tlabel\n")):
        (tmp_path / folder).mkdir()
        for name, rows in (("train", 80), ("dev", 20)):
            lines = [f"{' '.join(draw.choices(WORDS, k=5))} {n}\t{n % 2}\n" for n in range(rows)]
            (tmp_path / folder / f"{name}.tsv").write_text(header + "".join(lines))
    return tmp_path


def test_defaults_trains_missing_runs(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    output = data / "out.jsonl"
    words = ["defaults.py", str(data), "--output", str(output), "--epochs", "1", "--seeds", "1"]
    monkeypatch.setattr(sys, "argv", [*words, "--tasks", "SST2", "--variants", "default,uniform 0.05"])
    defaults.main()
    records = [json.loads(line) for line in output.read_text().splitlines()]
    assert [each["variant"] for each in records] == ["default", "uniform 0.05"]
    assert all(0 <= each["held_out"] <= 1 and 0 <= each["dev"] <= 1 for each in records)
    assert "| SST2 | 1 | uniform 0.05 | 1 |" in capsys.readouterr().out

    monkeypatch.setattr(defaults, "run", lambda *arguments: pytest.fail("trained again"))
    defaults.main()


def test_linear_prints_a_row_per_baseline(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(linear, "TASKS", {name: linear.TASKS[name] for name in ("SST2", "CoLA")})
    linear.main(data)
    rows = capsys.readouterr().out.splitlines()[2:]
    assert [row.split(" | ")[1] for row in rows] == ["most frequent", "linear over 1-2-grams"] * 2
    assert "accuracy 0.5000" in rows[0]
