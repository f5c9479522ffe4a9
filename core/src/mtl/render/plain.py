"""Text made safe to print on a terminal."""

from __future__ import annotations

import re

LONGEST_LINE = 2_000
"""Characters shown of one line of a message; the middle of a longer line is left out."""

_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters, bidirectional overrides and surrogates."""


def escaped(text: str) -> str:
    r"""Return `text` with control characters escaped as in JSON: `\u001b`."""
    return _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def readable(message: str) -> str:
    """Escape a message, and leave out the middle of very long lines."""
    return escaped("\n".join(map(_cut, message.split("\n"))))


def _cut(line: str) -> str:
    left_out = len(line) - LONGEST_LINE
    half = LONGEST_LINE // 2
    return f"{line[:half]} [{left_out:,} characters] {line[-half:]}" if left_out > 0 else line
