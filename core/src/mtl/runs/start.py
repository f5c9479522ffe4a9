"""Starting from another run: its vocabularies, labels and weights, by shared key and by name."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from attrs import Factory, define, evolve, frozen
from torch import Tensor, nn

from mtl.builder import Builder, BuiltModule
from mtl.components import FeatureWidth, Featurizer, ModuleConfig, Task
from mtl.components.instantiate import instantiate
from mtl.config.run_config import RunConfig
from mtl.config.walk import walk
from mtl.data.load import SharedFeaturizer, Tasks
from mtl.errors import ComponentError, UsageError, component_errors
from mtl.fields import Component, fields_of
from mtl.files import MANIFEST, atomic_write, file_digest, file_name, read_json, write_json
from mtl.model import MultitaskModel
from mtl.plugins import Plugins
from mtl.runs.folder import FILES, RunFolder
from mtl.runs.loading import LoadedRun, load
from mtl.suggest import argument
from mtl.weights import (
    Weights,
    check_columns,
    copy_rows,
    input_columns,
    match_rows,
    row_names,
    unique_tensors,
)

ORIGIN = "from.json"
"""In the folder that a run keeps of its start: which run it was, and what was taken."""
_SHOWN = 12

Name = tuple[str | int, ...]
"""What tells that modules of two configs are the same: a shared key and the path below it, or a path."""
Pairs = Mapping[int, tuple[Component, BuiltModule]]
"""Modules that a config has in common with a run, by the `id` of their configs."""


@define
class Report:
    """What a run took from the one that it starts from, what is new in it, and what it left there."""

    run: str
    taken: list[str] = Factory(list)
    new: list[str] = Factory(list)
    left: list[str] = Factory(list)

    def to_json(self) -> dict[str, list[str]]:
        """Return the three lists."""
        return {"taken": self.taken, "new": self.new, "left": self.left}

    def notices(self) -> list[str]:
        """Return a line for each list."""
        said = {"taken": self.taken, "new here": self.new, "left there": self.left}
        return [f"starts from {self.run}: {what}: {_listed(items)}" for what, items in said.items() if items]


@frozen(eq=False)
class Start:
    """The run that another one starts from: its `path` as given, and the SHA-256 of its model's manifest."""

    path: str
    sha256: str
    folder: RunFolder
    run: LoadedRun

    @classmethod
    def open(cls, path: Path, plugins: Plugins | None = None) -> Start:
        """Read the best model of a run. Raises what `load` raises."""
        folder = RunFolder(path.absolute())
        run = load(folder.path, device="cpu", plugins=plugins)
        return cls(str(path), file_digest(folder.model / MANIFEST), folder, run)

    @classmethod
    def kept_in(cls, folder: RunFolder, plugins: Plugins | None = None) -> Start | None:
        """Return what the run in `folder` started from; None if it started from nothing.

        Raises `UsageError` if that is damaged.
        """
        if not folder.start.is_dir():
            return None
        origin = read_json(folder.start / ORIGIN)
        found = evolve(cls.open(folder.start, plugins), path=str(origin.get("run")))
        if found.sha256 != origin.get("sha256"):
            raise UsageError(f"{folder.start}: must be the model that this run started from, but is another")
        return found

    def keep(self, folder: RunFolder, report: Report) -> None:
        """Copy the model into `folder`, so that resuming does not need the run that it came from."""
        with atomic_write(folder.start, make_parents=False) as temporary:
            shutil.copytree(self.folder.model, temporary / self.folder.model.name)
            write_json(temporary / ORIGIN, {"run": self.path, "sha256": self.sha256, **report.to_json()})

    def pairs(self, config: RunConfig) -> Pairs:
        """Return the modules that `config` has in common with the run.

        Raises `UsageError` if a module of the same name is of another component.
        """
        known = {name: each for each in _module_configs(self.run.config) for name in each.names}
        built = {id(each.config): each for each in self.run.model.built}
        found: dict[int, tuple[Component, BuiltModule]] = {}
        for each in _module_configs(config):
            before = next((known[name] for name in each.names if name in known), None)
            if each.component is None or before is None or id(before.config) not in built:
                continue
            if type(before.config) is not type(each.config):
                there = before.component.name if before.component else type(before.config).__name__
                raise UsageError(
                    f"{each.component.path}: cannot start from {self.path}: {each.component.name} here, but"
                    f" {there} there; give it another `shared_module_key` to train a new one"
                )
            found[id(each.config)] = each.component, built[id(before.config)]
        return found

    def knows_task(self, name: str, component: Component) -> bool:
        """Return whether the run has a task of this name and component."""
        before = self.run.tasks.components.get(name)
        return before is not None and type(before.config) is type(component.config)

    # --- before the data are read ----------------------------------------------------------------

    def enter(self, tasks: Tasks, config: RunConfig, *, with_files: bool) -> None:
        """Let featurizers and tasks start from what those of the run learned.

        `with_files` lets them read the files that those saved, too. Raises `UsageError` for settings that
        do not fit.
        """
        pairs = self.pairs(config)
        if not pairs and not any(self.knows_task(*each) for each in config.tasks.items()):
            raise UsageError(
                f"{self.path}: there is nothing to start from: no task of this config has the name, and no"
                f" module the `shared_module_key`, of one in that run ({', '.join(self._offered())})"
            )
        self._check(config, pairs)
        states = self.run.tasks.state()
        for key, shared in tasks.featurizers.items():
            before = self._featurizer(pairs, shared.component)
            if before is not None:
                own = f"featurizers/{file_name(before[0])}"
                learned = shared.component.spec.migrate_state(states["featurizers"][before[0]])
                _enter(shared.featurizer, learned, self._files(own) if with_files else None)
                tasks.started[f"featurizers.{key}"] = learned
        for name, task in tasks.tasks.items():
            if self.knows_task(name, tasks.components[name]):
                learned = tasks.components[name].spec.migrate_state(states["tasks"][name])
                _enter(task, learned, self._files(f"tasks/{file_name(name)}") if with_files else None)
                tasks.started[f"tasks.{name}"] = learned

    def _offered(self) -> list[str]:
        keys = (built.config.shared_module_key for built in self.run.model.built)
        return list(dict.fromkeys([*self.run.task_names, *(key for key in keys if key)]))

    def _files(self, name: str) -> Path:
        return self.folder.model / FILES / name

    def _featurizer(self, pairs: Pairs, component: Component) -> tuple[str, SharedFeaturizer] | None:
        """Return the run's featurizer for a component, with its key there; None if it has none."""
        if id(component.config) not in pairs:
            return None
        _, built = pairs[id(component.config)]
        shared = self.run.tasks.featurizers.items()
        return next((each for each in shared if each[1].component.config is built.config), None)

    def _check(self, config: RunConfig, pairs: Pairs) -> None:
        problems = [*self._width_problems(config, pairs), *self._setting_problems(pairs)]
        if problems:
            raise UsageError("\n".join(problems))

    def _width_problems(self, config: RunConfig, pairs: Pairs) -> Iterator[str]:
        """Find representations that would read vectors of another width than they did."""
        for task in config.tasks.values():
            component = getattr(task.config, "representation", None)
            if not isinstance(component, Component) or id(component.config) not in pairs:
                continue
            width = task.config.features.output_dim
            before = pairs[id(component.config)][1].shapes.get("input_dim", width)
            if width != before:
                yield (
                    f"{component.path}: cannot start from {self.path}: its features have {width:,} dimensions"
                    f" here, but {before:,} there"
                )
            elif isinstance(width, FeatureWidth) and not width.fits(before):
                yield (
                    f"{component.path}: cannot start from {self.path}: it reads features of width {width}"
                    f" here, but {before} there; list the featurizers in the same order"
                )

    def _setting_problems(self, pairs: Pairs) -> Iterator[str]:
        """Find modules that would not fit if they were built as in the run; on no device, so at no cost."""
        for component, built in pairs.values():
            builder = Builder(states={})
            try:
                with torch.device("meta"):
                    outline = self._outline(pairs, component, built, builder)
            except ComponentError:
                continue  # it is compared once it is built for the data
            tensors = _own_tensors(outline, (each.module for each in builder.built))
            try:
                self._match(outline, tensors, built)
            except UsageError as error:
                yield f"{component.path}: cannot start from {error}{_changes(component, built)}"

    def _outline(self, pairs: Pairs, component: Component, built: BuiltModule, builder: Builder) -> nn.Module:
        before = self._featurizer(pairs, component)
        if before is None:
            made: nn.Module = instantiate(component, builder, **built.shapes)
            return made
        featurizer: Featurizer[Any] = instantiate(component)
        with component_errors(featurizer, f"to build {component.path}"):
            if self._files(f"featurizers/{file_name(before[0])}").is_dir():
                featurizer.load_files(self._files(f"featurizers/{file_name(before[0])}"))
            featurizer.load_state(component.spec.migrate_state(before[1].featurizer.state()))
            return featurizer.build_embedding(builder)

    # --- once the model is built -----------------------------------------------------------------

    def module_states(self, config: RunConfig) -> dict[int, Mapping[str, Any]]:
        """Return what the run's modules saved besides tensors, by the `id` of the configs of this run."""
        return {
            key: self.run.model.builder.state_of(built.config)
            for key, (component, built) in self.pairs(config).items()
            if component.config.load_path is None
        }

    def fill(self, model: MultitaskModel, config: RunConfig) -> Report:
        """Copy the run's weights into the model. Raises `UsageError` for weights that do not fit."""
        pairs, report = self.pairs(config), Report(self.path)
        modules = [built.module for built in model.built]
        used: set[int] = set()
        for built in model.built:
            tensors = _own_tensors(built.module, modules)
            component, before = pairs.get(id(built.config), (None, None))
            used.add(id(before))
            if not tensors:
                continue
            what = f"{_label(built)} ({_size(tensors)}"
            if component is None or before is None or built.config.load_path is not None:
                report.new.append(f"{what})")
                continue
            rows = self._copy(built.users[0], built.module, tensors, before)
            report.taken.append(f"{what}{rows}){_changes(component, before)}")
        self._fill_tasks(model, config, report)
        for before in self.run.model.built:
            if id(before) not in used and self._stored(before):
                report.left.append(f"{_label(before)} ({_size(self._stored(before))})")
        return report

    def _fill_tasks(self, model: MultitaskModel, config: RunConfig, report: Report) -> None:
        """Copy what the models of tasks hold beside their modules, such as thresholds."""
        known = [name for name in model.tasks if self.knows_task(name, config.tasks[name])]
        for name, module in model.tasks.items():
            tensors = _own_tensors(module, (built.module for built in model.built))
            if tensors and name in known:
                rows = self._copy(f"tasks.{name}", module, tensors, self.run.model.tasks[name])
                report.taken.append(f"tasks.{name} itself ({_size(tensors)}{rows})")
            elif tensors:
                report.new.append(f"tasks.{name} itself ({_size(tensors)})")
        for name, module in self.run.model.tasks.items():
            tensors = self._stored(module)
            if tensors and name not in known:
                report.left.append(f"tasks.{name} itself ({_size(tensors)})")

    def _stored(self, before: BuiltModule | nn.Module) -> dict[str, Tensor]:
        module = before.module if isinstance(before, BuiltModule) else before
        return _own_tensors(module, (built.module for built in self.run.model.built))

    def _match(
        self, module: nn.Module, tensors: Mapping[str, Tensor], before: BuiltModule | nn.Module
    ) -> Any:
        """Return the stored tensors, and where the rows of a module's come from."""
        stored_in = before.module if isinstance(before, BuiltModule) else before
        stored_tensors = self._stored(before)
        names, columns = _row_names(stored_in, stored_tensors), input_columns(stored_in)
        stored = Weights.of(
            stored_tensors, names, self.path, {name: dict(parts) for name, parts in columns.items()}
        )
        check_columns(module, stored)
        return stored, match_rows(tensors, _row_names(module, tensors), stored)

    def _copy(
        self,
        path: str,
        module: nn.Module,
        tensors: Mapping[str, Tensor],
        before: BuiltModule | nn.Module,
    ) -> str:
        """Copy the tensors of one module. Return where rows with names went."""
        try:
            stored, match = self._match(module, tensors, before)
        except UsageError as error:
            raise UsageError(f"{path}: cannot start from {error}") from None
        copy_rows(tensors, stored, match)
        return f"; rows by name: {match}" if match.maps else ""


