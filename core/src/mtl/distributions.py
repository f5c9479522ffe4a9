"""Names and versions of installed distributions, read without parsing all of their metadata."""

from __future__ import annotations

import re
from importlib.metadata import Distribution, version

__version__ = version("pytext-mtl")
"""The installed version of mtl."""

_FIELD = re.compile(r"^(Name|Version):[ \t]*(\S+)", re.MULTILINE)


def name_and_version(distribution: Distribution) -> tuple[str, str]:
    """Return a distribution's name and version, empty if its metadata does not have them.

    `importlib.metadata` parses all metadata, the long description included, for each of them: for a usual
    environment that takes longer than everything else before a command starts.
    """
    text = distribution.read_text("METADATA") or distribution.read_text("PKG-INFO") or ""
    head = re.split(r"\r?\n\r?\n", text, maxsplit=1)[0]
    said = dict(_FIELD.findall(head))
    return said.get("Name", ""), said.get("Version", "")
