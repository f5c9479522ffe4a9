"""Tensors in files, and the names of their rows and columns.

A tensor with a row per word or label means nothing without the words or labels: another run has them in
another order. A module says what its rows are in `row_names()`, files carry the names, and loading follows
them. What a module reads from the features is in the order of the featurizers: files carry their names and
widths, and weights that read them in another order are refused.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

import torch
from attrs import define, evolve, field, frozen
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from mtl.components import FeatureWidth
from mtl.errors import UsageError, component_errors
from mtl.files import atomic_write

RowNames = Mapping[str, Sequence[str]]
"""The names of the rows (dim 0) of tensors, by the name of the tensor."""

ROW_NAMES = "row_names"
"""The key in a safetensors file's metadata whose value is `RowNames` as JSON."""

ALIASES = "aliases"
"""The key in a safetensors file's metadata whose value is `Weights.aliases` as JSON."""

COLUMNS = "input_columns"
"""The key in a safetensors file's metadata whose value is `Weights.columns` as JSON."""

BASE = "base"
"""The key in a safetensors file's metadata whose value is `SavedPart.base` as JSON."""

UNNAMED = "its rows have no names"
_PROBLEMS_SHOWN = 5


@frozen(eq=False)
class Weights:
    """Stored tensors, each read when it is needed; `source` names them in messages."""

    source: str
    shapes: Mapping[str, Sequence[int]]
    row_names: RowNames
    read: Callable[[str], Tensor]
    aliases: Mapping[str, str] = field(factory=dict)
    """Other names of stored tensors: modules that share a tensor store it once."""
    columns: Mapping[str, FeatureWidth] = field(factory=dict)
    """What modules read of the features, by the names of the modules."""
    base: Mapping[str, Any] = field(factory=dict)
    """What holds the tensors that are missing here; empty if none are."""

    def with_aliases(self) -> Weights:
        """Return the stored tensors by all their names."""
        return self.by_names({**{name: name for name in self.shapes}, **self.aliases})

    def part(self, names: Iterable[str]) -> Weights:
        """Return the tensors of these names that are stored, without the others."""
        return self.by_names({name: name for name in names if name in self.shapes})

    def by_names(self, stored: Mapping[str, str]) -> Weights:
        """Return stored tensors by other names: `stored` maps each to its own."""
        return Weights(
            self.source,
            {name: self.shapes[own] for name, own in stored.items()},
            {name: self.row_names[own] for name, own in stored.items() if own in self.row_names},
            lambda name: self.read(stored[name]),
            columns=self.columns,
        )

    @classmethod
    def of(
        cls,
        tensors: Mapping[str, Tensor],
        row_names: RowNames,
        source: str,
        columns: Any = MappingProxyType({}),
    ) -> Self:
        """Return tensors in memory as stored ones. Raises `UsageError` for names of another form."""
        shapes = {name: list(tensor.shape) for name, tensor in tensors.items()}
        return cls(
            source,
            shapes,
            _checked_names(row_names, shapes, source),
            tensors.__getitem__,
            columns=_checked_columns(columns, source),
        )


@frozen(eq=False)
class SavedPart:
    """What `save_path` writes of a module instead of all its tensors: what its `saved_part()` returns.

    `base` says, as JSON, what holds the other tensors; the module's `check_base(base)` raises `ValueError` if
    that is not what it has itself. It is empty if no tensors are missing.
    """

    tensors: Mapping[str, Tensor]
    base: Mapping[str, Any] = field(factory=dict)


@frozen(eq=False)
class RowMap:
    """Where each row of a tensor comes from: stored row `index[i]`, or nowhere if that is -1."""

    index: Tensor
    stored_rows: int

    def copy_into(self, tensor: Tensor, stored: Tensor) -> None:
        """Copy the stored rows to their places; rows that are new stay as they are."""
        known = self.index >= 0
        tensor[known.to(tensor.device)] = stored[self.index[known].to(stored.device)].to(tensor)


@define(eq=False)
class Match:
    """How stored tensors fit a module: the rows of the tensors in `maps` are not where they were.

    Tensors with the same names, such as a layer's weight and bias, count once.
    """

    maps: Mapping[str, RowMap]
    moved: int = 0
    new: int = 0
    dropped: int = 0

    def __str__(self) -> str:
        counts = {"moved": self.moved, "new": self.new, "dropped": self.dropped}
        return ", ".join(f"{count:,} {what}" for what, count in counts.items())