def starting_run(
    folder: RunFolder, given: Path | None, plugins: Plugins | None, *, resume: bool
) -> Start | None:
    """Return the run to start from: that of the argument or, for a run that is resumed, its own.

    Raises `UsageError` if the argument names another run than the one that the resumed run started from.
    """
    if not resume:
        return None if given is None else Start.open(given, plugins)
    kept = Start.kept_in(folder, plugins)
    if given is not None and (kept is None or str(given) != kept.path):
        before = f"from {kept.path}" if kept else "from no other run"
        raise UsageError(
            f"{folder.path}: this run started {before}, so it cannot be resumed with"
            f" {argument('from', str(given))}; leave that out"
        )
    return kept


@frozen(eq=False)
class _Named:
    """The config of a module, the component that it is of, and its names."""

    config: ModuleConfig
    component: Component | None
    names: list[Name]


def _module_configs(config: RunConfig) -> list[_Named]:
    """Return the config of each module of a run once, with its names: by key first, then by path."""
    keyed: dict[Name, str] = {}
    components: dict[int, Component] = {}
    found: dict[int, _Named] = {}
    for node in walk(config.tasks, ("tasks",)):
        value, path = node.value, node.path
        if isinstance(value, Component):
            components[id(value.config)] = value
        if not isinstance(value, ModuleConfig):
            continue
        if value.shared_module_key:
            keyed[path] = value.shared_module_key
        named = found.setdefault(id(value), _Named(value, components.get(id(value)), []))
        tops = [top for top in keyed if path[: len(top)] == top]
        if tops:
            top = max(tops, key=len)
            named.names.insert(0, (keyed[top], *path[len(top) :]))
        named.names.append(path)
    return list(found.values())


