"""A comparison: train what has not been trained yet, score it, and report."""

from __future__ import annotations

import hashlib
import json
import logging
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attrs import define, frozen

from mtl import Interrupted, MtlError, Split, UsageError
from mtl.runs import LoadedConfig, Plugins, Prepared, identity, prepare, read_json, torch_settings, write_json
from mtl_compare.folds import NOTE, fold_settings
from mtl_compare.processes import Command, run_all
from mtl_compare.progress import Progress
from mtl_compare.report import Run, Subject, report
from mtl_compare.scores import reported, score_run
from mtl_compare.variants import Variant, check_trained, make_variants, trained_tasks

logger = logging.getLogger("mtl")


@frozen
class CompareFolder:
    """The files of a comparison."""

    path: Path

    @property
    def report(self) -> Path:
        """What the runs show."""
        return self.path / "compare.json"

    @property
    def fingerprints(self) -> Path:
        """What each run was begun with, by its name."""
        return self.path / "fingerprints.json"

    def config(self, variant: Variant) -> Path:
        """Return the config of a variant."""
        return self.path / "configs" / f"{variant.file_name}.json"

    def run(self, variant: Variant, seed: int) -> Path:
        """Return a run folder."""
        return self.path / "runs" / f"{variant.file_name}-seed-{seed}"

    def scores(self, variant: Variant, seed: int) -> Path:
        """Return what a run's model makes of each row."""
        return self.path / "scores" / f"{variant.file_name}-seed-{seed}.json"

    def log(self, variant: Variant, seed: int) -> Path:
        """Return what a run says while it trains."""
        return self.path / "logs" / f"{variant.file_name}-seed-{seed}.txt"

    def claim(self, fingerprints: Mapping[str, str]) -> None:
        """Make the folder, or go on with it, and write down what its runs are made from.

        Raises `UsageError` where it holds something else, or one of these runs made from something else.
        """
        used = self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir()))
        if used and not self.fingerprints.exists():
            raise UsageError(
                f"{self.path}: must be new, empty or a comparison, but holds something else;"
                " give another --output"
            )
        before = read_json(self.fingerprints) if self.fingerprints.exists() else {}
        changed = [name for name, value in fingerprints.items() if before.get(name, value) != value]
        if changed:
            raise UsageError(
                f"{self.path}: {changed[0]} was made with other settings, data or vocabularies"
                f"{f', and {len(changed) - 1} more runs' if len(changed) > 1 else ''};"
                " give another --output, or the config as it was"
            )
        try:
            write_json(self.fingerprints, {**before, **fingerprints})
        except OSError as error:
            raise UsageError(f"{self.path}: the folder cannot be written: {error.strerror}") from None


@define(eq=False)
class Comparison:
    """A comparison that is ready to run."""

    folder: CompareFolder
    name: str
    variants: Sequence[Variant]
    subjects: Sequence[Subject]
    seeds: Sequence[int]
    notes: Sequence[str]
    device: str | None
    runs: list[Run]
    baseline: str | None = None
    folds: Sequence[str] = ()
    """The tasks of which each run holds out another fold."""

    def run(self, *, at_once: int, quiet: bool) -> dict[str, Any]:
        """Train and score what is not there yet; the report. Raises `Interrupted` on Ctrl-C."""
        for run in self.runs:
            self._take(run)
        commands = {self._command(run): run for run in self.runs if run.status != "completed"}
        with Progress(self.runs, quiet=quiet) as progress:

            def ended(command: Command, status: int) -> None:
                run = commands[command]
                self._finish(run, command, status)
                progress.ended(run)
                self.write()

            def polled(under_way: Sequence[Command]) -> None:
                progress.moved({commands[each].name: each.steps for each in under_way})

            self.write()
            with self._interruptible():
                run_all(list(commands), at_once=at_once, ended=ended, polled=polled)
        return self.write()

    def write(self) -> dict[str, Any]:
        """Write what the runs show so far."""
        made = report(self.name, self.subjects, self.runs, self.seeds, self.notes, self.baseline)
        write_json(self.folder.report, made)
        return made

    def pending(self) -> list[Run]:
        """Return the runs that have not been completed before."""
        return [run for run in self.runs if not self._is_done(run)]

    @contextmanager
    def _interruptible(self) -> Iterator[None]:
        try:
            yield
        except KeyboardInterrupt:
            self.write()
            raise Interrupted(
                "stopped, the state of all runs is saved; the same command goes on"
                f" with --output {self.folder.path}",
                signal.SIGINT,
            ) from None

    def _command(self, run: Run) -> Command:
        variant, seed, folder = run.variant, run.seed, self.folder
        return Command(
            folder.config(variant),
            folder.run(variant, seed),
            folder.log(variant, seed),
            seed,
            self.device,
            tuple(fold_settings(variant.config, self.folds, self.seeds.index(seed))),
        )

    def _take(self, run: Run) -> None:
        """Take a run that was completed before."""
        if self._is_done(run):
            run.result = read_json(self.folder.run(run.variant, run.seed) / "result.json")
            run.scores = read_json(self.folder.scores(run.variant, run.seed))
            run.status = "completed"

    def _is_done(self, run: Run) -> bool:
        result = self.folder.run(run.variant, run.seed) / "result.json"
        return result.exists() and self.folder.scores(run.variant, run.seed).exists()

    def _finish(self, run: Run, command: Command, status: int) -> None:
        """Score a run that has ended, or note why it failed."""
        if status:
            run.status = "failed"
            run.message = command.message or f"ended by signal {-status}"
            return
        splits: dict[str, Split] = {each.task: each.reported.split for each in self.subjects}
        try:
            run.scores = score_run(command.folder, splits, device=self.device or "auto")
            write_json(self.folder.scores(run.variant, run.seed), run.scores)
            run.result = read_json(command.folder / "result.json")
            run.status = "completed"
        except MtlError as error:
            run.status, run.message = "failed", str(error)


