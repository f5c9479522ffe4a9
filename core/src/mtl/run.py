"""The run folder: the only place that knows its files."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import frozen

from mtl.errors import UsageError
from mtl.files import replaced, write_json
from mtl.model import MultitaskModel, save_tensors

WEIGHTS = "weights.safetensors"


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

    def refuse_used(self) -> None:
        """Raises `UsageError` where the folder holds a run already."""
        if self.config.exists():
            raise UsageError(
                f"{self.path}: this folder holds a run already;"
                " continue it with --resume, or give another --output"
            )

    def create(self, config: Mapping[str, Any]) -> None:
        """Make the folder and write its config. Raises `UsageError` where it cannot be written."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            write_json(self.config, config)
        except OSError as error:
            raise UsageError(f"{self.path}: the run folder cannot be written: {error.strerror}") from None

    def read_config(self) -> dict[str, Any]:
        """The resolved config of the run. Raises `UsageError` where there is none."""
        return self.read_json(self.config)

    def read_json(self, path: Path) -> dict[str, Any]:
        """A JSON object of this run. Raises `UsageError` where it cannot be read."""
        try:
            value = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise UsageError(
                f"{self.path}: not a run folder, {path.relative_to(self.path)} is missing"
            ) from None
        except (OSError, ValueError) as error:
            raise UsageError(f"{path}: cannot be read: {error}") from None
        if not isinstance(value, dict):
            raise UsageError(f"{path}: a JSON object was expected")
        return value

    def record(self, record: Mapping[str, Any]) -> None:
        """Add a line to the metrics."""
        with self.metrics.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record, ensure_ascii=False) + "\n")

    def truncate_metrics(self, size: int) -> None:
        """Drop what was recorded after the first `size` bytes."""
        if self.metrics.exists():
            os.truncate(self.metrics, size)

    def metrics_size(self) -> int:
        """Bytes recorded so far."""
        return self.metrics.stat().st_size if self.metrics.exists() else 0

    def save_model(self, model: MultitaskModel, files: Mapping[str, Any]) -> None:
        """Replace the best model: its weights, and `files` as `NAME.json`."""
        with replaced(self.model) as folder:
            folder.mkdir()
            save_tensors(model, folder / WEIGHTS)
            for name, value in files.items():
                write_json(folder / f"{name}.json", value)

    def checkpoint(self, step: int) -> Path:
        """The folder of the checkpoint after `step` steps."""
        return self.checkpoints / f"step-{step:08d}"

    def saved_checkpoints(self) -> list[Path]:
        """The checkpoints, the newest first."""
        return sorted(self.checkpoints.glob("step-*"), reverse=True)

    def keep_checkpoints(self, number: int) -> None:
        """Remove all but the newest `number`."""
        for path in self.saved_checkpoints()[number:]:
            shutil.rmtree(path)
