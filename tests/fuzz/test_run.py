"""The runner finds what is there to find."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import run
from targets import Target

from mtl import DataError


def planted(data: bytes) -> None:
    if b"\xff" in data:
        raise ZeroDivisionError(data[:4])
    if b"NaN" in data:
        time.sleep(1)
    if len(data) < 20:
        raise DataError("too short")


def test_each_kind_of_finding_is_kept_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run, "SECONDS", 0.1)
    target = Target(planted, lambda: [b'{"a": 1, "b": "two", "c": [1, 2, 3]}'])
    assert run.run_plain("planted", target, 600, seed=0) == 2
    out = capsys.readouterr().out
    assert "planted: ZeroDivisionError in" in out and "planted: TooSlow in" in out
    kept = [path.read_bytes() for path in tmp_path.iterdir()]
    assert len(kept) == 2
    with pytest.raises((ZeroDivisionError, run.TooSlow)):
        run.run_once(target, kept[0])


def test_expected_errors_are_no_findings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run.run_plain("planted", Target(lambda data: planted(b"short"), lambda: [b"x"]), 50, seed=0) == 0
    assert list(tmp_path.iterdir()) == []
