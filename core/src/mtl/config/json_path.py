"""Paths in a JSON document: `("tasks", "SST2", 0)`, written `tasks.SST2[0]`."""

from __future__ import annotations

import json
import re

JSONPath = tuple[str | int, ...]
"""Keys of objects and indices of lists, from the outside in."""

_PLAIN = r"[^.\[\]\"\s=\x00-\x1f\x7f]+"
_PART = re.compile(
    rf'(?P<dot>\.)?(?P<name>{_PLAIN})|\[(?P<index>0|[1-9]\d{{0,8}})\]|\[(?P<quoted>"(?:[^"\\]|\\.)*")\]'
)


def render_path(path: JSONPath) -> str:
    """Return `tasks.SST2[0]`; a key that would not parse back is written `["very odd"]`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif re.fullmatch(_PLAIN, part):
            text += f".{part}" if text else part
        else:
            text += f"[{json.dumps(part, ensure_ascii=False)}]"
    return text


def parse_path(text: str) -> JSONPath:
    """Parse what `render_path` returns. Raises `ValueError` for anything else."""
    path: list[str | int] = []
    offset = 0
    while offset < len(text):
        part = _PART.match(text, offset)
        if part is None or (part["name"] and bool(part["dot"]) != bool(path)):
            raise ValueError(f"`{text}` is not a path")
        if part["name"]:
            path.append(part["name"])
        else:
            path.append(int(part["index"]) if part["index"] else json.loads(part["quoted"]))
        offset = part.end()
    if not path:
        raise ValueError("the path is empty")
    return tuple(path)
