"""The distributions are released together, and say what they are."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("versions", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


VERSIONS = load(ROOT / "scripts/versions.py")
DISTRIBUTIONS: dict[str, Path] = VERSIONS.distributions()


def project(name: str) -> dict[str, Any]:
    found: dict[str, Any] = tomllib.loads((DISTRIBUTIONS[name] / "pyproject.toml").read_text())["project"]
    return found


def test_versions_and_bounds_agree() -> None:
    assert VERSIONS.problems() == []


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_a_distribution_says_what_it_is(name: str) -> None:
    stated, core = project(name), project("pytext-mtl")
    for key in ("authors", "classifiers", "keywords", "license", "requires-python"):
        assert stated[key] == core[key], f"{key} is not that of the core"
    assert stated["description"] and (DISTRIBUTIONS[name] / stated["readme"]).read_text().strip()
    assert (DISTRIBUTIONS[name] / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()
    [package] = (DISTRIBUTIONS[name] / "src").iterdir()
    assert (package / "py.typed").exists()


def test_all_brings_the_lot() -> None:
    bound = VERSIONS.bounds(project("pytext-mtl")["version"])
    expected = sorted(f"{name}{bound}" for name in DISTRIBUTIONS if name != "pytext-mtl")
    assert project("pytext-mtl")["optional-dependencies"]["all"] == expected


def test_the_command_moves_all_versions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listing = subprocess.run(["git", "ls-files", "*.toml", "*.md", "*.cff"], cwd=ROOT, capture_output=True)
    for name in listing.stdout.decode().splitlines():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    subprocess.run(["git", "init", "-q", "."], cwd=tmp_path, check=True)
    subprocess.run(["git", "add", "."], cwd=tmp_path, check=True)
    monkeypatch.setattr(VERSIONS, "ROOT", tmp_path)
    VERSIONS.set_version("1.4.0rc1")
    assert VERSIONS.problems() == []
    assert set(VERSIONS.versions().values()) == {"1.4.0rc1"}
    assert "pytext-mtl>=1.4,<1.5" in (tmp_path / "README.md").read_text()
    assert "\n## Unreleased\n\n## 1.4.0rc1 (" in (tmp_path / "CHANGELOG.md").read_text()
    assert VERSIONS.set_version("1.4.0rc1") == []
    (tmp_path / "CITATION.cff").write_text("version: 1.0.0\n")
    assert VERSIONS.problems() == ["CITATION.cff is 1.0.0, not 1.4.0rc1"]
