"""The workflows run what a laptop runs: each command is a target of the Makefile."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
MAKEFILE = (ROOT / "Makefile").read_text()
TARGETS = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))


def jobs(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = YAML(typ="safe", pure=True).load(path.read_text())
    found: dict[str, Any] = loaded["jobs"]
    return found


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_each_command_is_a_target_of_the_makefile(path: Path) -> None:
    commands = [step["run"] for job in jobs(path).values() for step in job["steps"] if "run" in step]
    assert commands
    for command in commands:
        match = re.fullmatch(r"make ([a-z-]+)", command)
        assert match and match[1] in TARGETS, command


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_may_only_read(path: Path) -> None:
    loaded = YAML(typ="safe", pure=True).load(path.read_text())
    assert loaded["permissions"] == {"contents": "read"}
    asked = {name: job["permissions"] for name, job in loaded["jobs"].items() if "permissions" in job}
    assert asked in ({}, {"upload": {"id-token": "write"}})
    assert "secrets." not in path.read_text()


def test_every_python_that_is_supported_is_tested() -> None:
    tested = jobs(ROOT / ".github/workflows/ci.yml")["test"]["strategy"]["matrix"]["python-version"]
    project = tomllib.loads((ROOT / "core/pyproject.toml").read_text())["project"]
    stated = [each.rpartition(" ")[2] for each in project["classifiers"] if re.search(r":: 3\.\d+$", each)]
    assert tested == stated
    assert project["requires-python"] == f">={tested[0]}"


def test_the_oldest_torch_that_is_tested_is_the_oldest_that_is_supported() -> None:
    needs = tomllib.loads((ROOT / "core/pyproject.toml").read_text())["project"]["dependencies"]
    oldest = next(each for each in needs if each.startswith("torch>=")).removeprefix("torch>=")
    assert re.search(rf"^OLDEST := .*\btorch=={re.escape(oldest)}\.", MAKEFILE, re.MULTILINE)


def test_phony_targets_are_all_that_are_documented() -> None:
    phony = re.search(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)
    documented = set(re.findall(r"^([a-z-]+):.*##", MAKEFILE, re.MULTILINE))
    assert phony and set(phony[1].split()) == documented
