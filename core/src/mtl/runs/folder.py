"""The run folder: the only place that knows its files."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attrs import frozen
from torch import Tensor

from mtl.errors import UsageError
from mtl.files import (
    MANIFEST,
    as_json,
    atomic_write,
    check_manifest,
    read_json,
    sweep,
    write_json,
    write_manifest,
)
from mtl.suggest import argument
from mtl.weights import RowNames, write_tensors

WEIGHTS = "weights.safetensors"
FILES = "files"
"""The folder, of a run and of its model, with the files of featurizers and tasks."""
OWNERS = ("featurizers", "tasks")
MODEL_FILES = ("config", "tasks", "featurizers", "modules", "versions")
"""What stands beside the weights: the resolved config, what was learnt from the data, and the versions
of all plugins."""


@frozen
class RunFolder:
    """The files of one run."""

    path: Path

    @property
    def config(self) -> Path:
        """The resolved config."""
        return self.path / "config.json"

    @property
    def metrics(self) -> Path:
        """One JSON object a line."""
        return self.path / "metrics.jsonl"

    @property
    def result(self) -> Path:
        """The result, written when the run ends."""
        return self.path / "result.json"

    @property
    def model(self) -> Path:
        """The best model."""
        return self.path / "model"

    @property
    def checkpoints(self) -> Path:
        """The resumable states."""
        return self.path / "checkpoints"

    @property
    def files(self) -> Path:
        """What featurizers and tasks read elsewhere when the run began."""
        return self.path / FILES

    def refuse_used(self) -> None:
        """Raises `UsageError` where the folder holds a run already."""
        if self.holds_run:
            raise UsageError(
                f"{self.path}: this folder already holds a run;"
                f" continue it with {argument('resume')}, or choose another output folder"
            )

    def create(self, config: Mapping[str, Any]) -> None:
        """Make the folder, or make it a run that is not complete, and write its config.

        Raises `UsageError` where it cannot be written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self.result.unlink(missing_ok=True)
            write_json(self.config, config)
            self.checkpoints.mkdir(exist_ok=True)
        except OSError as error:
            raise UsageError(f"{self.path}: the run folder cannot be written: {error.strerror}") from None

    def save_files(self, save: Callable[[Path], None]) -> None:
        """Let `save` write the files of featurizers and tasks, in place of those of before."""
        with atomic_write(self.files, make_parents=False) as folder:
            folder.mkdir()
            save(folder)
            write_manifest(folder)
        if not read_json(self.files / MANIFEST):
            shutil.rmtree(self.files)

    def saved_files(self) -> Path | None:
        """Return the folder with the files of featurizers and tasks; None if there is none.

        Raises `DamagedFolder` if it does not hold what was written.
        """
        if not self.files.exists():
            return None
        check_manifest(self.files, [], within=OWNERS)
        return self.files

    @contextmanager
    def locked(self) -> Iterator[None]:
        """The folder, made where there is none, for this process alone; a kill releases it.

        Raises `UsageError` where another process is at work there, or it cannot be made.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.path, os.O_RDONLY)
        except OSError as error:
            raise UsageError(f"{self.path}: the run folder cannot be written: {error.strerror}") from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise UsageError(f"{self.path}: another process is at work on this run") from None
        except OSError:
            pass  # a file system without locks
        try:
            yield
        finally:
            os.close(descriptor)

    def sweep(self) -> None:
        """Remove what a killed process left half-written."""
        for path in (self.config, self.result, self.files, self.model, self.checkpoints / "step-*"):
            sweep(path)

    @property
    def holds_run(self) -> bool:
        """Whether a run was begun here."""
        return self.config.exists()

    def require(self) -> None:
        """Raises `OSError` where somebody has deleted the run, lest writing begins another in its place."""
        if not self.holds_run:
            raise FileNotFoundError(errno.ENOENT, "the run folder is gone", str(self.path))

    @property
    def is_unused(self) -> bool:
        """Whether the folder is new or empty, but for what a killed process left half-written."""
        return not self.path.exists() or (
            self.path.is_dir() and all(entry.name.startswith(".") for entry in self.path.iterdir())
        )

    @property
    def how_to_resume(self) -> str:
        """How to resume the run, for a message."""
        return f"repeat the command with {argument('resume')} {argument('output', str(self.path))}"

    @property
    def last_state(self) -> str:
        """Where a failed run can be resumed, for a message."""
        saved = self.saved_checkpoints()
        if not saved:
            return "it has no checkpoint yet"
        return f"to continue from {saved[0].name}, {self.how_to_resume}"

    def read_config(self) -> dict[str, Any]:
        """The resolved config of the run. Raises `UsageError` where there is none."""
        if not self.holds_run:
            raise UsageError(f"{self.path}: not a run folder, {self.config.name} is missing")
        return read_json(self.config)

    def read_model(self) -> dict[str, dict[str, Any]]:
        """What stands beside the best model's weights, by name.

        Raises `UsageError` where there is no model, `DamagedFolder` where it is not what was written.
        """
        if not self.model.is_dir():
            what = (
                "this run has kept no model yet" if self.holds_run else "not a run folder, model is missing"
            )
            raise UsageError(f"{self.path}: {what}")
        check_manifest(self.model, [WEIGHTS, *(f"{name}.json" for name in MODEL_FILES)], within=[FILES])
        parts = {name: read_json(self.model / f"{name}.json") for name in MODEL_FILES}
        if not all(isinstance(state, dict) for state in parts["modules"].values()):
            raise UsageError(f"{self.model / 'modules.json'}: must be an object of objects")
        return parts

    def record(self, record: Mapping[str, Any]) -> None:
        """Add a line to the metrics, whole or not at all. Raises `OSError`."""
        self.require()
        line = json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n"
        with self.metrics.open("ab", buffering=0) as file:
            size = file.tell()
            try:
                written = file.write(line.encode())
                if written != len(line.encode()):
                    raise OSError(None, "No space left on device", str(self.metrics))
            except OSError:
                file.truncate(size)
                raise

    def truncate_metrics(self, size: int) -> bool:
        """Drop what was recorded after the first `size` bytes; whether there were as many."""
        if not self.metrics.exists():
            return size == 0
        complete = self.metrics.stat().st_size >= size
        if complete:
            os.truncate(self.metrics, size)
        return complete

    def flush_metrics(self) -> int:
        """Bytes recorded so far, all of them on the disk."""
        if not self.metrics.exists():
            return 0
        with self.metrics.open("ab") as file:
            os.fsync(file.fileno())
            return file.tell()

    def save_model(
        self,
        tensors: Mapping[str, Tensor],
        names: RowNames,
        aliases: Mapping[str, str],
        files: Mapping[str, Any],
    ) -> None:
        """Replace the best model: its weights, and `files` (`MODEL_FILES`) as `NAME.json`.

        `names` are those of the tensors' rows, `aliases` other names of tensors.
        """
        self.require()
        # A folder that somebody has deleted is not made again.
        with atomic_write(self.model, make_parents=False) as folder:
            folder.mkdir()
            write_tensors(tensors, folder / WEIGHTS, names, aliases)
            for name in MODEL_FILES:
                (folder / f"{name}.json").write_text(as_json(files[name]), encoding="utf-8")
            for owners in OWNERS:
                if (self.files / owners).is_dir():
                    shutil.copytree(self.files / owners, folder / FILES / owners)
            write_manifest(folder)

    def checkpoint(self, step: int) -> Path:
        """The folder of the checkpoint after `step` steps."""
        return self.checkpoints / f"step-{step:08d}"

    def saved_checkpoints(self) -> list[Path]:
        """The checkpoints, the newest first."""
        return sorted(self.checkpoints.glob("step-*"), reverse=True)

    def keep_checkpoints(self, number: int, last: Path) -> None:
        """Remove all but the newest `number` up to `last`; a later one is damaged, and would be counted
        in place of one that is whole."""
        for path in [path for path in self.saved_checkpoints() if path <= last][number:]:
            # Renamed first: what a kill leaves of it is not a checkpoint, and is swept.
            shutil.rmtree(path.rename(path.with_name(f".{path.name}-removed")))
