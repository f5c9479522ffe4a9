"""Weights & Biases."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from typing import Any

try:
    import wandb
except ImportError:
    wandb = None  # type: ignore[assignment]

from mtl_trackers.tracker import MissingLibrary, Tracker, Value


class WandB(Tracker):
    """A run, of the same id through all resumes if online.

    No code, console output, git state or host data is sent.
    """

    def start(self, settings: Mapping[str, Value], resumed: bool) -> None:
        if wandb is None:
            raise MissingLibrary("wandb", "wandb")
        folder = self.folder / "wandb"
        mode: Any = self.config.mode or os.environ.get("WANDB_MODE", "online")
        if mode != "online":
            # An offline run cannot tell what it has logged: its files are written anew.
            shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(exist_ok=True)
        self.run: Any = wandb.init(
            dir=str(self.folder),
            project=self.config.project,
            entity=self.config.entity,
            group=self.config.group,
            name=self.name,
            id=self.own_id("wandb") if mode == "online" else None,
            resume="allow",
            reinit="create_new",
            config=dict(settings),
            settings=wandb.Settings(
                mode=mode,
                console="off",
                silent=True,
                disable_git=True,
                disable_code=True,
                x_disable_stats=True,
                x_disable_machine_info=True,
                x_disable_meta=True,
            ),
        )
        self.logged = self.run.step  # the step after the last one that the server has; a resume repeats it

    def log(self, step: int, values: Mapping[str, float]) -> None:
        if step >= self.logged:
            self.run.log(dict(values), step=step)

    def log_table(self, step: int, name: str, labels: list[str], matrix: list[list[int]]) -> None:
        if step >= self.logged:
            rows = [[label, *counts] for label, counts in zip(labels, matrix, strict=True)]
            table = wandb.Table(columns=["true", *(f"predicted {label}" for label in labels)], data=rows)
            self.run.log({name: table}, step=step)

    def finish(self, status: str, reason: str, summary: Mapping[str, float]) -> None:
        self.run.summary.update({f"final/{name}": value for name, value in summary.items()})
        self.run.summary.update({"status": status, "reason": reason})
        self.run.finish(exit_code=0 if status == "completed" else 1)
