"""Comparing configs: the same tasks, data and seeds, other settings."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mtl import UsageError
from mtl.runs import LoadedConfig, Plugins, Prepared, dump, prepare, task_weights, torch_settings
from mtl_compare.comparison import CompareFolder, Comparison, fingerprints, fold_notes, make_runs
from mtl_compare.report import Subject
from mtl_compare.scores import reported
from mtl_compare.variants import Variant, check_trained, drop_save_paths, hold_splits, planned_steps


def make_config_comparison(
    loaded: Mapping[str, LoadedConfig],
    plugins: Plugins,
    *,
    output: Path,
    seeds: Sequence[int],
    tasks: Sequence[str] = (),
    device: str | None = None,
    folds: Sequence[str] = (),
) -> Comparison:
    """Read the data of each config and claim the folder `output`; the first config is the baseline.

    Tasks that all configs train are compared, or those in `tasks`. `folds` are those of which each run holds
    out another fold.

    Raises `UsageError` if there is nothing to compare, or if the folder is used for something else.
    """
    variants, subjects, digests = list[Variant](), dict[str, dict[str, Subject]](), dict[str, str]()
    notes, rows = list[str](), dict[str, dict[str, Any]]()
    for name, each in loaded.items():
        with torch_settings(each.config):
            prepared = prepare(each, plugins)
        variant = _variant(name, prepared)
        variants.append(variant)
        trained = [task for task, weight in task_weights(prepared.config).items() if weight > 0]
        check_trained("--task", tasks, trained)
        for task in [task for task in trained if task in tasks or not tasks]:
            of = reported(prepared, task)
            if of is not None:
                metric = prepared.config.tasks[task].config.metric
                subjects.setdefault(task, {})[name] = Subject(task, metric, of)
                rows.setdefault(task, {})[name] = _content(prepared, task, of.split)
        digests |= fingerprints(prepared, [variant], seeds, folds)
        notes += [note for note in variant.notes if note not in notes]
    chosen = []
    for task, found in subjects.items():
        problem = _problem(task, list(loaded), found, rows[task])
        notes += [problem] if problem else []
        chosen += [] if problem else [found[next(iter(loaded))]]
    if not chosen:
        raise UsageError(
            "there is nothing to compare: no task has the same evaluation or test data in all configs"
            + (f" ({notes[-1]})" if notes else "")
        )
    notes += [*fold_notes(folds, seeds), *_notes(chosen, list(loaded))]
    folder = CompareFolder(output.absolute())
    folder.claim(digests)
    runs = make_runs(folder, variants, seeds)
    names = ", ".join(loaded)
    return Comparison(folder, names, variants, chosen, seeds, notes, device, runs, variants[0].name, folds)


def _notes(subjects: Sequence[Subject], names: Sequence[str]) -> Iterator[str]:
    """Yield what a reader should know."""
    for subject in subjects:
        if subject.reported.selects:
            yield (
                f"{subject.task}: the same rows selected the model and are reported, so its metrics are"
                " slightly optimistic"
            )
    if len(names) > 2:
        yield (
            f"{len(names) - 1} configs are compared with {names[0]}: there is no correction for multiple"
            " tests"
        )


def _variant(name: str, prepared: Prepared) -> Variant:
    config = dump(prepared.config)
    notes = tuple(hold_splits(config["tasks"], prepared))
    if drop_save_paths(config["tasks"]):
        notes = (*notes, "no run writes to a `save_path`, as runs would overwrite each other")
    total = sum(phase.timeline.total_steps for phase in prepared.phases)
    return Variant(name, config, planned_steps(prepared), total, notes)


def _content(prepared: Prepared, task: str, split: Any) -> tuple[int, tuple[object, ...]]:
    """Return the number of the rows that are reported, the digests of their files, and the lines that were
    held out of the training files."""
    data = prepared.config.tasks[task].config.data.config
    rows = prepared.data[task].splits[split]
    paths = [path for path in data.paths(split) or data.paths("train") if isinstance(path, Path)]
    held_out = rows is not None and data.fraction(split) is not None
    lines = (hashlib.sha256(rows.lines.tobytes()).hexdigest(),) if rows is not None and held_out else ()
    return 0 if rows is None else len(rows), (*map(_digest, paths), *lines)


def _digest(path: Path) -> str:
    if not path.is_file():
        return str(path)
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _problem(
    task: str, names: Sequence[str], found: Mapping[str, Subject], rows: Mapping[str, Any]
) -> str | None:
    """Return why a task cannot be compared, or None."""
    lacking = [name for name in names if name not in found]
    if lacking:
        return f"{task} is not compared: {lacking[0]} does not train it, or has no evaluation or test data"
    first, *others = names
    expected = found[first]
    for name in others:
        metric, split = found[name].metric.name, expected.reported.split
        if metric != expected.metric.name:
            own = expected.metric.name
            return f"{task} is not compared: its metric is {own} in {first}, but {metric} in {name}"
        if (found[name].reported.split, rows[name]) != (split, rows[first]):
            return f"{task} is not compared: its {split} rows differ between {first} and {name}"
    return None
