"""What the plugin guide promises: the longer walk from an empty folder, and a reference that is whole."""

from __future__ import annotations

import ast
import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType

import attrs
import pytest
from documents import ROOT, Block, blocks, run, run_all, write_files
from packaging.specifiers import SpecifierSet

from mtl.components import (
    KINDS,
    Balancer,
    Dataset,
    DataSource,
    Featurizer,
    Metrics,
    Schedule,
    Task,
    TokenFeaturizer,
)
from mtl.scaffold import render_plugin

GUIDE = "docs/plugin-guide.md"
WALK = "The longer walk: word tagging"
EXAMPLE = ROOT / "examples/mtl_tagging"
MOST_LINES = 60


def section(heading: str) -> str:
    """The text below a heading of the guide."""
    text = (ROOT / GUIDE).read_text()
    return re.split(r"^## ", text.partition(f"\n## {heading}\n")[2], maxsplit=1, flags=re.M)[0]


def of_the_walk(block: Block) -> bool:
    return block.heading == WALK


def authors_lines() -> list[str]:
    """The lines that the walk has its reader write: what its patches add, and code in files of its own."""
    written = []
    for block in filter(of_the_walk, blocks(GUIDE)):
        if block.language == "diff":
            lines = block.text.splitlines()
            written += [line[1:] for line in lines if line.startswith("+") and not line.startswith("+++")]
        elif block.language == "python":
            written += block.text.splitlines()
    return [line for line in written if line.strip()]


def test_the_walk_takes_at_most_sixty_lines_of_its_authors_code() -> None:
    count = len(authors_lines())
    assert 20 < count <= MOST_LINES
    assert f"counts the lines that you write: {count} of Python" in " ".join(section(WALK).split())


@pytest.mark.slow
def test_a_task_is_scaffolded_edited_and_trained_with_an_installed_one(tmp_path: Path) -> None:
    write_files(GUIDE, tmp_path, of_the_walk)
    assert all(path.parent == tmp_path for path in tmp_path.rglob("*"))  # nothing of a plugin yet
    printed = run_all(GUIDE, tmp_path, of_the_walk)
    assert "all checks passed" in printed  # `mtl plugins check`
    [answer] = [json.loads(line) for line in printed.splitlines() if line.startswith('{"tags"')]
    assert answer == {"tags": ["PER", "O", "PER", "O", "LOC"]}
    result = json.loads((tmp_path / "runs/tags/result.json").read_text())
    assert result["best"]["metric"] == "Tags.accuracy" and result["best"]["value"] > 0.9
    steps = {task: facts["steps"] for task, facts in result["tasks"].items()}
    assert set(steps) == {"Tags", "LM"} and all(steps.values())

    config = json.loads((tmp_path / "joint-tags.json").read_text())
    config["tasks"]["Tags"]["WordTagsTask"]["representation"] = "DocNN"
    (tmp_path / "wrong.json").write_text(json.dumps(config))
    refused = run("mtl config validate wrong.json", tmp_path)
    assert refused.returncode == 2 and "tasks.Tags.WordTagsTask.representation" in refused.stderr
    clean = run("cd word-tags && ruff check . && ruff format --check .", tmp_path)
    assert clean.returncode == 0, clean.stdout


def code_lines(path: Path) -> int:
    """Lines of a module without comments, docstrings, imports and blank lines, each statement's in the
    form that `ast.unparse` gives."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(getattr(node, "body", None), list):
            node.body = [each for each in node.body if not _is_bare(each)] or [ast.Pass()]  # type: ignore[attr-defined]
    return sum(1 for line in ast.unparse(tree).splitlines() if line.strip())


def _is_bare(node: ast.stmt) -> bool:
    is_text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    return is_text or isinstance(node, ast.Import | ast.ImportFrom)


def test_the_example_is_as_long_as_the_guide_says() -> None:
    said = dict(re.findall(r"^\| `(\w+\.py)` \| (\d+) \|", section(WALK), flags=re.M))
    source = EXAMPLE / "src/mtl_tagging"
    assert said == {name: str(code_lines(source / name)) for name in said}
    assert set(said) == {path.name for path in source.glob("*.py")} - {"__init__.py", "plugin.py"}


def test_the_example_began_with_the_scaffold() -> None:
    rendered = render_plugin("mtl-tagging-of-words", "task")
    for path in ("tests/test_plugin.py", "LICENSE", ".github/workflows/test.yml", "tests/conftest.py"):
        expected = rendered[path].replace("mtl-tagging-of-words", "mtl-tagging")
        assert (EXAMPLE / path).read_text() == expected, path


# --- several versions of mtl -------------------------------------------------------------------------


def matrix(workflow: str) -> list[str]:
    [row] = re.findall(r"^ +mtl: (\[.*?\])", workflow, flags=re.M)
    versions: list[str] = json.loads(row)
    return versions


def test_the_guide_the_scaffold_and_the_example_have_one_ci_file() -> None:
    [shown] = [block.text for block in blocks(GUIDE) if block.file == ".github/workflows/test.yml"]
    assert shown == render_plugin("stars", "task")[".github/workflows/test.yml"]
    assert shown == (EXAMPLE / ".github/workflows/test.yml").read_text()
    assert "pip install -e '.[test]' 'pytext-mtl==${{ matrix.mtl }}.*'" in shown


def test_the_matrix_has_each_version_that_the_dependencies_admit() -> None:
    rendered = render_plugin("stars", "task")
    [bounds] = re.findall(r'"pytext-mtl([<>=.,\d]+)"', rendered["pyproject.toml"])
    series = [f"0.{minor}" for minor in range(20)]
    admitted = [each for each in series if SpecifierSet(bounds).contains(f"{each}.0")]
    assert matrix(rendered[".github/workflows/test.yml"]) == admitted


# --- reference ---------------------------------------------------------------------------------------


def declarations(cls: type) -> Iterator[str]:
    """What a class declares: its own properties and methods, and class attributes that are no settings."""
    for base in cls.__mro__[:-1]:
        fields = {field.name for field in attrs.fields(base)} if attrs.has(base) else set()
        for name, value in vars(base).items():
            if not name.startswith("_") and name not in fields and isinstance(value, property | FunctionType):
                yield name
        for name, hint in inspect.get_annotations(base).items():
            if str(hint).startswith("ClassVar") and not name.startswith("_"):
                yield name


@pytest.mark.parametrize(
    "base", [Task, Featurizer, TokenFeaturizer, Metrics, DataSource, Dataset, Schedule, Balancer]
)
def test_the_guide_names_what_a_component_may_override(base: type) -> None:
    guide = (ROOT / GUIDE).read_text()
    members = (name for name, value in vars(base).items() if isinstance(value, FunctionType | property))
    missing = [
        name
        for name in members
        if not name.startswith("_") and not re.search(rf"`{name}\b|def {name}\(", guide)
    ]
    assert missing == []


@pytest.mark.parametrize("kind", [name for name, kind in KINDS.items() if kind.config is not object])
def test_the_guide_has_every_declaration(kind: str) -> None:
    rows = re.findall(r"^\| ([a-z -]+) \| `(\w+)", section("Declarations"), flags=re.M)
    said = {name for of, name in rows if of.replace("learning-rate", "lr").replace(" ", "_") == kind}
    assert said == set(declarations(KINDS[kind].config))
