"""`migrated`: a config as it is written today, from an older one or from another program's."""

from __future__ import annotations

import json
from pathlib import Path

from attrs import frozen

from mtl.config import document as documents
from mtl.config.document import Document
from mtl.config.foreign import converted, foreign_config
from mtl.config.load import load_config
from mtl.config.reader import Reader
from mtl.config.values import Converter
from mtl.errors import ConfigError, Problem
from mtl.plugins import Plugins


@frozen
class Migrated:
    """An up-to-date config as JSON text, and what was changed, each at its place in the old one."""

    text: str
    notes: tuple[str, ...]
    plugins: Plugins

    def check(self, name: str) -> None:
        """Raise `ConfigError`, with positions in the new text, for what is still wrong with it.

        The files that it names need not exist.
        """
        try:
            load_config(self.text, plugins=self.plugins, check_paths=False)
        except ConfigError as error:
            raise ConfigError(error.problems, "the result" if name == "-" else name) from None


def migrated(source: str | Path, *, plugins: Plugins) -> Migrated:
    """Bring the config in a file (a `Path`) or in JSON text up to date.

    Raises `ConfigError` if it is not JSON or cannot be brought up to date.
    """
    document = documents.read(source) if isinstance(source, Path) else documents.parse(source)
    if document.problems:
        raise ConfigError(document.problems, document.source)
    foreign = foreign_config(document, plugins)
    if foreign is not None:
        value, changes = converted(document, foreign)
    else:
        changes = _bring_up_to_date(document, plugins)
        value = document.value
    text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    return Migrated(text, tuple(change.render(document.source) for change in changes), plugins)


def _bring_up_to_date(document: Document, plugins: Plugins) -> list[Problem]:
    """Rewrite the document; other mistakes of the config stay in it."""
    reader = Reader(plugins, document, Converter(Path(), check_paths=False))
    reader.read()
    if reader.migrator.refused:
        raise ConfigError(reader.migrator.refused, document.source)
    return reader.migrator.changes
