"""Simple models of plugins on the evaluation data: what a model must beat."""

from __future__ import annotations

from time import perf_counter
from typing import Any

import polars as pl

from mtl.components import Split, TaskConfig
from mtl.config.run_config import RunConfig
from mtl.data.splits import split_tables
from mtl.data.tables import table_schema
from mtl.errors import DataError, PluginError, component_errors
from mtl.plugins import SHOW_INSTALLED, Plugins


def run_baselines(config: RunConfig, plugins: Plugins) -> dict[str, list[dict[str, Any]]]:
    """Return for each task with evaluation data the scores of the baselines that fit it, and their seconds.

    A task whose data cannot be read has none. Raises `PluginError` if no plugin has a baseline, and
    `ComponentError` if one fails.
    """
    if not plugins.baselines:
        raise PluginError(f"no installed plugin has a baseline; {SHOW_INSTALLED}")
    scored: dict[str, list[dict[str, Any]]] = {}
    for name, component in config.tasks.items():
        task: TaskConfig = component.config
        if not task.data.config.has("eval"):
            continue
        try:
            train, evaluated = (_rows(task, split, config.seed) for split in ("train", "eval"))
        except DataError:
            continue
        scored[name] = []
        for baseline in plugins.baselines:
            begun = perf_counter()
            scores = baseline.load_scores()
            with component_errors(scores, f"to score {baseline.name} on {name}"):
                metrics = scores(task.columns, train, evaluated)
            if metrics is not None:
                seconds = perf_counter() - begun
                scored[name].append({"name": baseline.name, "metrics": dict(metrics), "seconds": seconds})
    return scored


def _rows(task: TaskConfig, split: Split, seed: int) -> pl.DataFrame:
    frames = [piece.table.frame for piece in split_tables(task, split, seed)]
    return pl.concat(frames) if frames else pl.DataFrame(schema=table_schema(task.columns))
