"""mtl: one model, several tasks, disjoint datasets.

For users: `train`, `plan` and `load`; for tools that work with runs: `mtl.runs`. For plugin authors:
`hookimpl`, `ComponentSpec`, the config helpers and the base class of each kind. Whatever needs torch is
imported on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mtl.components import (
    Balancer,
    Baseline,
    ColumnSpec,
    ColumnType,
    ComponentSpec,
    ConfigReader,
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
    Judgment,
    Loss,
    LRSchedulerConfig,
    Metric,
    Metrics,
    Migration,
    ModelOutput,
    ModuleConfig,
    Output,
    PoolingConfig,
    PoolingInput,
    RepresentationConfig,
    Schedule,
    ScheduleConfig,
    SpecialTokens,
    Split,
    Table,
    Task,
    TaskConfig,
    TokenFeaturizer,
    Tokenizer,
    Unit,
)
from mtl.errors import (
    ConfigError,
    DataError,
    Interrupted,
    MtlError,
    PluginError,
    Problem,
    StopRun,
    UsageError,
    component_errors,
)
from mtl.fields import (
    REQUIRED,
    Component,
    FolderOrName,
    InputPath,
    InputPaths,
    OutputPath,
    configclass,
    option,
    slot,
)
from mtl.hookspecs import hookimpl
from mtl.lazy import lazy_attributes
from mtl.suggest import did_you_mean

if TYPE_CHECKING:
    from mtl.builder import Builder, BuiltModule
    from mtl.data.columns import Batch, Column, Dense, Ragged, Rows
    from mtl.data.features import Embedding, Features
    from mtl.data.tables import table_schema
    from mtl.data.words import split_words
    from mtl.distributions import __version__
    from mtl.interactive import train
    from mtl.runs import LoadedRun, Result, load, plan
    from mtl.weights import SavedPart

_LAZY = {
    "Batch": "mtl.data.columns",
    "Builder": "mtl.builder",
    "BuiltModule": "mtl.builder",
    "Column": "mtl.data.columns",
    "Dense": "mtl.data.columns",
    "Embedding": "mtl.data.features",
    "Features": "mtl.data.features",
    "LoadedRun": "mtl.runs",
    "Ragged": "mtl.data.columns",
    "Rows": "mtl.data.columns",
    "SavedPart": "mtl.weights",
    "Result": "mtl.runs",
    "load": "mtl.runs",
    "plan": "mtl.runs",
    "split_words": "mtl.data.words",
    "table_schema": "mtl.data.tables",
    "train": "mtl.interactive",
    "__version__": "mtl.distributions",
}

__all__ = [
    "REQUIRED",
    "Balancer",
    "Baseline",
    "Batch",
    "Builder",
    "BuiltModule",
    "Column",
    "ColumnSpec",
    "ColumnType",
    "Component",
    "ComponentSpec",
    "ConfigError",
    "ConfigReader",
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
    "FolderOrName",
    "InputPath",
    "InputPaths",
    "Interrupted",
    "Judgment",
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
    "PoolingInput",
    "Problem",
    "Ragged",
    "RepresentationConfig",
    "Result",
    "Rows",
    "SavedPart",
    "Schedule",
    "ScheduleConfig",
    "SpecialTokens",
    "Split",
    "StopRun",
    "Table",
    "Task",
    "TaskConfig",
    "TokenFeaturizer",
    "Tokenizer",
    "Unit",
    "UsageError",
    "__version__",
    "component_errors",
    "configclass",
    "did_you_mean",
    "hookimpl",
    "load",
    "option",
    "plan",
    "slot",
    "split_words",
    "table_schema",
    "train",
]


__getattr__, __dir__ = lazy_attributes(__name__, _LAZY)
