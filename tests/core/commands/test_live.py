"""The live display erases what a narrower terminal has wrapped."""

from __future__ import annotations

import io

from rich.console import Console, Group
from rich.text import Text

from mtl.render.live import LiveDisplay


def test_lines_that_wrapped_are_erased() -> None:
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=100, height=30, legacy_windows=False)
    shown = [
        Text("a" * 90, no_wrap=True, overflow="ellipsis"),
        Text("b" * 30, no_wrap=True, overflow="ellipsis"),
    ]
    display = LiveDisplay(console, lambda: Group(*shown))
    display.start(refresh=True)
    try:
        for width, wrapped in ((100, 0), (40, 2), (40, 0), (20, 2), (100, 0)):
            file.truncate(0)
            console.width = width
            display.refresh()
            # A line above the last one, and what has wrapped: 90 letters are three lines of 40, and 39 then
            # are two lines of 20, as 30 are.
            assert file.getvalue().count("\x1b[1A") == 1 + wrapped, width
    finally:
        display.stop()
