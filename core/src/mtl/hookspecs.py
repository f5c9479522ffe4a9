"""The hooks that a plugin may implement. Free of torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import pluggy
from attrs import frozen

from mtl.components import Baseline, ComponentSpec, ConfigReader

if TYPE_CHECKING:
    import typer

PROJECT = "mtl"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)
"""Marks a function or method as the implementation of the hook that it is named after."""

Spec = TypeVar("Spec", bound=Callable[..., Any])


@frozen
class Deprecation:
    """A hook, or one argument of it, that the next major version of the plugin API removes."""

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
    """Return what is deprecated about a hook spec."""
    return getattr(spec, _DEPRECATIONS, ())


@hookspec
def mtl_tasks() -> Sequence[ComponentSpec]:
    """Return tasks, which learn from rows, predict and are measured."""
    raise NotImplementedError


@hookspec
def mtl_representations() -> Sequence[ComponentSpec]:
    """Return representations, which encode embedded tokens as a sequence or a document."""
    raise NotImplementedError


@hookspec
def mtl_featurizers() -> Sequence[ComponentSpec]:
    """Return featurizers, which turn tokens into numbers and embed them."""
    raise NotImplementedError


@hookspec
def mtl_poolings() -> Sequence[ComponentSpec]:
    """Return poolings, which reduce a sequence to one vector."""
    raise NotImplementedError


@hookspec
def mtl_decoders() -> Sequence[ComponentSpec]:
    """Return decoders, which map vectors to scores."""
    raise NotImplementedError


@hookspec
def mtl_data_sources() -> Sequence[ComponentSpec]:
    """Return data sources, which read files into rows."""
    raise NotImplementedError


@hookspec
def mtl_datasets() -> Sequence[ComponentSpec]:
    """Return public datasets, which `mtl data fetch` downloads and `mtl data sample` imitates."""
    raise NotImplementedError


@hookspec
def mtl_optimizers() -> Sequence[ComponentSpec]:
    """Return optimizers."""
    raise NotImplementedError


@hookspec
def mtl_lr_schedulers() -> Sequence[ComponentSpec]:
    """Return learning-rate schedulers."""
    raise NotImplementedError


@hookspec
def mtl_schedules() -> Sequence[ComponentSpec]:
    """Return schedules, which choose the task of each step."""
    raise NotImplementedError


@hookspec
def mtl_balancers() -> Sequence[ComponentSpec]:
    """Return balancers, which weight the tasks' losses or combine their gradients."""
    raise NotImplementedError


@hookspec
def mtl_loggers() -> Sequence[ComponentSpec]:
    """Return loggers, callbacks that a config names."""
    raise NotImplementedError


@hookspec
def mtl_config_readers() -> Sequence[ConfigReader]:
    """Return readers of other programs' configs, which `mtl config migrate` converts."""
    raise NotImplementedError


@hookspec
def mtl_baselines() -> Sequence[Baseline]:
    """Return simple models, which `mtl data check --baseline` scores on evaluation data."""
    raise NotImplementedError


@hookspec
def mtl_commands(app: typer.Typer) -> None:
    """Add commands to the command line, as in `app.command("name")(function)`."""
    raise NotImplementedError


@hookspec
def mtl_run_started(
    folder: str, config: Mapping[str, Any], plan: Mapping[str, Any], resumed_step: int
) -> None:
    """A run starts or resumes.

    `folder` is its absolute path, `config` the resolved config, `plan` what `mtl plan --json` prints.
    `resumed_step` is the step that it resumes from, 0 if it starts: steps after it will come again, so a
    callback that writes a file of its own drops what it wrote about them.

    A callback may raise `mtl.StopRun("reason")` in this and in each hook during training: the run ends after
    the step, with a last evaluation and the test, and `result.json` gives the reason as `stopped`. Anything
    else that a callback raises disables it, with a warning that names it.
    """
    raise NotImplementedError


@hookspec
def mtl_step_ended(step: int, epoch: int, task: str) -> None:
    """An optimizer step has ended, steps and epochs counted from 1. Called often: keep it cheap.

    `task` is the step's task, or its tasks with a comma between them, as in "SST2, LM".
    """
    raise NotImplementedError


@hookspec
def mtl_recorded(record: Mapping[str, Any]) -> None:
    """A line was written to metrics.jsonl; `record` is that line.

    Its `kind` is "train", "eval", "test", "gradients" or "stopped"; every line has `step` and `task`, and all
    but "test" lines `epoch`.
    """
    raise NotImplementedError


@hookspec
def mtl_batch_evaluated(task: str, split: str, batch: int, batches: int) -> None:
    """`batch` of the `batches` of a task's split ("eval" or "test") were evaluated, 0 when this begins.

    Called often: keep it cheap.
    """
    raise NotImplementedError


@hookspec
def mtl_evaluated(
    step: int, epoch: int, tasks: Mapping[str, Mapping[str, Any]], best: bool, selection: Mapping[str, Any]
) -> None:
    """Tasks were evaluated.

    `tasks` holds the loss and metrics of each task that was evaluated, None for one that is undefined.
    `selection` is `{"metric": name, "value": number or None}`: what selects the best model. `best` says
    whether this is the best evaluation yet; with `keep_model` "last", each one is.
    """
    raise NotImplementedError


@hookspec
def mtl_checkpoint_saved(path: str, step: int) -> None:
    """A checkpoint is complete: its absolute path, and the step that a run resumes from it."""
    raise NotImplementedError


@hookspec
def mtl_run_ended(result: Mapping[str, Any]) -> None:
    """A run has completed; `result` is result.json."""
    raise NotImplementedError


@hookspec
def mtl_run_failed(error: Exception, step: int) -> None:
    """A run fails with `error` after `step` steps. The exception is passed on, not copied."""
    raise NotImplementedError


@hookspec
def mtl_run_interrupted(signal: int, step: int) -> None:
    """A signal, by its number, ends the run after `step` steps; its state is saved unless it was the second
    signal."""
    raise NotImplementedError
