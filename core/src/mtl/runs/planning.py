"""`plan`: what a run will do, as JSON, for `mtl plan --json` and the callbacks of a run."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from mtl.components import Split
from mtl.data.columns import Dense, Rows
from mtl.data.load import SPLITS, skipped_rows
from mtl.errors import component_errors
from mtl.plugins import Plugins, discover
from mtl.runs.arguments import as_path
from mtl.runs.given import GivenData
from mtl.runs.inspection import label_notices, label_summary, overlap_notices, unknown_notices
from mtl.runs.measure import measure
from mtl.runs.preparation import Prepared, Source, load_source, make_trainer, prepare, torch_settings
from mtl.runs.start import Start
from mtl.training.evaluation import batches_to_score
from mtl.training.phase import Phase
from mtl.training.selection import task_weights
from mtl.training.timeline import Step, Timeline
from mtl.weights import unique_tensors


def plan(
    source: Source,
    *,
    data: GivenData | None = None,
    base_dir: Path | str | None = None,
    overrides: Sequence[str] = (),
    measured: bool = False,
    from_run: Path | str | None = None,
    plugins: Plugins | None = None,
) -> dict[str, Any]:
    """Return what `train` would do with a config, as `mtl plan --json` prints it.

    `data` are rows in place of files and `from_run` the run to start from, as in `train`. `measured` adds
    the time and memory of the run, estimated from a few of its steps.

    Raises what `train` raises before its first step.
    """
    plugins = plugins or discover()
    loaded = load_source(source, plugins, overrides, base_dir, data=data)
    with torch_settings(loaded.config):
        start = None if from_run is None else Start.open(as_path("from_run", from_run), plugins)
        prepared = prepare(loaded, plugins, start=start)
        planned = describe(prepared)
        trainer = make_trainer(prepared)
        return {**planned, "measured": measure(trainer)} if measured else planned


def describe(prepared: Prepared) -> dict[str, Any]:
    """Return tasks, schedule, modules and memory of a prepared run."""
    parameters = list(prepared.model.parameters())
    return {
        "tasks": {name: _task(prepared, name) for name in prepared.tasks.tasks},
        "schedule": _schedule(prepared),
        "modules": _modules(prepared),
        "parameters": {
            "total": sum(p.numel() for p in parameters),
            "trainable": sum(p.numel() for p in parameters if p.requires_grad),
        },
        "memory": _memory(prepared),
        "selection": prepared.selection.text,
        "warnings": list(prepared.loaded.warnings),
        "notices": _notices(prepared),
        "device": str(prepared.device),
    }


def _task(prepared: Prepared, name: str) -> dict[str, Any]:
    component = prepared.config.tasks[name]
    provider = prepared.plugins.find("task", component.name)
    return {
        "component": component.name,
        "distribution": provider.distribution,
        "weight": task_weights(prepared.config)[name],
        "metric": component.config.metric.name,
        "higher_is_better": component.config.metric.higher_is_better,
        **{split: _split(prepared, name, split) for split in SPLITS},
    }


def _split(prepared: Prepared, name: str, split: Split) -> dict[str, Any] | None:
    data = prepared.data[name]
    rows = data.splits[split]
    if rows is None:
        return None
    lengths = rows.lengths
    batching = [phase.timeline.batching[name] for phase in prepared.phases if name in phase.timeline.batching]
    if split == "train" and batching:
        batches = batching[0].count(0)
    else:
        batches = len(batches_to_score(prepared.tasks.tasks[name], rows))
    return {
        "path": rows.path,
        "fraction": prepared.config.tasks[name].config.data.config.fraction(split),
        "rows": len(rows),
        "skipped": rows.skipped,
        "batches": batches,
        "words": int(rows.words.sum()),
        "pieces": int(rows.pieces.sum()),
        "longest": int(lengths.max(initial=0)),
        "labels": label_summary(prepared.tasks.tasks[name].label_counts(rows)),
        "statistics": dict(data.statistics[split]),
    }


def _schedule(prepared: Prepared) -> dict[str, Any]:
    """Return the steps of the whole run, and of each phase."""
    phases = [_phase(prepared, phase) for phase in prepared.phases]
    return {
        **{
            key: "; then ".join(dict.fromkeys(each[key] for each in phases)) for key in ("component", "epoch")
        },
        **{key: sum(each[key] for each in phases) for key in ("epochs", "steps")},
        **{key: phases[0][key] for key in ("steps_per_epoch", "tasks")},
        "phases": phases,
    }


def _phase(prepared: Prepared, phase: Phase) -> dict[str, Any]:
    timeline = phase.timeline
    lengths: list[int] = []
    first: list[Step] = []
    for steps in timeline.walk():
        lengths.append(len(steps))
        first = first or steps
    return {
        "name": phase.name,
        "component": phase.schedule.name,
        "epoch": timeline.rule.text,
        "epochs": len(lengths),
        "steps": sum(lengths),
        "steps_per_epoch": lengths[0],
        "tasks": _shares(timeline, first, phase.tasks),
        "optimizer": phase.optimizer.name,
        "lr_scheduler": phase.lr_scheduler.name,
        "frozen": sorted(
            [
                *(b.users[0] for b in prepared.model.built if any(b.module is m for m in phase.frozen)),
                *phase.frozen_parameters,
            ]
        ),
    }


def _shares(timeline: Timeline, steps: list[Step], tasks: Sequence[str]) -> dict[str, dict[str, int]]:
    shares: dict[str, Counter[str]] = {name: Counter(steps=0, batches=0, rows=0) for name in tasks}
    for span in (span for step in steps for span in step.spans):
        batches = timeline.batching[span.task].batches(span.pass_index)[span.start : span.stop]
        shares[span.task].update(steps=1, batches=len(batches), rows=sum(map(len, batches)))
    return {name: dict(share) for name, share in shares.items()}


def _modules(prepared: Prepared) -> list[dict[str, Any]]:
    groups = {group.key: group for group in prepared.loaded.groups}
    modules = []
    for built in prepared.model.built:
        key = built.config.shared_module_key
        group = groups.get(key) if key else None
        modules.append(
            {
                "path": built.users[0],
                "component": type(built.module).__name__,
                "parameters": _size(built.module, trainable=False),
                "trainable": _size(built.module, trainable=True),
                "key": key,
                "users": list(built.users),
                "owners": dict(group.owners) if group else {},
                "values": dict(group.values) if group else {},
            }
        )
    return modules


def _size(module: nn.Module, *, trainable: bool) -> int:
    return sum(p.numel() for p in module.parameters() if p.requires_grad or not trainable)


def _memory(prepared: Prepared) -> dict[str, int]:
    """Return bytes; the optimizer's two moments are Adam's."""
    trainable = sum(p.nbytes for p in prepared.model.parameters() if p.requires_grad)
    rows = {
        id(rows): rows for data in prepared.data.values() for rows in data.splits.values() if rows is not None
    }
    return {
        "parameters_bytes": sum(tensor.nbytes for _, tensor in unique_tensors(prepared.model)),
        "gradients_bytes": trainable,
        "optimizer_bytes": 2 * trainable,
        "data_bytes": sum(map(_bytes, rows.values())),
    }


def _bytes(rows: Rows) -> int:
    return sum(
        column.values.nbytes + (0 if isinstance(column, Dense) else column.offsets.nbytes)
        for column in rows.columns.values()
    )


def _notices(prepared: Prepared) -> list[str]:
    notices = list(prepared.notices)
    weights: Mapping[str, float] = task_weights(prepared.config)
    notices += [
        f"{name}: weight 0, so it is evaluated but not trained" for name, w in weights.items() if w == 0
    ]
    notices += _idle(prepared)
    notices += _undefined(prepared)
    for name, data in prepared.data.items():
        for split, rows in data.splits.items():
            if rows is not None and not len(rows):
                notices.append(f"{name}: {rows.path} has no rows, so there are no {split} metrics")
        skipping = {rows.path: rows for rows in data.splits.values() if rows is not None and rows.skipped}
        notices += [f"{name}: {path}: {skipped_rows(rows)}" for path, rows in skipping.items()]
        notices += [f"{name}: {notice}" for notice in _data_notices(prepared, name)]
    return [as_stated(notice, prepared.config.base_dir) for notice in notices]


def as_stated(message: str, base_dir: str) -> str:
    """Return a message in which paths below `base_dir` are relative to it, as configs state them."""
    below = re.escape(base_dir.rstrip(os.sep) + os.sep)
    return re.sub(rf"(?<![\w./-]){below}(?=[^\s/])", "", message)


def _data_notices(prepared: Prepared, name: str) -> Iterator[str]:
    """Yield what is suspicious about a task's labels, words and splits."""
    task, data = prepared.tasks.tasks[name], prepared.data[name]
    yield from label_notices(task.label_counts(data.train))
    yield from unknown_notices(data.statistics)
    yield from overlap_notices(data.splits, data.statistics)


