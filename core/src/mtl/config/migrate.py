"""`migrated`: a config as it is written today, from an older one or from another program's."""

from __future__ import annotations

from pathlib import Path

from attrs import frozen

from mtl.config import source as documents
from mtl.config.document import Document
from mtl.config.foreign import converted, foreign_config
from mtl.config.load import load_config
from mtl.config.reader import Reader
from mtl.config.source import Format
from mtl.config.values import Converter
from mtl.config.writing import rewritten, written
from mtl.errors import ConfigError, Problem
from mtl.plugins import Plugins


@frozen
class Migrated:
    """An up-to-date config as text, and what was changed, each at its place in the old one."""

    text: str
    format: Format
    notes: tuple[str, ...]
    plugins: Plugins

    def check(self, name: str) -> None:
        """Raise `ConfigError`, with positions in the new text, for what is still wrong with it.

        The files that it names need not exist.
        """
        source = documents.parse(self.text, "the result" if name == "-" else name, self.format)
        load_config(source, plugins=self.plugins, check_paths=False)


def migrated(source: str | Path, *, plugins: Plugins, format: Format | None = None) -> Migrated:
    """Bring the config in a file (a `Path`) or in JSON text up to date.

    `format` is that of the result; the source's own if None, with its comments if it is YAML or TOML.
    Raises `ConfigError` if the source is not in its format or cannot be brought up to date, `UsageError` if
    the format does not have one of the values.
    """
    given = Format.of(source) if isinstance(source, Path) else Format.JSON
    document = documents.read(source) if isinstance(source, Path) else documents.parse(source)
    if document.problems:
        raise ConfigError(document.problems, document.source)
    foreign = foreign_config(document, plugins)
    if foreign is not None:
        value, changes = converted(document, foreign)
    else:
        changes = _bring_up_to_date(document, plugins)
        value = document.value
    notes = [change.render(document.source) for change in changes]
    if foreign is None and given is (format or given) and given is not Format.JSON:
        text, lost = rewritten(document.text, given, value)
        notes += [f"{document.source}: {lost}"] if lost else []
    else:
        text = written(value, format or given)
    return Migrated(text, format or given, tuple(notes), plugins)


def _bring_up_to_date(document: Document, plugins: Plugins) -> list[Problem]:
    """Rewrite the document; other mistakes of the config stay in it."""
    reader = Reader(plugins, document, Converter(Path(), check_paths=False))
    reader.read()
    if reader.migrator.refused:
        raise ConfigError(reader.migrator.refused, document.source)
    return reader.migrator.changes
