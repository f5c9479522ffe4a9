"""The predictions of a run over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mtl.lazy import lazy_attributes

if TYPE_CHECKING:
    from mtl_serve.application import make_application
    from mtl_serve.limits import Limits

__all__ = ["Limits", "make_application"]

__getattr__, __dir__ = lazy_attributes(
    __name__, {"Limits": "mtl_serve.limits", "make_application": "mtl_serve.application"}
)
