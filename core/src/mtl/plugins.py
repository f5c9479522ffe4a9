"""Discovers installed plugins, each apart, so that a broken one disables only itself.

Free of torch. Nothing here is global: each `Plugins` is independent.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import inspect
import os
import re
import sys
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, NoReturn, TypeVar

import attrs
import pluggy
from attrs import Factory, define, field, frozen
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name

from mtl import hookspecs
from mtl.components import KINDS, Baseline, ComponentSpec, ConfigReader, Migration
from mtl.distributions import name_and_version
from mtl.errors import PluginError
from mtl.fields import Component, fields_of
from mtl.suggest import did_you_mean, listed

API_VERSION = "1.0"
"""The version that a plugin's `mtl_api` must allow."""
GROUP = "mtl.plugins"
BLOCK_VARIABLE = "MTL_BLOCK_PLUGINS"
SHOW_INSTALLED = "`mtl plugins` shows what is installed"

State = Literal["ok", "blocked", "broken", "incompatible"]

T = TypeVar("T")

HOOKS = tuple(name for name, value in vars(hookspecs).items() if hasattr(value, f"{hookspecs.PROJECT}_spec"))
RUN_HOOKS = tuple(
    name
    for name in HOOKS
    if name
    not in ("mtl_commands", "mtl_config_readers", "mtl_baselines", *(kind.hook for kind in KINDS.values()))
)
"""The hooks that a run calls: a plugin that implements one is a callback of every run."""


@frozen
class PluginStatus:
    """The outcome of one plugin's discovery.

    `api` is its `mtl_api` and `cause` why it is not used. It provides `components`, names by kind,
    `callbacks`, the run-time hooks that it implements, `config_readers`, the programs whose configs it
    reads, and `baselines`.
    """

    name: str
    distribution: str
    version: str
    module: str
    state: State
    api: str | None = None
    cause: str = ""
    import_seconds: float = 0.0
    components: dict[str, tuple[str, ...]] = field(factory=dict)
    callbacks: tuple[str, ...] = ()
    config_readers: tuple[str, ...] = ()
    baselines: tuple[str, ...] = ()


@frozen
class Provided:
    """A component and its provider."""

    kind: str
    spec: ComponentSpec
    distribution: str
    version: str
    entry_point: str

    def load_config(self) -> type[Any]:
        """Import and return the config class.

        Raises `PluginError` if that fails, if it is not one, or if JSON cannot express its fields.
        """
        cls = self._load(self.spec.load_config)
        base = KINDS[self.kind].config
        if not (isinstance(cls, type) and attrs.has(cls) and issubclass(cls, base)):
            below = f" below `{base.__name__}`" if base is not object else ""
            raise PluginError(f"{self}: its config {self.spec.config} must be a config class{below}")
        self._load(lambda: fields_of(cls))
        return cls

    def with_defaults(self) -> Component:
        """Return the component with its default settings. Raises `PluginError` if it has none."""
        cls = self.load_config()
        try:
            return Component(self.kind, self.spec.name, self.spec, cls())
        except Exception as error:
            raise PluginError(f"{self}: its default settings are refused: {_said(error)}") from error

    def load_factory(self) -> Any:
        """Import and return the factory. Raises `PluginError` if that fails."""
        return self._load(self.spec.load_factory)

    def load_migrations(self) -> Sequence[Migration]:
        """Import and return the migrations. Raises `PluginError` if that fails or they are not a list."""
        migrations = self._load(self.spec.load_migrations)
        if not isinstance(migrations, (list, tuple)) or not all(
            isinstance(each, Migration) for each in migrations
        ):
            raise PluginError(f"{self}: its {self.spec.migrations} must be a list of Migrations")
        return migrations

    def _load(self, load: Callable[[], Any]) -> Any:
        try:
            with _output_to_stderr():
                return load()
        except PluginError as error:
            raise PluginError(f"{self}: {error}", error.hint) from error

    def __str__(self) -> str:
        return f"{KINDS[self.kind].label} {self.spec.name!r} of {self.distribution} {self.version}"


