"""Commands in a locale that is not Unicode, and help that ends its sentences."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mtl.commands.options import print_json

C_LOCALE = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def test_no_message_is_lost_in_the_c_locale(tmp_path: Path) -> None:
    line = [sys.executable, "-m", "mtl", "config", "validate", "caf\u00e9.json"]
    done = subprocess.run(line, capture_output=True, cwd=tmp_path, env=os.environ | C_LOCALE, timeout=60)
    assert done.returncode == 2, done.stderr
    assert b"there is no such file" in done.stderr and b"Traceback" not in done.stderr


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_json_is_json_in_any_encoding(encoding: str) -> None:
    buffer = io.BytesIO()
    value = {"text": "caf\u00e9 \u96ea \U0001f600"}
    with io.TextIOWrapper(buffer, encoding=encoding, errors="backslashreplace") as file:
        print_json(value, file=file)
        file.flush()
        assert json.loads(buffer.getvalue().decode(encoding)) == value


@pytest.mark.parametrize("columns", ["60", "80", "200"])
def test_help_cuts_no_sentence(columns: str, invoke: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    for group in ((), ("config",), ("plugins",), ("data",)):
        status, out, _ = invoke(*group, "--help")
        assert status == 0 and "..." not in out.replace("[ARGS]...", "").replace("[ARGS]…", "")
