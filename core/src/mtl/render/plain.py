"""Text from anywhere, as a terminal may show it."""

from __future__ import annotations

import re

LONGEST_LINE = 2_000
"""Characters that a line of a message shows; the middle of a longer one is left out."""

_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""What a terminal obeys instead of showing it, what turns text around, and what is no character."""


def escaped(text: str) -> str:
    r"""`text` with control characters as in `\u001b`, which is also how JSON writes them."""
    return _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def readable(message: str) -> str:
    """As `escaped`, and with the middle of very long lines left out."""
    return escaped("\n".join(map(_cut, message.split("\n"))))


def _cut(line: str) -> str:
    left_out = len(line) - LONGEST_LINE
    half = LONGEST_LINE // 2
    return f"{line[:half]} [{left_out:,} characters] {line[-half:]}" if left_out > 0 else line