@define(eq=False)
class Plugins:
    """Installed plugins and what they provide.

    `preferred` says, by kind and name, whose component is meant if several provide it.
    """

    statuses: list[PluginStatus] = Factory(list)
    warnings: list[str] = Factory(list)
    config_readers: list[ConfigReader] = Factory(list)
    baselines: list[Baseline] = Factory(list)
    preferred: Mapping[tuple[str, str], str] = Factory(dict)
    manager: pluggy.PluginManager = field(factory=lambda: _new_manager(), repr=False)
    _provided: dict[str, dict[str, list[Provided]]] = field(
        factory=lambda: {kind: {} for kind in KINDS}, repr=False
    )

    def register(
        self, plugin: object, distribution: str = "local", version: str = "0", name: str = ""
    ) -> PluginStatus:
        """Add a module (or object) with hook implementations, as discovery does.

        A broken one is not added; its status says why.
        """
        name = name or getattr(plugin, "__name__", type(plugin).__name__)
        candidate = _Candidate(name, distribution, version, getattr(plugin, "__name__", name))
        return self._add(candidate, lambda: plugin)

    def available(self, kind: str) -> dict[str, list[Provided]]:
        """Return the components of `kind` by name; a name that two plugins provide has two entries."""
        return {name: list(self._provided[kind][name]) for name in sorted(self._provided[kind])}

    def find(self, kind: str, name: str) -> Provided:
        """Return the component of `kind` called `name`, or `"distribution:name"` if two provide it.

        Raises `PluginError` if no plugin provides it, or two do.
        """
        distribution, _, plain = name.rpartition(":")
        all_found = self._provided[kind].get(plain, [])
        wanted = canonicalize_name(distribution)
        found = [
            each for each in all_found if not distribution or canonicalize_name(each.distribution) == wanted
        ]
        if not found:
            raise self._unknown(kind, name, all_found)
        if len(found) > 1:
            own = [each for each in found if each.distribution == self.preferred.get((kind, plain))]
            if len(own) != 1:
                raise self._ambiguous(kind, plain, found)
            return own[0]
        return found[0]

    def knows(self, kind: str, name: str) -> bool:
        """Return whether a plugin provides a component of `kind` that is or was called `name`."""
        return bool(self._provided[kind].get(name)) or self.renamed(kind, name) is not None

    def renamed(self, kind: str, name: str) -> Provided | None:
        """Return the component of `kind` that was once called `name`, or `"distribution:name"`.

        None if one has that name now, or if not exactly one had it.
        """
        distribution, _, plain = name.rpartition(":")
        wanted = canonicalize_name(distribution)

        def fits(provided: Provided) -> bool:
            return not distribution or canonicalize_name(provided.distribution) == wanted

        if any(map(fits, self._provided[kind].get(plain, ()))):
            return None
        found = [
            each
            for provided in self._provided[kind].values()
            for each in provided
            if plain in each.spec.formerly and fits(each)
        ]
        return found[0] if len(found) == 1 else None

    def _unknown(self, kind: str, name: str, elsewhere: list[Provided]) -> PluginError:
        label = KINDS[kind].label
        plain = name.rpartition(":")[2]
        hints = []
        if elsewhere:
            hints.append("it comes from " + listed(f"{each.distribution}:{plain}" for each in elsewhere))
        else:
            hints += filter(None, [did_you_mean(plain, self._provided[kind])])
        kinds = [
            KINDS[other].a_label
            for other, names in self._provided.items()
            if other != kind and plain in names
        ]
        if kinds:
            hints.append(f"{plain!r} is {' and '.join(kinds)}")
        hints += [
            f"{status.name} of {status.distribution} is {status.state}: {status.cause}"
            for status in self._unused
        ]
        return PluginError(
            f"no installed plugin provides the {label} {name!r}", "; ".join([*hints, SHOW_INSTALLED])
        )

    def _ambiguous(self, kind: str, name: str, found: list[Provided]) -> PluginError:
        who = listed(
            (f"{each.distribution} (entry point {each.entry_point!r})" for each in found), last="and"
        )
        message = f"the {KINDS[kind].label} {name!r} is provided by {who}"
        distributions = {each.distribution for each in found}
        if len(distributions) > 1:
            return PluginError(
                message, "name " + listed(f"`{each}:{name}`" for each in sorted(distributions))
            )
        return PluginError(message, f"block one of the entry points with {BLOCK_VARIABLE}")

    @property
    def _unused(self) -> list[PluginStatus]:
        return [status for status in self.statuses if status.state != "ok"]

    def _add(self, candidate: _Candidate, load: Callable[[], object]) -> PluginStatus:
        """Load one plugin; whatever goes wrong becomes its status."""
        started = time.perf_counter()
        status = candidate.status("ok")
        try:
            with _output_to_stderr():
                plugin = load()
                status = attrs.evolve(status, api=_checked_api(plugin))
                provided, readers, baselines = self._register(candidate, plugin)
            for each in provided:
                self._provided[each.kind].setdefault(each.spec.name, []).append(each)
            self.config_readers += readers
            self.baselines += baselines
            self.warnings += _deprecations(self.manager, plugin, candidate)
            names = {kind: tuple(each.spec.name for each in provided if each.kind == kind) for kind in KINDS}
            hooks = [caller.name for caller in self.manager.get_hookcallers(plugin) or []]
            status = attrs.evolve(
                status,
                components={kind: found for kind, found in names.items() if found},
                callbacks=tuple(name for name in RUN_HOOKS if name in hooks),
                config_readers=tuple(each.name for each in readers),
                baselines=tuple(each.name for each in baselines),
                cause="" if hooks else "it implements no hook",
            )
        except _Refused as refused:
            status = attrs.evolve(status, state=refused.state, cause=str(refused), api=refused.api)
        except KeyboardInterrupt:  # signals are the user's
            raise
        except BaseException as error:  # a plugin may do anything at import, `sys.exit` included
            status = attrs.evolve(status, state="broken", cause=_said(error))
        status = attrs.evolve(status, import_seconds=time.perf_counter() - started)
        self.statuses.append(status)
        return status

    def _register(
        self, candidate: _Candidate, plugin: object
    ) -> tuple[list[Provided], list[ConfigReader], list[Baseline]]:
        """Register `plugin` with pluggy and ask it for what it provides; undone if it fails."""
        if self.manager.is_registered(plugin):
            raise _Refused("broken", f"{self.manager.get_name(plugin)} is the same module")
        try:
            self.manager.register(plugin, candidate.key)
            _check_hook_names(self.manager, plugin)
            return (
                list(_components(self.manager, plugin, candidate)),
                _readers(self.manager, plugin),
                _baselines(self.manager, plugin),
            )
        except BaseException:
            if self.manager.is_registered(plugin):
                self.manager.unregister(plugin)
            raise