def unique_tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yield every parameter and persistent buffer of a module once, by its first name."""
    yield from module.named_parameters()
    persistent = module.state_dict(keep_vars=True).keys()
    yield from ((name, buffer) for name, buffer in module.named_buffers() if name in persistent)


def tensor_aliases(module: nn.Module) -> dict[str, str]:
    """Return the other names of a module's tensors, each with the name that `unique_tensors` gives it."""
    first = {id(tensor): name for name, tensor in unique_tensors(module)}
    named = module.state_dict(keep_vars=True)
    return {name: own for name, tensor in named.items() if (own := first.get(id(tensor), name)) != name}


def row_names(module: nn.Module) -> dict[str, tuple[str, ...]]:
    """Return the names of rows that a module and those within it give, by `unique_tensors`' names.

    Raises `ComponentError` for a module whose names do not fit its tensors.
    """
    first = {id(tensor): name for name, tensor in unique_tensors(module)}
    found: dict[str, tuple[str, ...]] = {}
    for part in module.modules():
        give = getattr(part, "row_names", None)
        if give is None:
            continue
        with component_errors(part, "to name its rows"):
            tensors = part.state_dict(keep_vars=True)
            for name, names in give().items():
                names = tuple(names)
                if len(set(names)) != len(names) or len(names) != len(tensors[name]):
                    raise ValueError(
                        f"`{name}` must have a different name for each of its {len(tensors[name]):,} rows,"
                        f" but has {len(set(names)):,} different names"
                    )
                found.setdefault(first[id(tensors[name])], names)
    return found


def note_input(module: nn.Module, width: object) -> None:
    """Note on a module which columns of the features it reads, if `width` says so."""
    if isinstance(width, FeatureWidth):
        setattr(module, COLUMNS, width)


def input_columns(module: nn.Module) -> dict[str, Mapping[str, int]]:
    """Return what a module and those within it read of the features, by their names."""
    noted = ((name, getattr(part, COLUMNS, None)) for name, part in module.named_modules())
    return {name: width.parts for name, width in noted if isinstance(width, FeatureWidth)}


def metadata(module: nn.Module) -> dict[str, Any]:
    """Return what a file of a module's tensors carries besides them."""
    return {
        ROW_NAMES: row_names(module),
        ALIASES: tensor_aliases(module),
        COLUMNS: input_columns(module),
    }


