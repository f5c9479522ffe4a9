"""Writes the sources of the site: `python docs/site/assemble.py FOLDER`.

They are the pages of the repository where they are, so that links between them lead somewhere, a page for
each component made from its config class, and pages of the public API.
"""

from __future__ import annotations

import importlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mtl.catalog import described
from mtl.components import KINDS
from mtl.plugins import Plugins, discover

ROOT = Path(__file__).resolve().parents[2]
KEPT = ("*.md", "*.json", "*.py", "*.svg", "*.png", "LICENSE")
MODULES = {
    "mtl": "The public API: what plugins build on, and training and loading from Python.",
    "mtl.runs": "Runs and their folders, for tools.",
    "mtl.testing": "The kit that tests plugins.",
}
PARTS = {
    "Start": ["README", "docs/tutorial", "docs/configuration", "docs/tasks", "docs/pretrained"],
    "Several tasks": ["docs/mixing", "docs/balancing", "docs/compare", "docs/report", "docs/results"],
    "Runs": [
        "docs/running",
        "docs/runs-api",
        "docs/export",
        "docs/serving",
        "docs/errors",
        "docs/performance",
    ],
    "Coming from": ["docs/from-pytext", "docs/from-allennlp", "docs/from-machamp", "docs/from-trainer"],
    "Plugins": [
        "docs/plugin-guide",
        "docs/plugin-kit",
        "docs/plugin-versions",
        "examples/mtl_tagging/README",
    ],
    "Reference": ["components/index", "api/index", "docs/glossary"],
    "Project": [
        "docs/architecture",
        "docs/data-path",
        "CONTRIBUTING",
        "STYLE",
        "RELEASING",
        "CHANGELOG",
        "SECURITY",
    ],
}


def assemble(folder: Path) -> None:
    """Write all sources into a new folder."""
    shutil.rmtree(folder, ignore_errors=True)
    listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard", *KEPT]
    tracked = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True)
    pages = {f"{page}.md" for pages in PARTS.values() for page in pages}
    for name in tracked.stdout.splitlines():
        is_page = name.endswith(".md")
        if is_page and name not in pages and not name.startswith("docs/") and not _is_linked(name):
            continue
        content = (ROOT / name).read_bytes()
        _write(
            folder / name, _without_folders(content.decode(), (ROOT / name).parent) if is_page else content
        )
    listed = {page for pages in PARTS.values() for page in pages}
    found = [path.relative_to(folder).with_suffix("").as_posix() for path in sorted(folder.rglob("*.md"))]
    rest = [page for page in found if page not in listed]
    _write(folder / "index.md", _index(rest))
    for path, text in (*components(discover()), *api()):
        _write(folder / path, text)
    shutil.copy(Path(__file__).with_name("conf.py"), folder)


def _without_folders(text: str, folder: Path) -> str:
    """Return a page without links to folders, which a site does not show."""

    def shown(link: re.Match[str]) -> str:
        return link[1] if (folder / link[2]).is_dir() else link[0]

    return re.sub(r"\[([^]\n]*)\]\(([^)#\s:]+)\)", shown, text)


def _is_linked(name: str) -> bool:
    return name in ("benchmarks/README.md", "CODE_OF_CONDUCT.md")


def _write(path: Path, content: str | bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def _index(rest: list[str]) -> str:
    parts = {**PARTS, "More": rest} if rest else PARTS
    trees = [_tree(pages, caption, hidden=True) for caption, pages in parts.items()]
    return "# mtl\n\n```{include} README.md\n:start-line: 1\n```\n\n" + "\n".join(trees)


def _tree(pages: list[str], caption: str = "", *, hidden: bool = False) -> str:
    options = "".join([f":caption: {caption}\n" if caption else "", ":hidden:\n" if hidden else ""])
    lines = "\n".join(pages)
    return f"```{{toctree}}\n{options}:maxdepth: 1\n\n{lines}\n```\n"


# --- components -----------------------------------------------------------------------------------------


def components(plugins: Plugins) -> Iterator[tuple[str, str]]:
    """Yield a page for each component, {path: text}, and one for each kind."""
    kinds = []
    for kind, about in KINDS.items():
        names = list(plugins.available(kind))
        if not names:
            continue
        kinds.append(f"{kind}/index")
        heading = about.label[:1].upper() + about.label[1:]
        yield f"components/{kind}/index.md", f"# {heading}\n\n{_tree(names)}"
        for name in names:
            found = [each for each in described(plugins, {}, name)["components"] if each["kind"] == kind]
            yield f"components/{kind}/{name}.md", "\n".join(map(_component, found))
    about_all = "Every installed component, from its config class, as `mtl plugins show NAME` prints it."
    yield "components/index.md", f"# Components\n\n{about_all}\n\n{_tree(kinds)}"


def _component(found: dict[str, Any]) -> str:
    rows = [
        f"| `{each['key']}` | {_cell(_takes(each))} | {_default(each)} | {_cell(each['help'])} |"
        for each in found["keys"]
    ]
    table = ["| key | takes | default | |", "|---|---|---|---|", *rows] if rows else ["It has no settings."]
    label = KINDS[found["kind"]].label
    lines = [
        f"# {found['name']}",
        f"{label[:1].upper()}{label[1:]} of `{found['distribution']}`. {found['summary']}.".replace(
            "..", "."
        ),
        _text(found["help"]),
        "\n".join(table),
    ]
    return "\n\n".join(lines) + "\n"


def _takes(key: dict[str, Any]) -> str:
    limits = "".join(f" {limit}" for limit in key["limits"])
    null = " or null" if key["nullable"] else ""
    declared = "".join(f" with {name} {value}" for name, value in key["accepts"].items())
    return f"{key['type']}{limits}{declared}{null}"


def _default(key: dict[str, Any]) -> str:
    if key["required"]:
        return "required"
    default = key["default"] if isinstance(key["default"], str) else json.dumps(key["default"])
    return "" if default in ("null", "") else f"`{default.replace('|', chr(92) + '|')}`"


def _cell(text: str) -> str:
    return _text(" ".join(text.split())).replace("|", "\\|")


def _text(text: str) -> str:
    """Return a docstring as Markdown: what stands in backticks stays, the rest has no markup."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(
        part if part.startswith("`") else re.sub(r"([\\*_<\[\]])", r"\\\1", part) for part in parts
    )


# --- API ------------------------------------------------------------------------------------------------


def api() -> Iterator[tuple[str, str]]:
    """Yield a page for each public module."""
    yield "api/index.md", f"# Python API\n\n{_tree(list(MODULES))}"
    described: set[str] = set()
    for name, about in MODULES.items():
        public = set(importlib.import_module(name).__all__)
        before = ", ".join(f"`{each}`" for each in sorted(public & described))
        also = f"\n\nAlso here, and described at [mtl](mtl.md): {before}." if before else ""
        directive = f".. automodule:: {name}\n   :members: {', '.join(sorted(public - described))}\n"
        described |= public
        options = "   :imported-members:\n"
        yield f"api/{name}.md", f"# {name}\n\n{about}{also}\n\n```{{eval-rst}}\n{directive}{options}```\n"


if __name__ == "__main__":
    assemble(Path(sys.argv[1]))