def discover(blocked: Collection[str] | None = None) -> Plugins:
    """Discover all installed plugins.

    `blocked` are names of distributions or entry points that are not imported, by default those in the
    environment variable MTL_BLOCK_PLUGINS.
    """
    if blocked is None:
        blocked = [name for name in re.split(r"[,\s]+", os.environ.get(BLOCK_VARIABLE, "")) if name]
    unused = {canonicalize_name(name): name for name in blocked}
    wanted = set(unused)
    plugins = Plugins()
    for candidate, load in _candidates():
        names = {canonicalize_name(candidate.distribution), canonicalize_name(candidate.name)}
        if names & wanted:
            plugins.statuses.append(candidate.status("blocked", f"{BLOCK_VARIABLE} names it"))
        else:
            plugins._add(candidate, load)
        for name in names:
            unused.pop(name, None)
    plugins.warnings += [
        f"{BLOCK_VARIABLE} names {name!r}, which is not installed" for name in unused.values()
    ]
    return plugins


@frozen
class _Candidate:
    """A plugin that is not loaded yet."""

    name: str
    distribution: str
    version: str
    module: str

    @property
    def key(self) -> str:
        return f"{self.distribution}:{self.name}"

    def status(self, state: State, cause: str = "") -> PluginStatus:
        return PluginStatus(self.name, self.distribution, self.version, self.module, state, cause=cause)


