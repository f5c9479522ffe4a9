"""The files of a run folder."""

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
from mtl.runs.portable import with_found_base, with_portable_base
from mtl.suggest import argument
from mtl.weights import write_tensors

WEIGHTS = "weights.safetensors"
FILES = "files"
"""The folder, in a run and in its model, with the files of featurizers and tasks."""
OWNERS = ("featurizers", "tasks")
MODEL_FILES = ("config", "tasks", "featurizers", "modules", "versions")
"""The files beside the weights: the resolved config, the state learned from the data, and the versions of
all plugins."""


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
        """The metrics, one JSON object per line."""
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
        """The checkpoints."""
        return self.path / "checkpoints"

    @property
    def files(self) -> Path:
        """The files that featurizers and tasks saved when the run started."""
        return self.path / FILES

    @property
    def start(self) -> Path:
        """The model of another run that this one started from."""
        return self.path / "start"

    def refuse_used(self) -> None:
        """Raise `UsageError` if the folder already holds a run."""
        if self.holds_run:
            raise UsageError(
                f"{self.path}: this folder already holds a run;"
                f" continue it with {argument('resume')}, or choose another output folder"
            )

    @property
    def data(self) -> Path:
        """The rows that the run reads: of each split the files, the number of rows and their SHA-256."""
        return self.path / "data.json"

    def recorded_rows(self) -> dict[str, str]:
        """Return the SHA-256 of the rows that the run reads, by `TASK.SPLIT`; empty for an older run."""
        known = read_json(self.data) if self.data.is_file() else {}
        return {name: each["sha256"] for name, each in known.items() if isinstance(each, dict)}

    def create(self, config: Mapping[str, Any], data: Mapping[str, Any]) -> None:
        """Create the folder, remove a previous result, and write the config and what the data are.

        Raises `UsageError` if the folder cannot be written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self.result.unlink(missing_ok=True)
            write_json(self.config, with_portable_base(config, self.path))
            write_json(self.data, data)
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
            self._remove(self.files)

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
        """Create the folder if needed and lock it for this process; a kill releases the lock.

        Raises `UsageError` if another process holds the lock, or the folder cannot be created.
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
            raise UsageError(f"{self.path}: another process is using this run folder") from None
        except OSError:
            pass  # a file system without locks
        try:
            yield
        finally:
            os.close(descriptor)

    def sweep(self) -> None:
        """Remove unfinished files of a killed process."""
        for path in (
            self.config,
            self.data,
            self.result,
            self.files,
            self.start,
            self.model,
            self.checkpoints / "step-*",
        ):
            sweep(path)

    @property
    def holds_run(self) -> bool:
        """Whether the folder holds a run."""
        return self.config.exists()

    def require(self) -> None:
        """Raise `OSError` if the run was deleted, so that it is not created again by writing."""
        if not self.holds_run:
            raise FileNotFoundError(errno.ENOENT, "the run folder is gone", str(self.path))

    @property
    def is_unused(self) -> bool:
        """Whether the folder is new or empty, apart from unfinished files of a killed process."""
        return not self.path.exists() or (
            self.path.is_dir() and all(entry.name.startswith(".") for entry in self.path.iterdir())
        )

    @property
    def how_to_resume(self) -> str:
        """How to resume the run, for a message."""
        return f"repeat the command with {argument('resume')} {argument('output', str(self.path))}"

    @property
    def last_state(self) -> str:
        """The state from which a failed run can be resumed, for a message."""
        saved = self.saved_checkpoints()
        if not saved:
            return "it has no checkpoint yet"
        return f"to continue from {saved[0].name}, {self.how_to_resume}"

    def read_config(self) -> dict[str, Any]:
        """Return the resolved config of the run. Raises `UsageError` if there is none."""
        if not self.holds_run:
            raise UsageError(f"{self.path}: not a run folder, {self.config.name} is missing")
        return with_found_base(read_json(self.config), self.path)

    def read_model(self) -> dict[str, dict[str, Any]]:
        """Return the JSON files beside the best model's weights, by name.

        Raises `UsageError` if there is no model, `DamagedFolder` if it is not what was written.
        """
        if not self.model.is_dir():
            what = (
                "this run has not saved a model yet"
                if self.holds_run
                else "not a run folder, model is missing"
            )
            raise UsageError(f"{self.path}: {what}")
        check_manifest(self.model, [WEIGHTS, *(f"{name}.json" for name in MODEL_FILES)], within=[FILES])
        parts = {name: read_json(self.model / f"{name}.json") for name in MODEL_FILES}
        parts["config"] = with_found_base(parts["config"], self.model)
        if not all(isinstance(state, dict) for state in parts["modules"].values()):
            raise UsageError(f"{self.model / 'modules.json'}: must be an object of objects")
        return parts

    def record(self, record: Mapping[str, Any]) -> None:
        """Append a line to the metrics, whole or not at all. Raises `OSError`."""
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
        """Truncate the metrics to `size` bytes; return false if they were shorter."""
        if not self.metrics.exists():
            return size == 0
        complete = self.metrics.stat().st_size >= size
        if complete:
            os.truncate(self.metrics, size)
        return complete

    def flush_metrics(self) -> int:
        """Write buffered metrics to disk and return their size in bytes."""
        if not self.metrics.exists():
            return 0
        with self.metrics.open("ab") as file:
            os.fsync(file.fileno())
            return file.tell()

    def save_model(
        self,
        tensors: Mapping[str, Tensor],
        metadata: Mapping[str, Any],
        files: Mapping[str, Any],
    ) -> None:
        """Replace the best model: its weights with their metadata, and `files` (`MODEL_FILES`) as
        `NAME.json`."""
        self.require()
        # A folder that was deleted is not created again.
        with atomic_write(self.model, make_parents=False) as folder:
            folder.mkdir()
            write_tensors(tensors, folder / WEIGHTS, metadata)
            files = {**files, "config": with_portable_base(files["config"], self.model)}
            for name in MODEL_FILES:
                (folder / f"{name}.json").write_text(as_json(files[name]), encoding="utf-8")
            for owners in OWNERS:
                if (self.files / owners).is_dir():
                    shutil.copytree(self.files / owners, folder / FILES / owners)
            write_manifest(folder)

    def checkpoint(self, step: int) -> Path:
        """Return the folder of the checkpoint after `step` steps."""
        return self.checkpoints / f"step-{step:08d}"

    def saved_checkpoints(self) -> list[Path]:
        """Return the checkpoints, newest first."""
        return sorted(self.checkpoints.glob("step-*"), reverse=True)

    def keep_checkpoints(self, number: int, last: Path) -> None:
        """Remove all checkpoints but the newest `number` up to `last`; later ones are damaged and do not
        count."""
        for path in [path for path in self.saved_checkpoints() if path <= last][max(number, 1) :]:
            self._remove(path)

    def remove_checkpoints(self) -> None:
        """Remove all checkpoints: the run is complete, and will not become longer."""
        for path in self.saved_checkpoints():
            self._remove(path)

    def _remove(self, path: Path) -> None:
        # Renamed first, so that a kill cannot leave half of it.
        shutil.rmtree(path.rename(path.with_name(f".{path.name}-removed")))
