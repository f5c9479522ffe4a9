"""A run and its folder: plan it, train it, load it, and read what it left.

Everything that a tool beside mtl needs is here; the rest of this package is private. Free of torch
until something is used. `docs/runs-api.md` describes each name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mtl.lazy import lazy_attributes

if TYPE_CHECKING:
    from mtl.errors import Interrupted
    from mtl.runs.execution import Result, train
    from mtl.runs.folder import RunFolder
    from mtl.runs.loading import LoadedRun, load
    from mtl.runs.planning import plan
    from mtl.runs.prepare import Prepared, prepare, torch_settings

_LAZY = {
    "Interrupted": "mtl.errors",
    "LoadedRun": "mtl.runs.loading",
    "Prepared": "mtl.runs.prepare",
    "Result": "mtl.runs.execution",
    "RunFolder": "mtl.runs.folder",
    "load": "mtl.runs.loading",
    "plan": "mtl.runs.planning",
    "prepare": "mtl.runs.prepare",
    "torch_settings": "mtl.runs.prepare",
    "train": "mtl.runs.execution",
}

__all__ = [
    "Interrupted",
    "LoadedRun",
    "Prepared",
    "Result",
    "RunFolder",
    "load",
    "plan",
    "prepare",
    "torch_settings",
    "train",
]

__getattr__, __dir__ = lazy_attributes(__name__, _LAZY)
