"""Listing, helping and validating import no torch (principle 7 of the design)."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("torch", "polars", "pooch", "torchmetrics")
COMMANDS = (
    "--help",
    "--version",
    "train --help",
    "init --help",
    "completion bash",
    "plugins",
    "plugins --json",
    "plugins show RoundRobin",
    "plugins show LMTask --json",
    "runs {folder}",
    "runs {folder} --sort metric --csv",
    "config validate {config}",
    "config show {config}",
    "config schema",
    "config validate {broken}",
    "train {broken}",
    "plan {broken}",
    "trian",
)


@pytest.mark.parametrize("command", COMMANDS)
def test_no_torch(command: str, tmp_path: Path) -> None:
    config, broken = tmp_path / "good.json", tmp_path / "broken.json"
    (tmp_path / "train.txt").write_text("a b\n")
    task = {"LMTask": {"data": {"train_path": "train.txt"}}}
    config.write_text(json.dumps({"tasks": {"LM": task}}))
    broken.write_text(json.dumps({"tasks": {"LM": {"LMTsk": {}}}, "trainer": {"epochs": "3"}}))
    script = (
        "import sys\n"
        "from mtl.commands import main\n"
        "status = main(sys.argv[1:])\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)\n"
        "sys.exit(status)\n"
    )
    line = command.format(config=config, broken=broken, folder=tmp_path).split()
    done = subprocess.run([sys.executable, "-c", script, *line], capture_output=True, text=True, timeout=60)
    assert done.returncode == (2 if line[-1] in ("trian", str(broken)) else 0), done.stderr
    assert done.stderr.splitlines()[-1] == "[]"