def make_comparison(
    loaded: LoadedConfig,
    plugins: Plugins,
    *,
    output: Path,
    name: str,
    seeds: Sequence[int],
    tasks: Sequence[str] = (),
    left_out: Sequence[str] | None = (),
    device: str | None = None,
    folds: Sequence[str] = (),
) -> Comparison:
    """Read the data, derive the configs and claim the folder `output`.

    `tasks` are those to compare, all that have figures where none is named; `left_out` are those without
    which the others are trained, None for each in turn; `folds` are those of which each run holds out
    another fold.

    Raises `UsageError` where there is nothing to compare, or the folder is used for something else.
    """
    with torch_settings(loaded.config):
        prepared = prepare(loaded, plugins)
    trained = trained_tasks(prepared)
    check_trained("--task", tasks, trained)
    subjects, notes = _subjects(prepared, [task for task in trained if task in tasks or not tasks])
    alone = [subject.task for subject in subjects]
    variants = make_variants(prepared, trained if left_out is None else left_out, alone)
    folder = CompareFolder(output.absolute())
    folder.claim(fingerprints(prepared, variants, seeds, folds))
    notes += fold_notes(folds, seeds)
    notes += [note for variant in variants for note in variant.notes]
    return Comparison(
        folder,
        name,
        variants,
        subjects,
        seeds,
        notes,
        device,
        make_runs(folder, variants, seeds),
        folds=folds,
    )


def fold_notes(folds: Sequence[str], seeds: Sequence[int]) -> list[str]:
    """Return what a reader should know about folds."""
    return [NOTE.format(folds=len(seeds), tasks=", ".join(folds))] if folds else []


def make_runs(folder: CompareFolder, variants: Sequence[Variant], seeds: Sequence[int]) -> list[Run]:
    """Write the configs of the variants, and return their runs."""
    for variant in variants:
        write_json(folder.config(variant), variant.config)
    return [
        Run(variant, seed, str(folder.run(variant, seed).relative_to(folder.path)))
        for seed in seeds
        for variant in variants
    ]


def fingerprints(
    prepared: Prepared, variants: Sequence[Variant], seeds: Sequence[int], folds: Sequence[str] = ()
) -> dict[str, str]:
    """Return a digest of what each run is made from: its config and seed, its tasks' rows and what was
    learned."""
    now = identity(prepared)
    return {
        f"{variant.file_name}-seed-{seed}": hashlib.sha256(
            json.dumps(
                {
                    "config": {**variant.config, "seed": seed, "base_dir": None, "loggers": None},
                    "rows": {
                        split: rows["sha256"]
                        for split, rows in now["rows"].items()
                        if split.rpartition(".")[0] in variant.config["tasks"]
                    },
                    "learned": now["learned"],
                    **({"fold": fold} if folds else {}),
                },
                sort_keys=True,
            ).encode()
        ).hexdigest()
        for variant in variants
        for fold, seed in enumerate(seeds)
    }


def _subjects(prepared: Prepared, trained: Sequence[str]) -> tuple[list[Subject], list[str]]:
    """Return the tasks whose figures are compared, and what a reader should know of them."""
    subjects, notes = [], []
    target = prepared.config.target_task
    selects = prepared.config.trainer.keep_model == "best"
    for task in trained:
        rows = reported(prepared, task)
        if rows is None:
            notes.append(f"{task} has neither evaluation nor test data, so it is not compared")
            continue
        subjects.append(Subject(task, prepared.config.tasks[task].config.metric, rows))
        if rows.selects:
            notes.append(
                f"{task}: the same rows selected the model and are reported, as there are no other ones,"
                " so its figures are a little too good, alone and together"
            )
        if selects and target is not None and task != target:
            notes.append(f"{task}: together, the model is selected by {target}; alone, by {task} itself")
    if not selects:
        notes.append("`trainer.keep_model` is last: no rows selected a model")
    if not subjects:
        raise UsageError("there is nothing to compare: no task has evaluation or test data")
    return subjects, notes
