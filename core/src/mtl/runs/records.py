"""The lines of metrics.jsonl, read with care: a run may have been cut off."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mtl.errors import UsageError

_PLACE = {"kind": str, "step": int, "task": str}


def read_records(path: Path) -> tuple[list[dict[str, Any]], bool]:
    """Return the records of a metrics.jsonl, and whether its last line is cut off.

    Each record has a `kind`, a `step` and a `task`; lines without them are left out. A missing file has
    no records. Raises `UsageError` with the line of what is not JSON or has the wrong type.
    """
    if not path.exists():
        return [], False
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from None
    return list(_records(path, lines[:-1])), bool(lines[-1])


def _records(path: Path, lines: Sequence[bytes]) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(lines, start=1):
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            raise UsageError(f"{path}:{number}: must be a JSON object, but is not JSON") from None
        if not isinstance(record, dict):
            raise UsageError(f"{path}:{number}: must be a JSON object, but is `{str(record)[:40]}`")
        for name, kind in _PLACE.items():
            if name in record and (not isinstance(record[name], kind) or isinstance(record[name], bool)):
                what = "an integer" if kind is int else "a text"
                raise UsageError(f"{path}:{number}: `{name}` must be {what}, but is `{record[name]!r:.40}`")
        if record.keys() >= _PLACE.keys():
            yield record
