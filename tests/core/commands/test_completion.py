"""Completion of the command line."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from mtl.commands.cli import build_app
from mtl.commands.completion import SCRIPTS, candidates


@pytest.mark.parametrize(
    ("words", "some", "none"),
    [
        ([""], ["train", "plan", "init", "compare", "plugins"], ["--help"]),
        (["tr"], ["train"], ["plan"]),
        (["train", "--res"], ["--resume"], ["--set"]),
        (["train", ""], [], ["train"]),
        (["plugins", ""], ["show", "new"], []),
        (["plugins", "show", "Doc"], ["DocClassificationTask", "DocNN"], ["LMTask"]),
        (["plugins", "show", "mtl-t"], ["mtl-text"], []),
        (["plugins", "new", "x", "--kind", ""], ["task", "pooling", "command"], []),
        (["train", "c.json", "--device", ""], ["auto", "cpu", "cuda"], []),
        (["data", "fetch", "s"], ["sst2"], []),
        (["init", "c.yaml", "--task", "A=LM"], ["A=LMTask:"], []),
        (["init", "c.yaml", "--task", "A=LMTask:rows"], [], []),
        (["nonsense", ""], ["train"], []),
        (["completion", ""], ["bash", "zsh", "fish"], []),
        (["predict", "no-run", "--task", ""], [], []),
    ],
)
def test_what_a_word_may_be(words: list[str], some: list[str], none: list[str]) -> None:
    found = candidates(get_command(build_app(with_plugins=True)), words)
    assert set(some) <= set(found) and not set(none) & set(found)
    assert some or not found
    assert all(each.startswith(words[-1]) for each in found)


def test_tasks_of_a_run_are_known(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"tasks": {"SST2": {}, "LM": {}}}))
    root = get_command(build_app(with_plugins=True))
    assert candidates(root, ["predict", str(tmp_path), "--task", ""]) == ["LM", "SST2"]


def test_completing_imports_no_torch() -> None:
    code = (
        "import sys; from mtl.commands import main; status = main(sys.argv[1:])\n"
        "heavy = {'torch', 'polars', 'transformers'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else status)"
    )
    for words in (["plugins", "show", "LM"], ["predict", "x", "--task", ""], [""]):
        line = ["completion", "zsh", "--words", "--", *words]
        done = subprocess.run([sys.executable, "-c", code, *line], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("mtl plugins show DocC", ["DocClassificationTask"]),
        ("mtl init c.yaml --task A=LM", ["LMTask:"]),
        ("mtl train --resu", ["--resume"]),
        ("mtl train c", []),
        ("mtl plugins show 'DocC", ["DocClassificationTask"]),
    ],
)
def test_bash_completes(line: str, expected: list[str], tmp_path: Path) -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("there is no bash")
    (tmp_path / "mtl").write_text(f'#!/bin/sh\nexec {sys.executable} -m mtl "$@"\n')
    (tmp_path / "mtl").chmod(0o755)
    script = f"{SCRIPTS['bash']}\ncompopt() {{ :; }}\n" + (
        'COMP_LINE="$1" COMP_POINT=${#1}\n_mtl\n'
        '[ ${#COMPREPLY[@]} -eq 0 ] || printf "%s\\n" "${COMPREPLY[@]}"\n'
    )
    done = subprocess.run(
        [bash, "--norc", "-c", script, "bash", line],
        capture_output=True,
        text=True,
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
    )
    assert (done.stdout.split(), done.stderr) == (expected, "")


@pytest.mark.parametrize("shell", SCRIPTS)
def test_the_script_is_one_of_its_shell(shell: str, invoke: Any, tmp_path: Path) -> None:
    status, out, _ = invoke("completion", shell)
    assert (status, out) == (0, SCRIPTS[shell])
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"there is no {shell}")
    (tmp_path / "script").write_text(out)
    subprocess.run([program, "-n", str(tmp_path / "script")], check=True, capture_output=True)


def test_another_shell_is_refused(invoke: Any) -> None:
    status, _, err = invoke("completion", "tcsh")
    assert status == 2 and "must be bash, zsh or fish, but is `tcsh`" in err