class _Refused(Exception):
    """A plugin that breaks mtl's rules."""

    def __init__(self, state: State, cause: str, api: str | None = None) -> None:
        super().__init__(cause)
        self.state = state
        self.api = api


def _new_manager() -> pluggy.PluginManager:
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    return manager


def _candidates() -> Iterator[tuple[_Candidate, Callable[[], object]]]:
    """Yield every entry point of the group, sorted, with a function that imports it.

    `importlib.metadata.entry_points` fails as a whole if one distribution's metadata is damaged.
    """
    found: dict[str, list[tuple[_Candidate, Callable[[], object]]]] = {}
    for distribution in importlib.metadata.distributions():
        try:
            name, version = name_and_version(distribution)
        except Exception:  # without a name it is nobody's
            continue
        if name and canonicalize_name(name) not in found:  # the first on the path is the one imported
            found[canonicalize_name(name)] = list(_plugins_of(distribution, name, version))
    for name in sorted(found):
        yield from sorted(found[name], key=lambda pair: pair[0].name)


def _plugins_of(
    distribution: importlib.metadata.Distribution, name: str, version: str
) -> Iterator[tuple[_Candidate, Callable[[], object]]]:
    try:
        entry_points = [each for each in distribution.entry_points if each.group == GROUP]
    except Exception:
        entry_points = []
    if not entry_points and f"[{GROUP}" in (distribution.read_text("entry_points.txt") or ""):
        yield _Candidate(name, name, version, ""), _refuse_damaged
    for each in entry_points:
        yield _Candidate(each.name, name, version, each.value), each.load


def _refuse_damaged() -> NoReturn:
    raise _Refused("broken", "its entry points cannot be read: its entry_points.txt is damaged")


@contextlib.contextmanager
def _output_to_stderr() -> Iterator[None]:
    """Keep what a plugin prints when it is imported out of standard output, which is for results."""
    with contextlib.redirect_stdout(sys.stderr):
        yield


def _checked_api(plugin: object) -> str:
    api = getattr(plugin, "mtl_api", None)
    example = f'`mtl_api = ">=1,<2"` fits this mtl, with plugin API {API_VERSION}'
    if api is None:
        raise _Refused("incompatible", f"it does not say which plugin API it is for: {example}")
    try:
        allowed = SpecifierSet(api).contains(API_VERSION, prereleases=True)
    except (InvalidSpecifier, AttributeError, TypeError) as error:
        cause = f"`mtl_api` must be a version range, but is {api!r}: {example}"
        raise _Refused("incompatible", cause, str(api)) from error
    if not allowed:
        raise _Refused("incompatible", f"it is for plugin API {api}, but this is {API_VERSION}", api)
    return str(api)


def _check_hook_names(manager: pluggy.PluginManager, plugin: object) -> None:
    """Refuse hooks that are never called: misspelled ones, and those without the marker."""
    callers = manager.get_hookcallers(plugin) or []
    for caller in callers:
        optional = all(each.optionalhook for each in caller.get_hookimpls() if each.plugin is plugin)
        if not caller.has_spec() and not optional:
            near = did_you_mean(caller.name, HOOKS)
            raise _Refused("broken", f"there is no hook `{caller.name}`" + (f" ({near})" if near else ""))
    implemented = {caller.name for caller in callers}
    for name in set(HOOKS) - implemented:
        if inspect.isfunction(getattr(plugin, name, None)):
            raise _Refused("broken", f"`{name}` is not marked with `@hookimpl`")


