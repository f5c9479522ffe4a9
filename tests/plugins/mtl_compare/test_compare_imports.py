"""A wrong config is refused before anything heavy is imported."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("torch", "polars", "numpy", "scipy")


@pytest.mark.parametrize("words", [["--help"], ["{broken}"], ["{broken}", "--seeds", "0"]])
def test_compare_imports_late(words: list[str], tmp_path: Path) -> None:
    broken = tmp_path / "broken.json"
    broken.write_text(json.dumps({"tasks": {"LM": {"LMTsk": {}}}}))
    script = (
        "import sys\n"
        "from mtl.commands import main\n"
        "status = main(['compare', *sys.argv[1:]])\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)\n"
        "sys.exit(status)\n"
    )
    line = [word.format(broken=broken) for word in words]
    done = subprocess.run([sys.executable, "-c", script, *line], capture_output=True, text=True, timeout=60)
    assert done.returncode == (0 if words == ["--help"] else 2), done.stderr
    assert done.stderr.splitlines()[-1] == "[]"
