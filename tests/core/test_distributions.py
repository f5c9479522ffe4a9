"""What is told about a distribution without parsing it, against what `importlib.metadata` parses."""

from __future__ import annotations

from importlib.metadata import Distribution, PathDistribution, distributions
from pathlib import Path

import pytest

from mtl.distributions import name_and_version

HEAD = "Metadata-Version: 2.4\nName: some-thing\nVersion: 1.2.dev3+local\nSummary: what\n"


def made(folder: Path, text: str | None, name: str = "METADATA") -> Distribution:
    folder.mkdir()
    if text is not None:
        (folder / name).write_bytes(text.encode())
    return PathDistribution(folder)


def test_all_that_is_installed_has_the_name_and_version_that_are_parsed() -> None:
    installed = list(distributions())
    assert len(installed) > 10
    for distribution in installed:
        assert name_and_version(distribution) == (distribution.metadata["Name"], distribution.version)


@pytest.mark.parametrize(
    "text",
    [HEAD, HEAD.replace("\n", "\r\n"), f"{HEAD}\nName: other\nVersion: 9\n", HEAD.replace(": ", ":\t")],
    ids=["plain", "CR LF", "a description that looks like a head", "tabs"],
)
def test_only_the_head_counts(tmp_path: Path, text: str) -> None:
    assert name_and_version(made(tmp_path / "a.dist-info", text)) == ("some-thing", "1.2.dev3+local")


def test_an_egg_has_its_metadata_elsewhere(tmp_path: Path) -> None:
    egg = made(tmp_path / "a.egg-info", HEAD, "PKG-INFO")
    assert name_and_version(egg) == ("some-thing", "1.2.dev3+local")


@pytest.mark.parametrize("text", [None, "", "\0", "Summary: Name\n"])
def test_omitted_values_are_empty(tmp_path: Path, text: str | None) -> None:
    assert name_and_version(made(tmp_path / "a.dist-info", text)) == ("", "")
