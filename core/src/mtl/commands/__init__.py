"""The command line `mtl`: one file a command, each thin; what a command needs is imported when it runs."""

from mtl.commands.cli import main

__all__ = ["main"]
