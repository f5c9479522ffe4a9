"""config.json of a new plugin: its component at work in a run."""

from __future__ import annotations

import json
from typing import Any

from mtl.config.json_path import JSONPath
from mtl.scaffold.host import TASK, Host
from mtl.scaffold.parts import PARTS

EPOCHS = 5
EPOCHS_OF_A_TASK = 8


def example_config(kind: str, component: str, host: Host) -> str:
    """Return a config in which a component works, as JSON text."""
    part = PARTS[kind]
    itself = {component: dict(part.settings)}
    task: dict[str, Any] = {"batch_size": 16, "data": _data(kind, component)}
    config: dict[str, Any] = {
        "base_dir": "data",
        "tasks": {TASK: {component if kind == "task" else host.task.name: task}},
        "trainer": {
            "epochs": EPOCHS_OF_A_TASK if kind == "task" else EPOCHS,
            "optimizer": {"Adam": {"lr": 0.01}},
        },
    }
    if kind == "featurizer":
        task["features"] = {**{name: {} for name in host.features}, **itself}
    elif kind in ("representation", "pooling", "decoder"):
        _put(task, host.slot(kind, part.declares), itself)
    elif part.place == ("loggers",):
        config["loggers"] = [itself]
    elif part.place:
        _put(config, part.place, itself)
    return json.dumps(config, indent=2) + "\n"


def _data(kind: str, component: str) -> dict[str, Any]:
    extension = rows[1] if (rows := PARTS[kind].rows) else "tsv"
    folder = f"{component}/" if kind == "dataset" else ""
    paths = {f"{split}_path": f"{folder}{split}.{extension}" for split in ("train", "eval")}
    return {component: paths} if kind == "data_source" else paths


def _put(settings: dict[str, Any], path: JSONPath, value: Any) -> None:
    """Set the value at a path, making the objects on the way."""
    *outer, last = path
    for key in outer:
        settings = settings.setdefault(str(key), {})
    settings[str(last)] = value
