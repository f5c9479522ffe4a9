"""The public API of runs: complete, documented, light to import, and enough for a third party's tool."""

from __future__ import annotations

import ast
import copy
import importlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from documents import ROOT

import mtl
import mtl.render
import mtl.runs
from mtl.plugins import Plugins

PUBLIC = ("mtl", "mtl.runs", "mtl.render", "mtl.commands.options", "mtl.testing")
ACME = Path(__file__).parent / "acme_seeds/src"


@pytest.mark.parametrize("package", [mtl, mtl.runs, mtl.render])
def test_every_public_name_is_there_and_listed(package: Any) -> None:
    assert list(package.__all__) == sorted(set(package.__all__), key=package.__all__.index)
    for name in package.__all__:
        assert name in dir(package)
        assert not isinstance(getattr(package, name), type(sys)), f"{name} is a module"
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        package.nothing  # noqa: B018


def test_train_plan_and_load_are_functions_even_after_their_modules_are_imported() -> None:
    for name in mtl.runs.__all__:
        value = getattr(mtl.runs, name)
        module = getattr(value, "__module__", None)
        if module:
            importlib.import_module(module)
        assert getattr(mtl.runs, name) is value
    assert callable(mtl.plan) and callable(mtl.train) and callable(mtl.load)
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", mtl.__version__)


def test_every_public_name_is_documented() -> None:
    text = (ROOT / "docs/runs-api.md").read_text()
    documented = set(re.findall(r"`(\w+)(?:\([^`]*\))?`", text))
    assert set(mtl.runs.__all__) - documented == set()
    assert set(mtl.render.__all__) - documented == set()


def test_documented_signatures_are_the_real_ones() -> None:
    import inspect

    text = (ROOT / "docs/runs-api.md").read_text()
    for name, arguments in re.findall(r"^\| `(\w+)\(([^`]*)\)`", text, re.MULTILINE):
        value = getattr(mtl.runs, name)
        real = inspect.signature(value).parameters
        for argument in re.findall(r"(\w+)(?:=[^,]*)?(?:, |$)", arguments):
            assert argument in real, f"{name} takes no {argument}"


def test_importing_it_imports_no_torch() -> None:
    script = (
        "import sys, mtl, mtl.runs, mtl.render; print([n for n in ('torch', 'polars') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_the_third_party_imports_public_modules_only() -> None:
    found = set()
    for path in ACME.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "mtl":
                found.add(node.module)
            elif isinstance(node, ast.Import):
                found |= {name.name for name in node.names if name.name.split(".")[0] == "mtl"}
    assert found and found <= set(PUBLIC)


@pytest.mark.slow
def test_a_third_partys_comparison_runs_on_the_public_api(
    tiny: dict[str, Any], tmp_path: Path, plugins: Plugins, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ACME))
    from acme_seeds.command import compare  # type: ignore[import-not-found]

    loaded = mtl.runs.load_config(copy.deepcopy(tiny), plugins=plugins)
    report = compare(loaded, plugins, tmp_path / "seeds", 2)
    assert set(report) == set(tiny["tasks"])
    for task in report.values():
        assert all(len(losses) == len(task["losses"][0]) for losses in task["losses"])
        assert set(task["texts"]) == set(task["differ"][:3])
    assert json.dumps(report) == json.dumps(compare(loaded, plugins, tmp_path / "seeds", 2))
