"""Sphinx's settings. `make docs` runs it over the folder that `assemble.py` writes."""

import importlib
import re
from importlib.metadata import version as installed
from typing import Any

project = "mtl"
author = copyright = "The mtl authors"
version = release = installed("pytext-mtl")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
# No sphinx.ext.intersphinx: it would fetch torch's inventory, and the site builds offline.
myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence"]
suppress_warnings = ["myst.header"]  # `## Unreleased` may be followed by a smaller heading
root_doc = "index"
exclude_patterns = ["docs/site"]

default_role = "code"
autodoc_member_order = "groupwise"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
napoleon_google_docstring = True

html_theme = "furo"
html_title = f"mtl {version}"
html_show_sphinx = False
html_copy_source = False
pygments_style = "friendly"

for module in map(importlib.import_module, ("mtl", "mtl.runs", "mtl.testing")):
    for name in module.__all__:  # some are imported when first used, which autodoc does not do
        setattr(module, name, getattr(module, name))


def setup(app: Any) -> None:
    """Read the docstrings' `code` as such, also where a letter follows: `Problem`s."""
    app.connect("autodoc-process-docstring", _code, priority=400)  # before napoleon looks for colons


def _code(app: Any, what: str, name: str, about: Any, options: Any, lines: list[str]) -> None:
    text = re.sub(r"(?<!`)`([^`]+)`(?!`)(?=(\w)?)", _literal, "\n".join(lines))
    lines[:] = text.split("\n")


def _literal(code: re.Match[str]) -> str:
    return f"``{code[1]}``" + ("\\ " if code[2] else "")
