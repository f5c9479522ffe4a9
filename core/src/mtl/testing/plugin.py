"""Rules for a plugin as a whole. Free of torch."""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import cached_property
from typing import Any

from attrs import frozen
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from mtl.components import KINDS
from mtl.plugin_commands import plugin_commands
from mtl.plugins import API_VERSION, Plugins, PluginStatus, Provided
from mtl.testing.checks import Failed, Skipped, rule

CORE = "pytext-mtl"
HEAVY = ("torch", "torchmetrics", "polars")
_IMPORT = """
import contextlib, importlib, io, json, sys
modules, heavy = json.loads(sys.argv[1])
printed, brought = io.StringIO(), {}
for module in modules:
    with contextlib.redirect_stdout(printed):
        try:
            importlib.import_module(module)
        except BaseException:
            pass
    for name in heavy:
        if name in sys.modules:
            brought.setdefault(name, module)
print(json.dumps([printed.getvalue(), brought]))
"""


@frozen(slots=False)
class PluginBench:
    """A distribution with all its plugins."""

    plugins: Plugins
    distribution: str

    @cached_property
    def statuses(self) -> list[PluginStatus]:
        """How its entry points came through discovery."""
        wanted = canonicalize_name(self.distribution)
        return [each for each in self.plugins.statuses if canonicalize_name(each.distribution) == wanted]

    def provided(self) -> Iterator[Provided]:
        """Yield its components."""
        wanted = canonicalize_name(self.distribution)
        for kind in KINDS:
            for found in self.plugins.available(kind).values():
                yield from (each for each in found if canonicalize_name(each.distribution) == wanted)

    @cached_property
    def imported(self) -> tuple[str, dict[str, str]]:
        """What its plugin and config modules print in a fresh process, and the first one that imports
        each heavy library."""
        modules = [status.module for status in self.statuses if status.state != "blocked"]
        modules += [each.spec.config.partition(":")[0] for each in self.provided()]
        code = [sys.executable, "-c", _IMPORT, json.dumps([list(dict.fromkeys(modules)), HEAVY])]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        done = subprocess.run(code, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Failed(f"importing {', '.join(modules)} ends the process: {done.stderr.strip()[-200:]}")
        printed, brought = json.loads(done.stdout)
        return printed, brought


@rule("a plugin that cannot be used is only a row in `mtl plugins`")
def is_discovered(bench: PluginBench) -> None:
    """Each of its entry points in the group `mtl.plugins` is found, loads without a problem and implements
    a hook."""
    for status in bench.statuses:
        if status.state != "ok" or status.cause:
            raise Failed(f"{status.name} is {status.state}: {status.cause}")


@rule("the next major version of the plugin API may break the plugin")
def bounds_its_api(bench: PluginBench) -> None:
    """`mtl_api` accepts this plugin API and excludes the next major version, as in `">=1,<2"`."""
    ahead = f"{Version(API_VERSION).major + 1}.0"
    for status in bench.statuses:
        if status.state == "ok" and SpecifierSet(status.api or "").contains(ahead):
            raise Failed(
                f"`mtl_api` of {status.name} is {json.dumps(status.api)}, without a bound below {ahead}"
            )


@rule("pip must install an mtl that the plugin works with")
def requires_mtl(bench: PluginBench) -> None:
    """Its distribution depends on `pytext-mtl`, with a minimum version."""
    if canonicalize_name(bench.distribution) == CORE:
        return
    try:
        lines = importlib.metadata.requires(bench.distribution) or []
    except importlib.metadata.PackageNotFoundError:
        raise Skipped("it is not installed as a distribution") from None
    found = [each for each in map(Requirement, lines) if canonicalize_name(each.name) == CORE]
    if not found:
        raise Failed(f"it does not depend on {CORE}")
    if not found[0].specifier:
        raise Failed(f"its dependency on {CORE} has no version")


@rule("`mtl plugins` and every config error would take seconds longer")
def is_light(bench: PluginBench) -> None:
    """Its plugin and config modules do not import torch, torchmetrics or polars."""
    _, brought = bench.imported
    if brought:
        raise Failed(", ".join(f"{module} imports {name}" for name, module in brought.items()))


@rule("standard output is for results that other programs read")
def is_quiet(bench: PluginBench) -> None:
    """Importing it prints nothing."""
    printed, _ = bench.imported
    if printed:
        raise Failed(f"importing it prints {printed[:60]!r}")


@rule("a config that uses a name that two distributions provide is refused until it says which")
def has_names_of_its_own(bench: PluginBench) -> None:
    """No other installed distribution provides a component of the same kind and name."""
    for each in bench.provided():
        others = [
            other.distribution
            for other in bench.plugins.available(each.kind)[each.spec.name]
            if other.distribution != each.distribution
        ]
        if others:
            raise Failed(f"the {KINDS[each.kind].label} {each.spec.name!r} is also provided by {others[0]}")


@rule("a component that cannot be imported fails only when a run needs it")
def loads_its_components(bench: PluginBench) -> None:
    """The config class and the factory of each component can be imported."""
    for each in bench.provided():
        each.load_config()
        factory: Any = each.load_factory()
        if not callable(factory):
            raise Failed(f"{each.spec.factory} must be callable, but is {factory!r}")


@rule("all commands of a plugin are left out if one name is taken")
def has_commands_of_its_own(bench: PluginBench) -> None:
    """Its commands can be added, and no name is taken by mtl or another plugin."""
    own = {f"{status.distribution}:{status.name}" for status in bench.statuses}
    for added in plugin_commands(bench.plugins):
        if added.problem and added.plugin in own:
            raise Failed(f"{added.plugin} adds no commands: {added.problem}")


RULES = (
    is_discovered,
    bounds_its_api,
    requires_mtl,
    is_light,
    is_quiet,
    has_names_of_its_own,
    loads_its_components,
    has_commands_of_its_own,
)
