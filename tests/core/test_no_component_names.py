"""The core knows kinds of components, never one of a plugin (H6)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

import mtl
from mtl.plugins import Plugins, discover

CORE = Path(mtl.__file__).parent
FILES = [path for path in CORE.rglob("*") if path.suffix in (".py", ".tmpl", ".css", ".json")]
OWN = "pytext-mtl"


@pytest.fixture(scope="module")
def announced() -> Mapping[str, str]:
    """Who announces each component that only plugins have, and each distribution of a plugin."""
    return dict(of_plugins(discover()))


def of_plugins(plugins: Plugins) -> Iterator[tuple[str, str]]:
    statuses = plugins.statuses
    own = {name for each in statuses if each.distribution == OWN for name in names_of(each.components)}
    for status in statuses:
        if status.distribution != OWN:
            yield status.distribution, status.distribution
            yield from ((name, status.distribution) for name in {*names_of(status.components)} - own)


def names_of(components: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    return (name for names in components.values() for name in names)


def mentions(name: str, text: str) -> bool:
    """Whether a text has a name: an English word or a format (Compare, CSV) in quotes only."""
    named = re.escape(name)
    is_word = name.isalpha() and (name[1:].islower() or name.isupper())
    return bool(re.search(rf"""["'`]{named}["'`]""" if is_word else rf"(?<![\w-]){named}(?![\w-])", text))


def test_it_names_no_component_and_no_distribution_of_a_plugin(announced: Mapping[str, str]) -> None:
    assert {"DocClassificationTask", "LMTask", "word_feat", "BiLSTM", "mtl-text"} <= announced.keys()
    found = [
        f"{path.relative_to(CORE)}: {name} of {distribution}"
        for path in FILES
        for name, distribution in announced.items()
        if mentions(name, path.read_text(encoding="utf-8"))
    ]
    assert len(FILES) > 150 and found == []


@pytest.mark.parametrize(
    ("name", "text", "is_there"),
    [
        ("word_feat", '"features": {"word_feat": {}}', True),
        ("word_feat", "my_word_feat", False),
        ("Compare", "Compare two gradients.", False),
        ("Compare", 'slot("pooling", "Compare")', True),
        ("TSV", "a TSV file", False),
        ("TSV", 'slot("data_source", "TSV")', True),
        ("mtl-text", "needs mtl-text", True),
    ],
)
def test_a_mention_is_found(name: str, text: str, is_there: bool) -> None:
    assert mentions(name, text) == is_there
