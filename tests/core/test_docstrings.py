"""Every public name and method says what it does: the reference pages are made of docstrings."""

from __future__ import annotations

import ast
import builtins
import importlib
import inspect
import re
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from types import FunctionType
from typing import Any

import cattrs
import pytest
from torch import nn

import mtl
from mtl.fields import Component
from mtl.plugins import discover

ROOT = Path(__file__).parents[2]
PLACES = ("core", "plugins/*", "pytext_*")
SOURCES = sorted(path for place in PLACES for path in ROOT.glob(f"{place}/src/**/*.py"))
TREES = {path: ast.parse(path.read_text("utf-8")) for path in SOURCES}
NODES = [node for tree in TREES.values() for node in ast.walk(tree)]
CORE = (
    *("mtl", "mtl.runs", "mtl.testing", "mtl.render", "mtl.commands.options"),
    *("mtl.components", "mtl.config"),
)
PLUGINS = sorted({path.parent.name for path in SOURCES if path.parent.parent.name == "src"} - {"mtl"})


def names_in(module: str) -> list[str]:
    """What a module lists as public, or else defines without an underscore."""
    found = importlib.import_module(module)
    listed = getattr(found, "__all__", None)
    own = (name for name, value in vars(found).items() if getattr(value, "__module__", None) == module)
    return list(listed) if listed is not None else [name for name in own if not name.startswith("_")]


def methods(cls: type) -> Iterator[str]:
    """The public methods and properties that a class defines itself."""
    kinds: Any = FunctionType | property | classmethod | staticmethod
    return (
        name for name, value in vars(cls).items() if not name.startswith("_") and isinstance(value, kinds)
    )


def undocumented(name: str, value: Any) -> Iterator[str]:
    """Yield what lacks a docstring whose summary is a sentence."""
    shown = (vars(value).get("__doc__") if inspect.isclass(value) else inspect.getdoc(value)) or ""
    if not is_sentence(shown):
        yield name
    for method in methods(value) if inspect.isclass(value) else ():
        if method == "forward" and issubclass(value, nn.Module):
            # What a module takes and returns is said once, by its class.
            if "[" not in shown and "forward" not in shown and "embedding(" not in shown:
                yield f"{name}.forward: the shapes"
        elif not is_sentence(inspect.getdoc(inspect.getattr_static(value, method))) and not is_sentence(
            inspect.getdoc(getattr(value, method))
        ):
            yield f"{name}.{method}"


def is_sentence(text: str | None) -> bool:
    return text is not None and text.strip().partition("\n\n")[0].endswith((".", ":"))


@cache
def documented_values() -> set[str]:
    """Names of module-level assignments that a docstring follows."""
    found = set()
    for tree in TREES.values():
        for statement, after in pairwise(tree.body):
            targets = getattr(statement, "targets", [getattr(statement, "target", None)])
            text = after.value if isinstance(after, ast.Expr) else None
            if isinstance(text, ast.Constant) and is_sentence(str(text.value)):
                for target in targets:
                    each = target.elts if isinstance(target, ast.Tuple) else [target]
                    found |= {name.id for name in each if isinstance(name, ast.Name)}
    return found


@pytest.mark.parametrize("module", [*CORE, *(name for name in PLUGINS if find_spec(name))])
def test_every_public_name_and_method_has_a_docstring(module: str) -> None:
    missing: list[str] = []
    for name in names_in(module):
        value = getattr(importlib.import_module(module), name)
        if inspect.isclass(value) or isinstance(value, FunctionType):
            missing += undocumented(name, value)
        elif name not in documented_values():
            missing.append(name)
    assert missing == []


def raised(text: str) -> list[str]:
    """The names of exceptions in sentences that say what is raised."""
    sentences = re.findall(r"\bRaises? (.+?)(?:\.(?:\s|$)|$)", text, flags=re.S)
    return [name for each in sentences for name in re.findall(r"`([A-Z][a-z]\w+)`", each)]


def test_errors_that_docstrings_name_exist() -> None:
    known = {node.name for node in NODES if isinstance(node, ast.ClassDef)}
    known |= {alias.name for node in NODES if isinstance(node, ast.ImportFrom) for alias in node.names}
    known |= {name for name in (*dir(builtins), *dir(cattrs)) if name.endswith(("Error", "Exception"))}
    documented = (node for node in NODES if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module))
    texts = [ast.get_docstring(node) or "" for node in documented]
    said = [name for text in texts for name in raised(text)]
    assert len(said) > 100
    assert sorted(set(said) - known) == []
    text = "Return it. Raises `Nope` if `X`, or `Never`.\n\nRaises `Last`."
    assert raised(text) == ["Nope", "Never", "Last"]


def test_methods_of_papers_name_them() -> None:
    balancers = [each for several in discover().available("balancer").values() for each in several]
    texts = {
        each.spec.name: f"{each.load_factory().__doc__} {each.load_config().__doc__}"
        for each in balancers
        if each.distribution == "mtl-balance"
    }
    assert len(texts) > 10
    assert [name for name, text in texts.items() if not re.search(r"\b(19|20)\d\d\b", text)] == []


def test_a_missing_docstring_is_found() -> None:
    class Bare:
        def method(self) -> None: ...

    class Module(nn.Module):
        """A module."""

        def forward(self, inputs: Any) -> Any: ...

    assert list(undocumented("Bare", Bare)) == ["Bare", "Bare.method"]
    assert list(undocumented("Module", Module)) == ["Module.forward: the shapes"]
    assert list(undocumented("train", mtl.train)) == [] and list(undocumented("Component", Component)) == []
