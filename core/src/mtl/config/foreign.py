"""Configs of other programs, by the readers of plugins."""

from __future__ import annotations

import copy
from typing import Any

from mtl.components import ConfigReader
from mtl.config.document import Document
from mtl.errors import Problem, component_errors
from mtl.plugins import Plugins


def foreign_config(document: Document, plugins: Plugins) -> ConfigReader | None:
    """Return the reader of the program that a config was written for; None for one of mtl's own.

    Raises `ComponentError` if a reader raises, `PluginError` if it cannot be imported.
    """
    for reader in plugins.config_readers:
        detects = reader.load_detects()
        with component_errors(detects, f"to tell whether {document.source} is a config of {reader.name}"):
            if detects(copy.deepcopy(document.value)):
                return reader
    return None


def converted(document: Document, reader: ConfigReader) -> tuple[dict[str, Any], list[Problem]]:
    """Return a foreign config as mtl's, and notes on what became of each part of it.

    Raises `ComponentError` if the reader raises, `PluginError` if it cannot be imported.
    """
    converts = reader.load_converts()
    with component_errors(converts, f"to convert {document.source}"):
        value, notes = converts(document)
        return dict(value), list(notes)