def cpu_copy(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copy tensors to the CPU, so that training does not change them."""
    return {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}


def write_tensors(
    tensors: Mapping[str, Tensor],
    path: Path,
    metadata: Mapping[str, Any] = MappingProxyType({}),
) -> None:
    """Write tensors and their `metadata` as safetensors. Raises `OSError`."""
    # save_file makes a file that nobody else may read, whatever the umask says.
    path.touch()
    mode = path.stat().st_mode
    try:
        # In ASCII, because a name may be half of a surrogate pair, which is no UTF-8.
        said = {key: json.dumps(value) for key, value in metadata.items() if value}
        save_file(dict(tensors), path, said or None)
        _sort_metadata(path)
        path.chmod(mode)
    except SafetensorError as error:
        raise OSError(None, str(error), str(path)) from None


def _sort_metadata(path: Path) -> None:
    """Bring the metadata of a safetensors file into order: `save_file` writes them in a random one, but the
    same tensors are to give the same bytes."""
    with path.open("r+b") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
        metadata = header.pop("__metadata__", None)
        if metadata is None:
            return
        ordered = {"__metadata__": dict(sorted(metadata.items())), **header}
        text = json.dumps(ordered, separators=(",", ":"), ensure_ascii=False).encode()
        if len(text) <= size:
            file.seek(8)
            file.write(text.ljust(size))


def save_module(module: nn.Module, path: Path) -> None:
    """Write a module's tensors, or its `saved_part()`, and the names of their rows as safetensors.

    Raises `OSError`.
    """
    part: SavedPart | None = module.saved_part() if hasattr(type(module), "saved_part") else None  # type: ignore[operator]
    tensors = dict(unique_tensors(module)) if part is None else part.tensors
    said = metadata(module) if part is None else {BASE: dict(part.base)}
    with atomic_write(path) as temporary:
        write_tensors(cpu_copy(tensors), temporary, said)


@contextmanager
def open_weights(path: Path) -> Iterator[Weights]:
    """Open a safetensors file. Raises `UsageError` if it cannot be read."""
    try:
        with safe_open(path, framework="pt") as stored:
            shapes = {name: stored.get_slice(name).get_shape() for name in stored.keys()}  # noqa: SIM118
            metadata = stored.metadata() or {}
            names = _checked_names(_parsed(path, metadata, ROW_NAMES), shapes, str(path))
            aliases = _parsed(path, metadata, ALIASES)
            if not isinstance(aliases, dict) or not all(of in shapes for of in map(str, aliases.values())):
                raise UsageError(f"{path}: its `{ALIASES}` must be an object of names of tensors")
            columns = _checked_columns(_parsed(path, metadata, COLUMNS), str(path))
            base = _parsed(path, metadata, BASE)
            if not isinstance(base, dict):
                raise UsageError(f"{path}: its `{BASE}` must be an object")
            yield Weights(str(path), shapes, names, stored.get_tensor, aliases, columns, base)
    except (OSError, SafetensorError) as error:
        raise UsageError(f"{path}: not a file of weights: {error}") from None


Renamed = Sequence[tuple[nn.Module, Mapping[str, str]]]
"""Modules, and the names that tensors or modules within them had and have: `{"old": "new"}`."""


def load_module(module: nn.Module, path: Path, renamed: Renamed = ()) -> Match:
    """Read a module's tensors from a safetensors file, as `load_named` does."""
    with open_weights(path) as stored:
        return load_named(module, stored, renamed)


def load_named(module: nn.Module, stored: Weights, renamed: Renamed = ()) -> Match:
    """Copy stored tensors into a module; rows that have names go where their names are.

    Tensors of `renamed` modules within it may be stored by the names that they had.
    Nothing is read before all names and shapes are checked. Raises `UsageError` if they do not fit.
    """
    tensors = dict(unique_tensors(module))
    if stored.base:
        _check_base(module, stored)
        tensors = {name: tensor for name, tensor in tensors.items() if name in stored.shapes}
    stored = with_new_names(stored, module, renamed)
    check_columns(module, stored)
    match = match_rows(tensors, row_names(module), stored)
    copy_rows(tensors, stored, match)
    return match


def _check_base(module: nn.Module, stored: Weights) -> None:
    """Raise `UsageError` if stored tensors are a part of something else than a module."""
    try:
        if not hasattr(type(module), "check_base"):
            raise ValueError(f"they need {json.dumps(stored.base)}")
        module.check_base(stored.base)  # type: ignore[operator]
    except ValueError as error:
        raise UsageError(f"{stored.source}: these weights do not fit the model: {error}") from error


def with_new_names(stored: Weights, module: nn.Module, renamed: Renamed) -> Weights:
    """Return the stored tensors by the names that those of `module` have now."""
    names_of = {id(part): names for part, names in renamed}
    places = module.named_modules(remove_duplicate=False) if names_of else ()
    changes = [
        (f"{place}." if place else "", names_of[id(part)]) for place, part in places if id(part) in names_of
    ]
    # Outer modules first: one within them may itself have been renamed.
    changes.sort(key=lambda change: len(change[0]))
    current = {name for name, _ in unique_tensors(module)}

    def new_name(name: str) -> str:
        for prefix, names in changes:
            for old, new in names.items() if name not in current else ():
                if name == prefix + old or name.startswith(f"{prefix}{old}."):
                    name = prefix + new + name[len(prefix + old) :]
                    break
        return name

    if not changes:
        return stored
    old_names = {new_name(name): name for name in stored.shapes}
    columns = {new_name(name): width for name, width in stored.columns.items()}
    return evolve(stored.by_names(old_names), columns=columns)


def check_columns(module: nn.Module, stored: Weights) -> None:
    """Raise `UsageError` if stored weights read the features of a module in another order or width."""
    for name, parts in input_columns(module).items():
        here, there = FeatureWidth(parts), stored.columns.get(name)
        if there is not None and not there.fits(here):
            reader = f"{name} reads" if name else "they read"
            raise UsageError(
                f"{stored.source}: these weights do not fit the model: {reader} features of width {there},"
                f" but here {here}; list the featurizers in the same order, with the same widths"
            )


def copy_rows(tensors: Mapping[str, Tensor], stored: Weights, match: Match) -> None:
    """Copy the stored tensors of the same names, whose rows are where `match` says."""
    with torch.no_grad():
        for name, tensor in tensors.items():
            if name in match.maps:
                match.maps[name].copy_into(tensor, stored.read(name))
            else:
                tensor.copy_(stored.read(name))


def match_rows(tensors: Mapping[str, Tensor], names: RowNames, stored: Weights) -> Match:
    """Find each row of `tensors` in `stored` by its name, or by its place if it has none.

    Raises `UsageError` if names, shapes or rows do not fit.
    """
    problems = [f"{name} is missing" for name in tensors.keys() - stored.shapes.keys()]
    problems += [f"{name} is not part of the model" for name in stored.shapes.keys() - tensors.keys()]
    maps: dict[str, RowMap] = {}
    counted: set[tuple[tuple[str, ...], tuple[str, ...]]] = set()
    match = Match(maps)
    for name, tensor in tensors.items():
        if name not in stored.shapes:
            continue
        ours, theirs = names.get(name), stored.row_names.get(name)
        problem = _misfit(name, tensor, stored.shapes[name], ours, theirs)
        if problem:
            problems.append(problem)
        elif ours is not None and theirs is not None and tuple(ours) != tuple(theirs):
            places = {row: place for place, row in enumerate(theirs)}
            index = [places.get(row, -1) for row in ours]
            maps[name] = RowMap(torch.tensor(index), len(theirs))
            if (pair := (tuple(ours), tuple(theirs))) not in counted:
                counted.add(pair)
                known = sum(place >= 0 for place in index)
                match.moved += sum(place not in (-1, row) for row, place in enumerate(index))
                match.new += len(ours) - known
                match.dropped += len(theirs) - known
    if problems:
        shown = "; ".join(sorted(problems)[:_PROBLEMS_SHOWN])
        if f"there {UNNAMED}" in shown:
            shown += " (save the module again with `save_path`, which writes the names of rows)"
        raise UsageError(f"{stored.source}: these weights do not fit the model: {shown}")
    return match


def _misfit(
    name: str, tensor: Tensor, shape: Sequence[int], ours: Sequence[str] | None, theirs: Sequence[str] | None
) -> str | None:
    """Say why a stored tensor cannot be loaded; None if it can."""
    wanted = list(tensor.shape)
    compared = slice(1, None) if ours is not None and theirs is not None else slice(None)
    if wanted[compared] != list(shape)[compared] or len(wanted) != len(shape):
        return f"{name} has shape {list(shape)}, but must have {wanted}"
    if ours is not None and theirs is None:
        return f"{name} has a row for each of {_some(ours)}, but there {UNNAMED}"
    if ours is None and theirs is not None:
        return f"{name} has a row for each of {_some(theirs)}, but here {UNNAMED}"
    if ours is not None and theirs is not None and ours and not set(ours) & set(theirs):
        return f"{name} has a row for each of {_some(theirs)}, but needs {_some(ours)}"
    return None


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:3])
    return f"{shown}, … ({len(names):,})" if len(names) > 3 else shown


