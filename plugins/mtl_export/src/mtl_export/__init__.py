"""One task of a run for use elsewhere: as a torch.export program, as ONNX, or as a folder of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mtl.lazy import lazy_attributes

if TYPE_CHECKING:
    from mtl_export.exported import Exported, export

__all__ = ["Exported", "export"]

__getattr__, __dir__ = lazy_attributes(
    __name__, {"Exported": "mtl_export.exported", "export": "mtl_export.exported"}
)
