"""The same config as JSON, YAML and TOML is the same run, and the commands read each."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import mtl
from mtl.commands import main
from mtl.config.source import Format
from mtl.config.writing import written


def test_a_config_is_the_same_run_in_each_format(
    tiny: dict[str, Any], tmp_path: Path, differences: Callable[[Path, Path], list[str]]
) -> None:
    tiny["trainer"] |= {"optimizer": {"AdamW": {"lr": 1e-3}}, "max_clip_norm": 0.5}
    runs = []
    for format in Format:
        path = tmp_path / f"config.{format.lower()}"
        path.write_text(written(tiny, format), encoding="utf-8")
        mtl.train(path, output=tmp_path / format)
        runs.append(tmp_path / format)
    assert (runs[0] / "model").exists()
    for run in runs[1:]:
        assert differences(runs[0], run) == []


@pytest.mark.parametrize("ending", ["yaml", "toml"])
def test_commands_read_and_write_each_format(
    ending: str, tiny: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, there, back = tmp_path / "a.json", tmp_path / f"b.{ending}", tmp_path / "c.json"
    source.write_text(json.dumps(tiny))
    assert main(["config", "migrate", str(source), "--output", str(there)]) == 0
    assert main(["config", "migrate", str(there), "--output", str(back)]) == 0
    assert json.loads(back.read_text()) == tiny
    shown = []
    for path in (source, there):
        capsys.readouterr()
        assert main(["config", "validate", str(path)]) == main(["config", "show", str(path)]) == 0
        shown.append(capsys.readouterr().out.replace(str(path), "PATH"))
        assert main(["plan", str(path), "--json"]) == 0
    assert shown[0] == shown[1]
    assert main(["config", "validate", str(there), "--set", "trainer.epochs=0"]) == 2
    there.write_text(there.read_text().replace("epochs", "epcohs"))
    assert main(["config", "validate", str(there)]) == 2
    line, column = next(
        (number, text.index("epcohs") + 1)
        for number, text in enumerate(there.read_text().splitlines(), 1)
        if "epcohs" in text
    )
    assert f"{there}:{line}:{column}: trainer.epcohs:" in capsys.readouterr().err
