"""A cache of encoded rows: text is read once, and its columns memory-mapped the next time.

The key of an entry is a hash of everything that its rows depend on: the content of the files, the settings
of the tasks, the code and the versions of the components. Entries are in the user's cache folder, or in
`MTL_CACHE_DIR`; an empty `MTL_CACHE_DIR` disables the cache.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
import logging
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from time import perf_counter, time
from types import MappingProxyType
from typing import Any

import platformdirs
from attrs import frozen

from mtl.components import Featurizer, ModuleConfig, Task
from mtl.config.dumping import dump
from mtl.config.run_config import RunConfig
from mtl.config.walk import components, walk
from mtl.data.columns import Rows
from mtl.data.load import SPLITS, TaskData, Tasks, load_data
from mtl.data.pieces import Scratch
from mtl.data.splits import split_seed
from mtl.data.stored import read_rows, write_rows
from mtl.distributions import name_and_version
from mtl.errors import MtlError, component_errors
from mtl.files import atomic_write, file_digest, read_json
from mtl.plugins import Plugins
from mtl.provenance import provenance

logger = logging.getLogger("mtl")

FORMAT = 4
"""Version of the format of entries; another one makes other entries."""
WORTH_SECONDS = 0.3
"""Rows that are read faster than this are not cached."""
KEPT_ENTRIES = 20
LEFT_SECONDS = 24 * 3600
"""Unfinished entries older than this were left by a process that was killed."""
SETTINGS_OF_BATCHES = ("batch_size", "batch_tokens", "eval_batch_size")
"""Settings of a task that its rows do not depend on."""
META = "meta.json"


@frozen(eq=False)
class LoadedData:
    """The rows of all tasks, and notices about them."""

    tasks: Mapping[str, TaskData]
    notices: tuple[str, ...]


def load_cached(config: RunConfig, tasks: Tasks, plugins: Plugins) -> LoadedData:
    """Return the rows of a config, from the cache if it has them; `tasks` are fitted to them.

    Raises what `load_data` raises.
    """
    folder = cache_folder()
    if folder is None:
        with Scratch() as scratch:
            return _loaded(config, tasks, scratch)
    entry = folder / fingerprint(config, plugins, tasks.started)
    try:
        return _read(entry, tasks)
    except FileNotFoundError:
        pass  # there is none, or another process is removing it
    except (OSError, MtlError, LookupError, TypeError, ValueError) as error:
        logger.warning("%s: cannot be used (%s); reading the data again", entry, error)
        shutil.rmtree(entry, ignore_errors=True)
    with Scratch(folder) as scratch:
        begun = perf_counter()
        loaded = _loaded(config, tasks, scratch)
        if perf_counter() - begun > WORTH_SECONDS:
            try:
                _write(entry, loaded, tasks)
                _forget_oldest(folder)
            except OSError as error:
                # Another process may have been faster; its entry is equivalent.
                if not entry.is_dir():
                    logger.warning("%s: the cache cannot be written: %s", folder, error.strerror or error)
        return loaded


def _loaded(config: RunConfig, tasks: Tasks, scratch: Scratch) -> LoadedData:
    data = load_data(config, tasks, scratch)
    read = [f"{name}: {notice}" for name, each in data.items() for notice in each.notices]
    return LoadedData(data, (*read, *notices(tasks)))


def cache_folder() -> Path | None:
    """Return the folder of the cache; None if it is disabled."""
    named = os.environ.get("MTL_CACHE_DIR")
    if named is not None:
        return Path(named) if named else None
    return platformdirs.user_cache_path("mtl") / "data"


def notices(tasks: Tasks) -> tuple[str, ...]:
    """Return the notices of tasks and featurizers, each with the name of its origin."""
    featurizers = {key: shared.featurizer for key, shared in tasks.featurizers.items()}
    speakers: list[tuple[str, Task[Any] | Featurizer[Any]]] = [*tasks.tasks.items(), *featurizers.items()]
    said: list[str] = []
    for name, speaker in speakers:
        with component_errors(speaker, "to give its notices"):
            said += [f"{name}: {notice}" for notice in speaker.notices()]
    return tuple(said)


# --- fingerprint -----------------------------------------------------------------------------------


def fingerprint(
    config: RunConfig, plugins: Plugins, started: Mapping[str, Any] = MappingProxyType({})
) -> str:
    """Return the SHA-256 of everything that the rows of a config depend on; see `Tasks.started`."""
    settings = dump(config)["tasks"]
    for named in settings.values():
        for task in named.values():
            for name in SETTINGS_OF_BATCHES:
                task.pop(name, None)
    used = provenance(config, plugins)
    content = {
        "format": FORMAT,
        "settings": settings,
        "split_seeds": {
            name: split_seed(task.config.data.config, config.seed)
            for name, task in config.tasks.items()
            if task.config.data.config.is_divided
        },
        **({"started": dict(started)} if started else {}),
        "files": {str(path): file_digest(path) for path in sorted(set(_input_files(config.tasks)))},
        "code": {package: _code(package) for package in sorted(set(_packages(config.tasks)))},
        "versions": {name: _version(name) for name in sorted(set(_with_required(used)))},
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _input_files(config: Any) -> Iterator[Path]:
    """Yield the files that a config names, without weights: these have no part in the rows."""
    for node in walk(config):
        is_weights = isinstance(node.owner, ModuleConfig) and node.path[-1] in ("load_path", "save_path")
        if isinstance(node.value, Path) and node.value.is_file() and not is_weights:
            yield node.value


def _packages(config: Any) -> Iterator[str]:
    yield "mtl"
    for component in components(config):
        yield component.spec.factory.partition(":")[0].partition(".")[0]


def _code(package: str) -> str:
    """Return the SHA-256 of a package's sources, so that edits take effect."""
    content = hashlib.sha256()
    found = importlib.util.find_spec(package)
    roots = [Path(root) for root in (found and found.submodule_search_locations) or ()]
    single = [Path(found.origin)] if found and not roots and found.origin else []
    for path in single + sorted(path for root in roots for path in root.rglob("*.py")):
        content.update(str(path).encode() + path.read_bytes())
    return content.hexdigest()