def _own_tensors(module: nn.Module, others: Any) -> dict[str, Tensor]:
    """Return the tensors of a module that are not those of another module within it."""
    of_others = {id(part) for part in module.modules()}
    inner = [other for other in others if other is not module and id(other) in of_others]
    theirs = {id(tensor) for other in inner for _, tensor in unique_tensors(other)}
    return {name: tensor for name, tensor in unique_tensors(module) if id(tensor) not in theirs}


def _row_names(module: nn.Module, tensors: Mapping[str, Tensor]) -> dict[str, Sequence[str]]:
    return {name: names for name, names in row_names(module).items() if name in tensors}


def _label(built: BuiltModule) -> str:
    key = built.config.shared_module_key
    return f"{key!r} {built.users[0]}" if key else built.users[0]


def _size(tensors: Mapping[str, Tensor]) -> str:
    return f"{sum(tensor.numel() for tensor in tensors.values()):,} values"


def _changes(component: Component, built: BuiltModule) -> str:
    """Return the plain settings that differ between a module and the one of the run."""
    general = fields_of(ModuleConfig)
    changed = []
    for name in fields_of(type(component.config)):
        now, before = getattr(component.config, name), getattr(built.config, name)
        if name not in general and now != before and _is_plain(now) and _is_plain(before):
            changed.append(f"`{name}` is {json.dumps(now)} here, {json.dumps(before)} there")
    return f" ({', '.join(changed)})" if changed else ""


def _is_plain(value: Any) -> bool:
    is_list = isinstance(value, list | tuple)
    return all(isinstance(each, str | int | float | None) for each in (value if is_list else [value]))


def _listed(items: Sequence[str]) -> str:
    more = [f"and {len(items) - _SHOWN:,} more"] if len(items) > _SHOWN else []
    return "; ".join([*items[:_SHOWN], *more])


def _enter(owner: Featurizer[Any] | Task[Any], learned: Mapping[str, Any], files: Path | None) -> None:
    with component_errors(owner, "to start from what another run learned"):
        if files is not None and files.is_dir():
            owner.load_files(files)
        owner.start_from(learned)