def _deprecations(manager: pluggy.PluginManager, plugin: object, candidate: _Candidate) -> Iterator[str]:
    """Yield a warning for each deprecated hook or argument that the plugin uses."""
    for caller in manager.get_hookcallers(plugin) or []:
        marks = hookspecs.deprecations(caller.spec.function) if caller.spec else ()
        taken = [each.argnames for each in caller.get_hookimpls() if each.plugin is plugin]
        for mark in marks:
            if not mark.argument or any(mark.argument in names for names in taken):
                argument = f"the argument `{mark.argument}` of " if mark.argument else ""
                yield (
                    f"{candidate.name} of {candidate.distribution} {candidate.version}: {argument}"
                    f"`{caller.name}` is deprecated since plugin API {mark.since}: {mark.instead}"
                )


def _components(manager: pluggy.PluginManager, plugin: object, candidate: _Candidate) -> Iterator[Provided]:
    for kind in KINDS.values():
        seen: set[str] = set()
        for spec in _returned(manager, plugin, kind.hook, ComponentSpec):
            _check_spec(kind.hook, spec)
            if spec.name in seen:
                raise _Refused("broken", f"`{kind.hook}` names {spec.name!r} twice")
            seen.add(spec.name)
            yield Provided(kind.name, spec, candidate.distribution, candidate.version, candidate.name)


def _readers(manager: pluggy.PluginManager, plugin: object) -> list[ConfigReader]:
    readers = list(_returned(manager, plugin, "mtl_config_readers", ConfigReader))
    for reader in readers:
        _check_references("mtl_config_readers", reader, ["detects", "converts"])
    return readers


def _baselines(manager: pluggy.PluginManager, plugin: object) -> list[Baseline]:
    baselines = list(_returned(manager, plugin, "mtl_baselines", Baseline))
    for baseline in baselines:
        _check_references("mtl_baselines", baseline, ["scores"])
    return baselines


def _returned(manager: pluggy.PluginManager, plugin: object, hook: str, wanted: type[T]) -> Iterator[T]:
    """Yield what a plugin's implementation of a hook returns, a list of `wanted`."""
    for implementation in getattr(manager.hook, hook).get_hookimpls():
        if implementation.plugin is not plugin:
            continue
        try:
            returned = implementation.function()
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            raise _Refused("broken", f"`{hook}` failed: {_said(error)}") from error
        must = f"`{hook}` must return a list of {wanted.__name__}"
        if isinstance(returned, (str, dict)) or not isinstance(returned, Iterable):
            raise _Refused("broken", f"{must}, but returned {type(returned).__name__}")
        for each in returned:
            if not isinstance(each, wanted):
                raise _Refused("broken", f"{must}, but one of it is {type(each).__name__}")
            yield each


def _check_spec(hook: str, spec: ComponentSpec) -> None:
    if not isinstance(spec.name, str) or not re.fullmatch(r"\w[\w-]*", spec.name):
        raise _Refused("broken", f"`{hook}`: a name must be letters, digits, - and _, but is {spec.name!r}")
    optional = ("migrations", "state_migrations", "renamed_weights")
    _check_references(hook, spec, ["config", "factory", *(each for each in optional if getattr(spec, each))])


def _check_references(hook: str, spec: ComponentSpec | ConfigReader | Baseline, parts: Iterable[str]) -> None:
    for part in parts:
        reference = getattr(spec, part)
        if not isinstance(reference, str) or not re.fullmatch(r"\w+(\.\w+)*:\w+", reference):
            raise _Refused(
                "broken",
                f'`{hook}`: {spec.name}\'s `{part}` must be "module:attribute", but is {reference!r}',
            )


def _said(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