def _undefined(prepared: Prepared) -> Iterator[str]:
    """Yield metrics that select the best model, but that the evaluation data cannot define."""
    for name, task in prepared.tasks.tasks.items():
        rows, metric = prepared.data[name].splits["eval"], task.config.metric.name
        counts = any(name in p.selection.metrics or name in p.early_stopping.metrics for p in prepared.phases)
        if rows is None or not counts:
            continue
        with component_errors(task, f"to check {rows.path}"):
            reason = task.undefined_metrics(rows).get(metric)
        if reason is not None:
            yield (
                f"{name}: {metric} is undefined on {rows.path}, as {reason}: no evaluation can be the best;"
                " select by another metric or other rows"
            )


def _idle(prepared: Prepared) -> Iterator[str]:
    """Yield tasks that no phase has, and settings that wait for evaluations which never come."""
    for name, component in prepared.config.tasks.items():
        if not any(name in phase.tasks for phase in prepared.phases):
            yield f"{name}: in no phase, so it is not trained"
        if component.config.early_stop_after is not None and prepared.data[name].splits["eval"] is None:
            yield f"{name}: no evaluation data, so `early_stop_after` never ends its training"
    for phase in prepared.phases:
        if phase.selection.metrics:
            continue
        where = f"phase {phase.title}: " if len(prepared.phases) > 1 else ""
        if prepared.config.trainer.early_stop_after is not None:
            yield f"{where}no evaluation data, so `trainer.early_stop_after` never ends the training"
        if phase.lr_by_metric:
            yield f"{where}no evaluation data, so {phase.lr_scheduler.name} never lowers the rate"
