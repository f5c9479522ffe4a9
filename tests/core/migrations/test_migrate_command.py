"""`mtl config migrate`"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mtl.commands import main
from mtl.plugins import Plugins

Text = Callable[..., str]


@pytest.fixture(autouse=True)
def installed(plugins: Plugins, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mtl.plugins.discover", lambda: plugins)


def test_the_result_goes_to_standard_output_and_the_changes_beside_it(
    text: Text, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "old.json"
    path.write_text(text({"OldEncoder": {"low": 0.5, "size": 4, "high": 0.75}}))
    assert main(["config", "migrate", str(path)]) == 0
    out, err = capsys.readouterr()
    settings = json.loads(out)["tasks"]["sort"]["Sort"]["representation"]
    assert list(settings["Encoder"].items()) == [("low", 0.5), ("width", 4), ("high", 0.75)]
    assert f"{path}:11:7: tasks.sort.Sort.representation.OldEncoder.size: `size` of Encoder is" in err


def test_a_file_takes_the_result_and_needs_no_more(
    text: Text, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "config.json"
    path.write_text(text({"Encoder": {"range": [0, 1]}}))
    assert main(["config", "migrate", str(path), "--output", str(path)]) == 0
    assert capsys.readouterr().out == ""
    before = path.read_text()
    assert main(["config", "migrate", str(path), "--output", str(path)]) == 0
    assert "nothing to change" in capsys.readouterr().err
    assert path.read_text() == before


def test_standard_input(
    text: Text, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = text({"Encoder": {"fused": True}}).encode()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(config)))
    assert main(["config", "migrate", "-"]) == 0
    assert "fused" not in capsys.readouterr().out


def test_remaining_mistakes_of_the_result_are_reported(
    text: Text, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, new = tmp_path / "old.json", tmp_path / "new.json"
    path.write_text(text({"Encoder": {"size": 0}}))
    assert main(["config", "migrate", str(path), "--output", str(new)]) == 2
    assert f"{new}:" in capsys.readouterr().err
    assert '"width": 0' in new.read_text()


def test_what_cannot_be_brought_up_to_date_writes_nothing(
    text: Text, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, new = tmp_path / "old.json", tmp_path / "new.json"
    path.write_text(text({"Encoder": {"size": 3, "dims": 4}}))
    assert main(["config", "migrate", str(path), "--output", str(new)]) == 2
    assert "both are set" in capsys.readouterr().err
    assert not new.exists()


def test_validate_warns_of_deprecated_settings(
    text: Text, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "old.json"
    (tmp_path / "rows.txt").write_text("a row\n")
    path.write_text(text({"Encoder": {"dims": 4}}))
    assert main(["config", "validate", str(path)]) == 0
    assert "mtl: warning: " in capsys.readouterr().err
