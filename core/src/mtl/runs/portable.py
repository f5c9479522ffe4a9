"""The `base_dir` in a run folder, so that a project can be moved with its runs. Free of torch."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def with_portable_base(config: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return a config for `folder`, with a `base_dir` relative to it if both are in the working folder.

    A project can then be moved or copied with its runs.
    """
    base, here = Path(config["base_dir"]), Path.cwd()
    inside = base.is_relative_to(here) and folder.resolve().is_relative_to(here)
    return {**config, "base_dir": os.path.relpath(base, folder.resolve()) if inside else str(base)}


def with_found_base(config: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return a config in `folder` with an absolute `base_dir`.

    A run that was moved within its project finds the data in the nearest folder above it.
    """
    base = config.get("base_dir")
    if not isinstance(base, str) or Path(base).is_absolute() or "\0" in base:
        return dict(config)
    folder = folder.resolve()
    found = (folder / base).resolve()
    if not found.is_dir():
        below = Path(*[part for part in Path(base).parts if part != os.pardir])
        found = next((parent / below for parent in folder.parents if (parent / below).is_dir()), found)
    return {**config, "base_dir": str(found)}
