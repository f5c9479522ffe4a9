"""`load_config`: from a file, text or mapping to a checked config."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import attrs
from attrs import frozen

from mtl.components import ModuleConfig
from mtl.config import source as documents
from mtl.config.document import Document, is_text
from mtl.config.foreign import foreign_config
from mtl.config.given import Given, write_given
from mtl.config.overrides import override
from mtl.config.reader import Reader
from mtl.config.references import check_references
from mtl.config.run_config import RunConfig, TrainerConfig
from mtl.config.settings import FAILED
from mtl.config.sharing import SharedGroup, Sharing
from mtl.config.structure import Structurer
from mtl.config.values import Converter
from mtl.config.walk import walk
from mtl.errors import ConfigError, UsageError
from mtl.fields import Field, TablePath, fields_of
from mtl.files import read_json
from mtl.plugins import Plugins
from mtl.suggest import nearest_or_all


@frozen(eq=False)
class LoadedConfig:
    """A checked config.

    All paths in `config` are absolute, `base_dir` included. `groups` are its shared modules, `warnings`
    say what is allowed but probably not intended, or outdated. `document` is the source, brought up to date.
    """

    config: RunConfig
    groups: tuple[SharedGroup, ...]
    warnings: tuple[str, ...]
    document: Document


def load_config(
    source: str | Path | Mapping[str, Any] | Document,
    *,
    plugins: Plugins,
    overrides: Iterable[str] = (),
    base_dir: Path | str | None = None,
    config_dir: Path | str | None = None,
    check_paths: bool = True,
    only_tasks: Collection[str] | None = None,
    resumed: Path | None = None,
    given: Given | None = None,
) -> LoadedConfig:
    """Return the config in a file (a `Path`), in JSON text, in a mapping or in a parsed document.

    `overrides` are `PATH=VALUE`, as of `--set`. `base_dir` replaces the config's own, which is relative
    to `config_dir`: the file's folder, or the working folder. Without `check_paths` the files that the
    config names need not exist. With `only_tasks` only these tasks' components are resolved, from a
    config that `dump` has written: of the rest, what names components or tasks keeps its default. `resumed`
    is the folder of a run to continue: what its components read elsewhere need not be there anymore. `given`
    are rows and paths that replace those of the config's splits.

    Raises `ConfigError` with all mistakes at once, `UsageError` for a file that cannot be read or a task
    that the config does not have, `PluginError` for a component that does not declare what it must.
    """
    document = _document(source)
    override(document, overrides)
    write_given(document, given or {}, plugins)
    if only_tasks is not None:
        document.value = only(document.value, only_tasks)
    if config_dir is None:
        config_dir = source.parent if isinstance(source, Path) else Path()
    folder = _base_dir(document, base_dir, Path(config_dir))
    if not is_text(str(folder)):
        raise UsageError(f"{folder}: the name of the folder with the data must be UTF-8, but is not")
    check_paths = check_paths and not (resumed is not None and (resumed / "files").exists())
    reader = Reader(plugins, document, Converter(folder, check_paths, _tables(given or {})))
    settings = reader.read()
    sharing = Sharing(document)
    sharing.merge(settings)
    structurer = Structurer(plugins, document, _resolved(resumed, plugins, folder))
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
    if problems:
        foreign = foreign_config(document, plugins)
        if foreign:
            message, hint = f"this is a config of {foreign.name}", "`mtl config migrate` converts it"
            raise ConfigError([document.problem((), message, hint)], document.source)
        raise ConfigError(dict.fromkeys(problems), document.source)
    config = attrs.evolve(config, base_dir=str(folder))
    changes = (change.render(document.source) for change in reader.migrator.changes)
    warnings = (*changes, *sharing.warnings())
    return LoadedConfig(config, sharing.groups(structurer, folder), warnings, document)


def _tables(given: Given) -> dict[str, TablePath]:
    paths = (path for splits in given.values() for path in splits.values())
    return {str(path): path for path in paths if isinstance(path, TablePath)}


def only(config: Mapping[str, Any], tasks: Collection[str]) -> dict[str, Any]:
    """Return the part of a dumped config that some of its tasks need, without what trains them.

    Raises `UsageError` for a task that the config does not have.
    """
    held, trained = config.get("tasks"), config.get("trainer")
    if not isinstance(held, dict) or not isinstance(trained, dict):
        return dict(config)  # not what `dump` writes: reading it says so
    for name in tasks:
        if name not in held:
            raise UsageError(f"no task is called `{name}` ({nearest_or_all(name, held, 'tasks')})")
    trainer = fields_of(TrainerConfig)
    plain = {key: value for key, value in trained.items() if _is_plain(trainer.get(key))}
    kept = {key: value for key, value in config.items() if key in ("base_dir", "device", "seed")}
    return {**kept, "trainer": plain, "tasks": {name: held[name] for name in tasks}}


def _is_plain(field: Field | None) -> bool:
    return field is not None and field.item is None


def _resolved(run: Path | None, plugins: Plugins, base_dir: Path) -> list[ModuleConfig]:
    """Return the modules' configs as a run has resolved them."""
    if run is None or not (run / "config.json").exists():
        return []
    source = read_json(run / "config.json")
    config = load_config(source, plugins=plugins, base_dir=base_dir, check_paths=False).config
    return [node.value for node in walk(config) if isinstance(node.value, ModuleConfig)]


def _document(source: str | Path | Mapping[str, Any] | Document) -> Document:
    if isinstance(source, Document):
        return source
    if isinstance(source, Path):
        return documents.read(source)
    return documents.parse(source) if isinstance(source, str) else documents.from_value(source)


def _base_dir(document: Document, given: Path | str | None, config_dir: Path) -> Path:
    """Return the absolute base folder, links resolved, so that `..` means the same everywhere."""
    if given is not None:
        return Path(given).resolve()
    stated = document.value.get("base_dir", ".")
    return (config_dir / (stated if isinstance(stated, str) and "\0" not in stated else ".")).resolve()
