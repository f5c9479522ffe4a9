"""The hooks that a plugin may implement. Free of torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import pluggy
from attrs import frozen

from mtl.components import ComponentSpec

if TYPE_CHECKING:
    import typer

PROJECT = "mtl"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)

Spec = TypeVar("Spec", bound=Callable[..., Any])


@frozen
class Deprecation:
    """A hook, or one argument of it, that goes with the next major version of the plugin API."""

    since: str
    instead: str
    argument: str = ""


def deprecated(*, since: str, instead: str, argument: str = "") -> Callable[[Spec], Spec]:
    """Mark a hook spec, or one `argument` of it, as deprecated `since` a version of the plugin API.

    The hook is called as before; a plugin that implements it, or takes the argument, is named in
    `Plugins.warnings`, with what to do `instead`.
    """

    def mark(spec: Spec) -> Spec:
        marks = (*deprecations(spec), Deprecation(since, instead, argument))
        setattr(spec, _DEPRECATIONS, marks)
        return spec

    return mark


_DEPRECATIONS = "mtl_deprecations"


def deprecations(spec: object) -> tuple[Deprecation, ...]:
    """What of a hook spec is deprecated."""
    return getattr(spec, _DEPRECATIONS, ())


@hookspec
def mtl_tasks() -> Sequence[ComponentSpec]:
    """Tasks: what `tasks` in a config can name."""
    raise NotImplementedError


@hookspec
def mtl_representations() -> Sequence[ComponentSpec]:
    """Representations: embedded tokens to a sequence or a document."""
    raise NotImplementedError


@hookspec
def mtl_featurizers() -> Sequence[ComponentSpec]:
    """Featurizers: tokens to numbers, and the embedding that reads them."""
    raise NotImplementedError


@hookspec
def mtl_poolings() -> Sequence[ComponentSpec]:
    """Poolings: a sequence to one vector."""
    raise NotImplementedError


@hookspec
def mtl_decoders() -> Sequence[ComponentSpec]:
    """Decoders: vectors to scores."""
    raise NotImplementedError


@hookspec
def mtl_data_sources() -> Sequence[ComponentSpec]:
    """Data sources: files to rows."""
    raise NotImplementedError


@hookspec
def mtl_datasets() -> Sequence[ComponentSpec]:
    """Public datasets that `mtl data fetch` brings and `mtl data sample` imitates."""
    raise NotImplementedError


@hookspec
def mtl_optimizers() -> Sequence[ComponentSpec]:
    """Optimizers."""
    raise NotImplementedError


@hookspec
def mtl_lr_schedulers() -> Sequence[ComponentSpec]:
    """Learning-rate schedulers."""
    raise NotImplementedError


@hookspec
def mtl_schedules() -> Sequence[ComponentSpec]:
    """Batch schedules: which task's batch comes next."""
    raise NotImplementedError


@hookspec
def mtl_balancers() -> Sequence[ComponentSpec]:
    """Balancers: how the tasks' losses weigh against each other."""
    raise NotImplementedError


@hookspec
def mtl_loggers() -> Sequence[ComponentSpec]:
    """Loggers: objects with run-time hooks that a config can name."""
    raise NotImplementedError


@hookspec
def mtl_exporters() -> Sequence[ComponentSpec]:
    """Exporters: one task's model to another format."""
    raise NotImplementedError


@hookspec
def mtl_commands(app: typer.Typer) -> None:
    """Add a command to the command line, as `app.command("name")(function)`."""
    raise NotImplementedError


@hookspec
def mtl_run_started(folder: str, config: Mapping[str, Any], plan: Mapping[str, Any]) -> None:
    """A run starts: its folder, its resolved config and its plan, as `mtl plan --json` prints it."""
    raise NotImplementedError


@hookspec
def mtl_step_ended(step: int, epoch: int, task: str) -> None:
    """An optimizer step has ended, steps and epochs counted from 1. Called often: keep it cheap.

    `task` is the step's task, or its tasks with a comma between them, as in "SST2, LM".
    """
    raise NotImplementedError


@hookspec
def mtl_recorded(record: Mapping[str, Any]) -> None:
    """A line was written to metrics.jsonl; `record` is that line."""
    raise NotImplementedError


@hookspec
def mtl_evaluated(
    step: int, epoch: int, tasks: Mapping[str, Mapping[str, Any]], best: bool, selection: Mapping[str, Any]
) -> None:
    """Tasks were evaluated: their figures, the figure that selects, and whether the model is kept: the best
    yet, or, with `keep_model` "last", each."""
    raise NotImplementedError


@hookspec
def mtl_checkpoint_saved(path: str, step: int) -> None:
    """A checkpoint is complete."""
    raise NotImplementedError


@hookspec
def mtl_run_ended(result: Mapping[str, Any]) -> None:
    """A run ends; `result` is result.json."""
    raise NotImplementedError
