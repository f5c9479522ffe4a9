"""mtl: one model, several tasks, disjoint datasets.

For users: `train` and `load`. For authors of plugins: `hookimpl`, `ComponentSpec`, the config
helpers, and the base of each kind. What needs torch is imported when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from mtl.components import (
    Balancer,
    ColumnSpec,
    ColumnType,
    ComponentSpec,
    Dataset,
    DatasetConfig,
    DataSource,
    DataSourceConfig,
    DecoderConfig,
    Direction,
    Download,
    Epoch,
    FeaturesConfig,
    Featurizer,
    FeaturizerConfig,
    Loss,
    LRSchedulerConfig,
    Metric,
    Metrics,
    Migration,
    ModelOutput,
    ModuleConfig,
    Output,
    PoolingConfig,
    RepresentationConfig,
    Schedule,
    ScheduleConfig,
    Table,
    Task,
    TaskConfig,
)
from mtl.errors import ConfigError, DataError, MtlError, PluginError, Problem, UsageError
from mtl.fields import REQUIRED, Component, InputPath, OutputPath, configclass, option, slot
from mtl.hookspecs import hookimpl

if TYPE_CHECKING:
    from mtl.builder import Builder
    from mtl.data.columns import Batch, Column, Dense, Ragged
    from mtl.data.features import Embedding, Features
    from mtl.data.tables import table_schema
    from mtl.runs.api import LoadedRun, Result, load, train

_LAZY = {
    "Batch": "mtl.data.columns",
    "Builder": "mtl.builder",
    "Column": "mtl.data.columns",
    "Dense": "mtl.data.columns",
    "Embedding": "mtl.data.features",
    "Features": "mtl.data.features",
    "LoadedRun": "mtl.runs.api",
    "Ragged": "mtl.data.columns",
    "Result": "mtl.runs.api",
    "load": "mtl.runs.api",
    "table_schema": "mtl.data.tables",
    "train": "mtl.runs.api",
}

__all__ = [
    "REQUIRED",
    "Balancer",
    "Batch",
    "Builder",
    "Column",
    "ColumnSpec",
    "ColumnType",
    "Component",
    "ComponentSpec",
    "ConfigError",
    "DataError",
    "DataSource",
    "DataSourceConfig",
    "Dataset",
    "DatasetConfig",
    "DecoderConfig",
    "Dense",
    "Direction",
    "Download",
    "Embedding",
    "Epoch",
    "Features",
    "FeaturesConfig",
    "Featurizer",
    "FeaturizerConfig",
    "InputPath",
    "LRSchedulerConfig",
    "LoadedRun",
    "Loss",
    "Metric",
    "Metrics",
    "Migration",
    "ModelOutput",
    "ModuleConfig",
    "MtlError",
    "Output",
    "OutputPath",
    "PluginError",
    "PoolingConfig",
    "Problem",
    "Ragged",
    "RepresentationConfig",
    "Result",
    "Schedule",
    "ScheduleConfig",
    "Table",
    "Task",
    "TaskConfig",
    "UsageError",
    "configclass",
    "hookimpl",
    "load",
    "option",
    "slot",
    "table_schema",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'mtl' has no attribute {name!r}")
    return getattr(importlib.import_module(_LAZY[name]), name)
