"""Terminals: results go to standard output, everything else to standard error."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TextIO

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from mtl.render.plain import escaped

PLAIN_WIDTH = 120
"""Columns if the output is not a terminal and has no known width."""


class Terminal(Console):
    """A rich console that shows the control characters in a text instead of obeying them."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
        """Yield the segments of a renderable, with control characters escaped."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=escaped(segment.text))


def terminal(stream: TextIO) -> Terminal:
    """Return a rich console for a stream that prints text literally: brackets in a path are not markup."""
    made = Terminal(file=stream, markup=False, highlight=False, emoji=False)
    if not made.is_terminal:
        made.width = max(made.width, PLAIN_WIDTH)
    return made


def output() -> Terminal:
    """Return the terminal for results."""
    return terminal(sys.stdout)


def errors() -> Terminal:
    """Return the terminal for everything else."""
    return terminal(sys.stderr)