def _with_required(distributions: Iterable[str]) -> Iterator[str]:
    """Yield the distributions and those that they require."""
    for distribution in distributions:
        yield distribution
        for line in importlib.metadata.requires(distribution) or ():
            yield re.split(r"[^\w.-]", line, maxsplit=1)[0].lower()


def _version(distribution: str) -> str | None:
    try:
        return name_and_version(importlib.metadata.distribution(distribution))[1]
    except importlib.metadata.PackageNotFoundError:
        return None


# --- entries ---------------------------------------------------------------------------------------


def _write(entry: Path, loaded: LoadedData, tasks: Tasks) -> None:
    """Write an entry atomically; if another process was faster, its entry stays."""
    meta: dict[str, Any] = {"state": tasks.state(), "notices": list(loaded.notices), "tasks": {}}
    with atomic_write(entry) as folder:
        folder.mkdir()
        for number, (name, data) in enumerate(loaded.tasks.items()):
            names: dict[int, str] = {}
            splits: dict[str, Any] = {}
            for split in SPLITS:
                rows = data.splits[split]
                if rows is None:
                    continue
                if id(rows) not in names:
                    names[id(rows)] = f"{number}-{split}"
                    _keep(rows, folder / names[id(rows)])
                splits[split] = {"rows": names[id(rows)], "statistics": dict(data.statistics.get(split, {}))}
            meta["tasks"][name] = splits
        # Without indents: with them Python writes a vocabulary more slowly than polars reads a corpus.
        (folder / META).write_text(json.dumps(meta, ensure_ascii=False), encoding="utf-8")


def _keep(rows: Rows, folder: Path) -> None:
    """Write these rows to `folder`; rows that are mapped from the scratch folder move there."""
    if rows.folder is not None:
        rows.folder.rename(folder)
    else:
        write_rows([rows], folder)


def _read(entry: Path, tasks: Tasks) -> LoadedData:
    if not (entry / META).is_file():
        raise FileNotFoundError(entry)
    meta = read_json(entry / META)
    tasks.load_state(meta["state"])
    os.utime(entry)
    opened: dict[str, Rows] = {}
    loaded = {}
    for name, splits in meta["tasks"].items():
        for stored in splits.values():
            if stored["rows"] not in opened:
                opened[stored["rows"]] = read_rows(entry / stored["rows"])
        loaded[name] = TaskData(
            {split: opened[splits[split]["rows"]] if split in splits else None for split in SPLITS},
            {split: stored["statistics"] for split, stored in splits.items()},
        )
    return LoadedData(loaded, tuple(meta["notices"]))


def _forget_oldest(folder: Path) -> None:
    """Remove the least recently used entries, and unfinished ones of killed processes."""
    entries = sorted(folder.glob("[0-9a-f]*"), key=lambda entry: entry.stat().st_mtime, reverse=True)
    left = [path for path in folder.glob(".*") if path.stat().st_mtime < time() - LEFT_SECONDS]
    for path in [*entries[KEPT_ENTRIES:], *left]:
        shutil.rmtree(path, ignore_errors=True)
