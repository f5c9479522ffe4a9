"""`migrated`: a config as it is written today, from an older one or from one of PyText's."""

from __future__ import annotations

import json
from pathlib import Path

from attrs import frozen

from mtl.config import document as documents
from mtl.config import pytext
from mtl.config.document import Document
from mtl.config.load import load_config
from mtl.config.reader import Reader
from mtl.config.values import Converter
from mtl.errors import ConfigError, Problem
from mtl.plugins import Plugins


@frozen
class Migrated:
    """A config of today, as JSON text, and what was changed for it, each at its place in the old one."""

    text: str
    notes: tuple[str, ...]
    plugins: Plugins

    def check(self, name: str) -> None:
        """Raise `ConfigError`, with places in the new text, for what is still wrong with it. The files
        that it names need not exist."""
        try:
            load_config(self.text, plugins=self.plugins, check_paths=False)
        except ConfigError as error:
            raise ConfigError(error.problems, "the result" if name == "-" else name) from None


def migrated(source: str | Path, *, plugins: Plugins) -> Migrated:
    """The config in a file (a `Path`) or in JSON text, brought up to date.

    Raises `ConfigError` where it is not JSON, or cannot be brought up to date.
    """
    document = documents.read(source) if isinstance(source, Path) else documents.parse(source)
    if document.problems:
        raise ConfigError(document.problems, document.source)
    if pytext.is_pytext(document.value):
        value, changes = pytext.converted(document)
    else:
        value, changes = document.value, _brought_up_to_date(document, plugins)
    text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    return Migrated(text, tuple(change.render(document.source) for change in changes), plugins)


def _brought_up_to_date(document: Document, plugins: Plugins) -> list[Problem]:
    """Rewrite the document; other mistakes of the config stay in it."""
    reader = Reader(plugins, document, Converter(Path(), check_paths=False))
    reader.read()
    if reader.migrator.refused:
        raise ConfigError(reader.migrator.refused, document.source)
    return reader.migrator.changes
