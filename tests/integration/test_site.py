"""The sources of the documentation site; `make docs` builds it and takes a warning for an error."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest
from documents import ROOT

import mtl
from mtl.components import KINDS
from mtl.fields import fields_of
from mtl.plugins import Plugins


@pytest.fixture(scope="module")
def assembler() -> ModuleType:
    spec = importlib.util.spec_from_file_location("assemble", ROOT / "docs/site/assemble.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_page_of_the_repository_is_in_the_site(assembler: ModuleType, tmp_path: Path) -> None:
    assembler.assemble(tmp_path / "site")
    for path in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        name = path.relative_to(ROOT)
        assert (tmp_path / "site" / name).exists()
        assert f"\n{name.with_suffix('')}\n" in (tmp_path / "site/index.md").read_text()


def test_every_component_has_a_page_with_its_keys(assembler: ModuleType, plugins: Plugins) -> None:
    pages = dict(assembler.components(plugins))
    for kind in KINDS:
        for name, provided in plugins.available(kind).items():
            page = pages[f"components/{kind}/{name}.md"]
            assert f"\n{name}\n" in pages[f"components/{kind}/index.md"]
            for field in fields_of(provided[0].load_config()).values():
                assert field.inline or field.item or f"| `{field.name}` |" in page
            assert "'at least" not in page and "\\[\\]`" not in page


def test_the_public_api_has_a_page(assembler: ModuleType) -> None:
    pages = dict(assembler.api())
    assert all(name in pages["api/mtl.md"] for name in mtl.__all__)


def test_the_figures_of_the_readme_are_those_of_the_pages() -> None:
    section = (ROOT / "README.md").read_text().split("\n## Measured\n")[1].split("\n## ")[0]
    pages = "".join((ROOT / f"docs/{name}.md").read_text() for name in ("performance", "results"))
    figures = re.findall(r"\d+\.\d+(?: ± \d+\.\d+)?", section)
    assert len(figures) >= 8
    assert [figure for figure in figures if not re.search(rf"(?<![\d.]){figure}(?![\d.]*\d)", pages)] == []
