"""A live display that survives a terminal which is made narrower."""

from __future__ import annotations

from collections.abc import Callable

from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderableType, RenderResult
from rich.control import Control
from rich.live import Live
from rich.segment import ControlType, Segment


class LiveDisplay(Live):
    """A transient display of the lines that `show` returns, drawn anew a few times a second.

    Terminals wrap the lines that they show when they become narrower. Rich erases as many lines as it has
    drawn; this display erases as many as there are by now.
    """

    def __init__(self, console: Console, show: Callable[[], RenderableType]) -> None:
        self._show, self._widths = show, list[int]()
        super().__init__(
            console=console, get_renderable=lambda: _Lines(self), refresh_per_second=5, transient=True
        )

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        """Erase what wrapped, too, before rich erases the lines that it has drawn."""
        width = max(self.console.width, 1)
        wrapped = sum(-(-each // width) - 1 for each in self._widths if each > width)
        processed = super().process_renderables(renderables)
        if not wrapped or not self.console.is_interactive:
            return processed
        up = ((ControlType.CURSOR_UP, 1), (ControlType.ERASE_IN_LINE, 2))
        return [
            Control(ControlType.CARRIAGE_RETURN, (ControlType.ERASE_IN_LINE, 2), *up * wrapped),
            *processed,
        ]


class _Lines:
    """The lines of a display, whose widths it notes."""

    def __init__(self, display: LiveDisplay) -> None:
        self._display = display

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        display = self._display
        lines = console.render_lines(display._show(), options, pad=False)
        display._widths = [Segment.get_line_length(line) for line in lines]
        for line in lines:
            yield from line
            yield Segment.line()
