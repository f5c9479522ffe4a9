"""The distributions that a run was made with, so that a missing one can be named. Free of torch."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs

from mtl.components import KINDS
from mtl.config.walk import components
from mtl.errors import PluginError, UsageError
from mtl.files import read_json
from mtl.plugins import BLOCK_VARIABLE, Plugins
from mtl.suggest import listed


def provenance(config: Any, plugins: Plugins) -> dict[str, Any]:
    """Return the distributions of a config's components, mtl and torch.

    `{distribution: {"version": ..., "components": {kind: [name, ...]}}}`.
    """
    made: dict[str, Any] = {
        name: {"version": importlib.metadata.version(name), "components": {}}
        for name in ("pytext-mtl", "torch")
    }
    for component in components(config):
        provided = plugins.find(component.kind, component.name)
        of = made.setdefault(provided.distribution, {"version": provided.version, "components": {}})
        names = of["components"].setdefault(component.kind, [])
        if provided.spec.name not in names:
            names.append(provided.spec.name)
    return made


def plugins_of_run(folder: Path, plugins: Plugins, *, needed: Any = None) -> Plugins:
    """Return `plugins` as the run in a folder knew them: if two provide a name, the run's own is meant.

    `needed` is the part of the run's dumped config that must be usable; by default all of it. Raises
    `PluginError` if a component that this names is missing, with the version to install.
    """
    names_needed = None if needed is None else set(_keys(needed))
    recorded = _recorded(folder)
    own = {
        (kind, name): distribution
        for distribution, of in recorded.items()
        for kind, names in of["components"].items()
        for name in names
    }
    plugins = attrs.evolve(plugins, preferred={**plugins.preferred, **own})
    for distribution, of in recorded.items():
        lacking = [
            f"{KINDS[kind].label} {name!r}"
            for kind, names in of["components"].items()
            for name in names
            if not plugins.knows(kind, name) and (names_needed is None or name in names_needed)
        ]
        if lacking:
            made = f"the {listed(lacking, last='and')} of this run"
            raise PluginError(
                f"{folder}: {made} {'was' if len(lacking) == 1 else 'were'} made by {distribution}"
                f" {of['version']}, {_what_became(distribution, plugins)}",
                _remedy(distribution, of["version"], plugins),
            )
    return plugins


def _keys(value: Any) -> Iterator[str]:
    """Yield all keys in a dumped config, the names of components among them, without distributions."""
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _keys(each)
    if isinstance(value, dict):
        yield from (key.rpartition(":")[2] for key in value)


def _recorded(folder: Path) -> Mapping[str, Any]:
    """Return what a run recorded beside its model or in its checkpoint, if it has come that far."""
    model, states = folder / "model/versions.json", sorted(folder.glob("checkpoints/step-*/state.json"))
    try:
        recorded = (
            read_json(model) if model.exists() or not states else read_json(states[-1])["run"]["versions"]
        )
        return {
            distribution: {
                "version": str(of["version"]),
                "components": {
                    kind: [str(name) for name in names]
                    for kind, names in of["components"].items()
                    if kind in KINDS
                },
            }
            for distribution, of in recorded.items()
        }
    except (UsageError, LookupError, AttributeError, TypeError):
        return {}


def _remedy(distribution: str, version: str, plugins: Plugins) -> str:
    states = {status.state for status in plugins.statuses if status.distribution == distribution}
    if "blocked" in states:
        return f"unblock it: remove it from {BLOCK_VARIABLE}"
    return f"`pip install '{distribution}=={version}'`"


def _what_became(distribution: str, plugins: Plugins) -> str:
    of = [status for status in plugins.statuses if status.distribution == distribution]
    unused = [status for status in of if status.state != "ok"]
    if unused:
        return f"which is {unused[0].state}: {unused[0].cause}"
    return f"but {of[0].version} is installed, which has none" if of else "which is not installed"
