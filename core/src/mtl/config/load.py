"""`load_config`: from JSON to a checked config, through every stage."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import attrs
from attrs import frozen

from mtl.config import document as documents
from mtl.config.document import Document
from mtl.config.overrides import override
from mtl.config.pytext import is_pytext
from mtl.config.reader import Reader
from mtl.config.references import check_references
from mtl.config.run_config import RunConfig
from mtl.config.settings import FAILED
from mtl.config.sharing import SharedGroup, Sharing
from mtl.config.structure import Structurer
from mtl.config.values import Converter
from mtl.errors import ConfigError, UsageError
from mtl.plugins import Plugins


@frozen(eq=False)
class LoadedConfig:
    """A config that was checked: `config.base_dir` is absolute, as are all paths in it. `groups` are
    its shared modules, `warnings` what is allowed but probably not meant, or is written otherwise now;
    `document` is what was read, brought up to date."""

    config: RunConfig
    groups: tuple[SharedGroup, ...]
    warnings: tuple[str, ...]
    document: Document


def load_config(
    source: str | Path | Mapping[str, Any],
    *,
    plugins: Plugins,
    overrides: Iterable[str] = (),
    base_dir: Path | str | None = None,
    config_dir: Path | str | None = None,
    check_paths: bool = True,
) -> LoadedConfig:
    """The config in a file (a `Path`), in JSON text or in a mapping.

    `overrides` are `PATH=VALUE`, as of `--set`. `base_dir` takes the place of the config's own, which
    is relative to `config_dir`: the file's folder, or the working folder. Without `check_paths` the
    files that the config names need not exist.

    Raises `ConfigError` with all mistakes at once, `UsageError` for a file that cannot be read,
    `PluginError` for a component that does not declare what it must.
    """
    document = _document(source)
    override(document, overrides)
    if config_dir is None:
        config_dir = source.parent if isinstance(source, Path) else Path()
    folder = _base_dir(document, base_dir, Path(config_dir))
    if not documents.is_text(str(folder)):
        raise UsageError(f"{folder}: the name of the folder with the data must be UTF-8, but is not")
    reader = Reader(plugins, document, Converter(folder, check_paths))
    settings = reader.read()
    sharing = Sharing(document)
    sharing.merge(settings)
    structurer = Structurer(plugins, document)
    config: Any = FAILED if sharing.is_circular else structurer.structure(settings)
    unread = {problem.path for problem in document.problems if problem.path}
    problems = [
        *document.problems,
        *(problem for problem in reader.problems if problem.path not in unread),
        *reader.migrator.refused,
        *sharing.problems,
        *structurer.problems,
        *check_references(settings, document),
    ]
    if problems and is_pytext(document.value):
        hint = "`mtl config migrate CONFIG --output FILE` makes one of mtl's"
        raise ConfigError([document.problem((), "this is a config of PyText", hint)], document.source)
    if problems:
        raise ConfigError(dict.fromkeys(problems), document.source)
    config = attrs.evolve(config, base_dir=str(folder))
    changes = (change.render(document.source) for change in reader.migrator.changes)
    warnings = (*changes, *sharing.warnings())
    return LoadedConfig(config, sharing.groups(structurer, folder), warnings, document)


def _document(source: str | Path | Mapping[str, Any]) -> Document:
    if isinstance(source, Path):
        return documents.read(source)
    return documents.parse(source) if isinstance(source, str) else documents.from_value(source)


def _base_dir(document: Document, given: Path | str | None, config_dir: Path) -> Path:
    """The absolute base folder; links are followed, so that `..` means the same everywhere."""
    if given is not None:
        return Path(given).resolve()
    stated = document.value.get("base_dir", ".")
    return (config_dir / (stated if isinstance(stated, str) and "\0" not in stated else ".")).resolve()
