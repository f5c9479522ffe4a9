"""What people read on a terminal. The names exported here are for commands of plugins, too."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mtl.lazy import lazy_attributes

if TYPE_CHECKING:
    from mtl.render.cells import (
        ABSENT,
        count,
        decimals,
        difference,
        duration,
        is_plain,
        message,
        number,
        rate,
        section,
        share,
        size,
        table,
        with_deviation,
    )
    from mtl.render.export import Latex, csv_table, latex, latex_table
    from mtl.render.live import LiveDisplay
    from mtl.render.plain import escaped
    from mtl.render.terminal import errors, output

_CELLS = (
    "ABSENT count decimals difference duration is_plain message number rate section share size table"
    " with_deviation"
).split()
_LAZY = {
    **dict.fromkeys("Latex csv_table latex latex_table".split(), "mtl.render.export"),
    "LiveDisplay": "mtl.render.live",
    **dict.fromkeys(_CELLS, "mtl.render.cells"),
    "errors": "mtl.render.terminal",
    "escaped": "mtl.render.plain",
    "output": "mtl.render.terminal",
}

__all__ = [
    "ABSENT",
    "Latex",
    "LiveDisplay",
    "count",
    "csv_table",
    "decimals",
    "difference",
    "duration",
    "errors",
    "escaped",
    "is_plain",
    "latex",
    "latex_table",
    "message",
    "number",
    "output",
    "rate",
    "section",
    "share",
    "size",
    "table",
    "with_deviation",
]

__getattr__, __dir__ = lazy_attributes(__name__, _LAZY)