def _parsed(path: Path, metadata: Mapping[str, str], key: str) -> Any:
    try:
        return json.loads(metadata.get(key, "{}"))
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path}: its `{key}` are not JSON: {error}") from None


def _checked_columns(columns: Any, source: str) -> dict[str, FeatureWidth]:
    """Return columns as read. Raises `UsageError` unless they are widths by module and featurizer."""
    try:
        widths = {name: FeatureWidth(parts) for name, parts in columns.items()}
        valid = all(type(width) is int for parts in widths.values() for width in parts.parts.values())
    except (AttributeError, TypeError, ValueError):
        valid = False
    if not valid:
        raise UsageError(f"{source}: its `{COLUMNS}` must be an object of the widths of features")
    return widths


def _checked_names(names: Any, shapes: Mapping[str, Sequence[int]], source: str) -> RowNames:
    """Return names as read. Raises `UsageError` unless there is one for each row of a stored tensor."""
    if not isinstance(names, Mapping):
        raise UsageError(f"{source}: its `{ROW_NAMES}` must be an object")
    for tensor, rows in names.items():
        is_list = isinstance(rows, (list, tuple)) and all(isinstance(row, str) for row in rows)
        if not is_list or [len(rows)] != list(shapes.get(tensor, ()))[:1] or len(set(rows)) != len(rows):
            problem = f"its `{ROW_NAMES}` must give {tensor} a different name for each row"
            raise UsageError(f"{source}: {problem}")
    return names
