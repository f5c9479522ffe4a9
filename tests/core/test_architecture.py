"""How the core is built: no import circle (H4), one place for each idea (H3), one Trainer (H8)."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Set
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import mtl

CORE = Path(mtl.__file__).parent
TRAINER = CORE / "training/trainer.py"


def module_of(path: Path) -> str:
    name = ".".join(path.relative_to(CORE.parent).with_suffix("").parts)
    return name.removesuffix(".__init__")


TREES = {module_of(path): ast.parse(path.read_text("utf-8")) for path in CORE.rglob("*.py")}


def imported(node: ast.AST) -> Iterator[str]:
    """Yield the names that an import names, within functions as well, but not for type checkers only."""
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
        return
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    if isinstance(node, ast.ImportFrom) and node.module:
        yield from (f"{node.module}.{alias.name}" for alias in node.names)
    for inner in ast.iter_child_nodes(node):
        yield from imported(inner)


def imports(modules: Mapping[str, ast.Module]) -> dict[str, Set[str]]:
    """Which modules each module imports."""

    def known(name: str) -> str:
        return name if name in modules else name.rpartition(".")[0]

    return {
        module: {known(name) for name in imported(tree)} & (modules.keys() - {module})
        for module, tree in modules.items()
    }


def test_h4_no_import_circle_within_functions_either() -> None:
    TopologicalSorter(imports(TREES)).prepare()
    circle = {"a": ast.parse("def f():\n    import b"), "b": ast.parse("from a import f")}
    with pytest.raises(CycleError):
        TopologicalSorter(imports(circle)).prepare()


@pytest.mark.parametrize(
    ("function", "module"),
    [
        ("get_type_hints", "mtl.fields"),
        ("get_close_matches", "mtl.suggest"),
        ("hashlib.file_digest", "mtl.files"),
        ("component.spec.load_factory", "mtl.components.instantiate"),
    ],
)
def test_h3_one_place_does_it(function: str, module: str) -> None:
    calls = {
        name
        for name, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(function)
    }
    assert calls == {module}


def test_h8_the_trainer_is_one_file_and_uses_each_of_its_fields() -> None:
    assert len(TRAINER.read_text().splitlines()) < 400
    [trainer] = [
        node
        for node in ast.walk(ast.parse(TRAINER.read_text()))
        if isinstance(node, ast.ClassDef) and node.name == "Trainer"
    ]
    fields = {
        node.target.id
        for node in trainer.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }
    passed_on = {
        id(argument)
        for call in ast.walk(trainer)
        if isinstance(call, ast.Call) and ast.unparse(call.func).rpartition(".")[2][:1].isupper()
        for argument in call.args
    }
    used = {
        node.attr
        for node in ast.walk(trainer)
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "self" and id(node) not in passed_on
    }
    assert {"config", "model", "state", "balancer"} <= fields and fields - used == set()
