"""Configs of the trackers. Free of torch, and of the trackers' libraries.

None holds a password or an API key: the libraries read them from the environment or their own files.
"""

from __future__ import annotations

from typing import Literal

from mtl import configclass, option


@configclass
class TensorBoardConfig:
    """Event files in the folder `tensorboard` of the run folder."""


@configclass
class WandBConfig:
    """A run of Weights & Biases."""

    project: str = option("mtl", "Project of the run.")
    entity: str | None = option(None, "User or team; the account's default if absent.")
    group: str | None = option(None, "Group of the run, such as an experiment's name.")
    mode: Literal["online", "offline"] | None = option(
        None,
        "`offline` writes to `wandb` in the run folder, for `wandb sync`; `WANDB_MODE`, else `online` if"
        " absent.",
    )

    def __attrs_post_init__(self) -> None:
        _require_text("project", self.project)


@configclass
class MLflowConfig:
    """A run of an MLflow experiment."""

    experiment: str = option("mtl", "Experiment of the run; created if it does not exist.")
    tracking_uri: str | None = option(
        None,
        "Tracking server, database or folder; MLflow's default if absent, as set by `MLFLOW_TRACKING_URI`.",
    )

    def __attrs_post_init__(self) -> None:
        _require_text("experiment", self.experiment)


@configclass
class TrackioConfig:
    """A run of a Trackio project."""

    project: str = option("mtl", "Project of the run.")

    def __attrs_post_init__(self) -> None:
        _require_text("project", self.project)


def _require_text(name: str, value: str) -> None:
    if not value.strip():
        raise ValueError(f"`{name}` must be text, but is empty")
