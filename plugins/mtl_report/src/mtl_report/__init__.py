"""A run or a comparison of mtl as one HTML file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mtl_report.report import write_report

__all__ = ["write_report"]


def __getattr__(name: str) -> Any:
    if name != "write_report":
        raise AttributeError(f"module 'mtl_report' has no attribute {name!r}")
    from mtl_report.report import write_report

    return write_report
