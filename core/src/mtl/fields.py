"""How a config class says what it takes: options, slots and paths. Free of torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NewType, TypeVar, dataclass_transform

import attrs
from attrs import field, frozen

if TYPE_CHECKING:
    from mtl.components import ComponentSpec

InputPath = NewType("InputPath", Path)
"""A file to read. Relative to `base_dir` in the JSON, absolute once read; it must exist."""

OutputPath = NewType("OutputPath", Path)
"""A file to write. Relative to `base_dir` in the JSON, absolute once read."""

REQUIRED: Any = attrs.NOTHING

T = TypeVar("T")


def option(
    default: Any = REQUIRED,
    help: str = "",
    *,
    minimum: float | None = None,
    above: float | None = None,
    maximum: float | None = None,
    below: float | None = None,
) -> Any:
    """A field of a config class: its default, its help and the range it must lie in.

    A mutable default is given as `attrs.Factory(list)`. The type hint does the rest: `int`,
    `float`, `bool`, `str`, `Literal[...]`, `X | None`, `list[X]`, `dict[str, X]`, `InputPath`,
    `OutputPath` or another config class.
    """
    limits = {"minimum": minimum, "above": above, "maximum": maximum, "below": below}
    limits = {name: limit for name, limit in limits.items() if limit is not None}
    return field(default=default, metadata={"help": help, "limits": limits})


def slot(
    kind: str,
    default: str | Mapping[str, Mapping[str, Any]] | Sequence[Any] | None = REQUIRED,
    help: str = "",
    **declares: Any,
) -> Any:
    """A field that takes any installed component of `kind`, held as a `Component`.

    `default` is a component's name, or `{"Name": {settings}}` where this slot's default differs
    from the component's own; `None` leaves the slot empty. `declares` are attributes that the
    component's config must have with these values, as in
    `slot("representation", "BiLSTM", output=Output.SEQUENCE)`: what does not fit is refused
    before data is read.

    The type hint says how many: `Component`, `Component | None`, `list[Component]` or
    `dict[str, Component]` (empty where the config says nothing, but a required `dict` must name one).
    A `list` may have a list of components for its default; it must then name one.
    """
    metadata = {"help": help, "slot": kind, "default": default, "declares": declares}
    return field(default=None, metadata=metadata) if default is None else field(metadata=metadata)


@frozen
class Component:
    """What stands in a slot: the component that was named and its settings.

    `path` is the JSON path of its settings, or of the slot where the config does not name it.
    """

    kind: str
    name: str
    spec: ComponentSpec = field(repr=False)
    config: Any
    path: str = field(default="", eq=False)


# Without field specifiers a type checker takes `option(1)` for a default, as it is.
@dataclass_transform(kw_only_default=True, frozen_default=True)
def configclass(cls: type[T]) -> type[T]:
    """Make a config class: frozen, keyword-only attrs. Its docstring is its help."""
    return attrs.define(frozen=True, kw_only=True, slots=True)(cls)
