"""What each kind of component declares and must do. Free of torch.

A component is a config class and a factory. The config class (made with `mtl.configclass`) is free of
torch: its fields are the JSON, its properties what the component declares. The factory, named
in the `ComponentSpec` and imported only when a run needs it, makes the object or torch module:

| kind | config base | factory called as | gives |
|---|---|---|---|
| task | `TaskConfig` | `factory(config, name=..., features=...)` | `Task` |
| data_source | `DataSourceConfig` | `factory(config)` | `DataSource` |
| featurizer | `FeaturizerConfig` | `factory(config)` | `Featurizer` |
| representation | `RepresentationConfig` | `factory(config, build, input_dim=...)` | `nn.Module` |
| pooling | `PoolingConfig` | `factory(config, build, input_dim=...)` | `nn.Module` |
| decoder | `DecoderConfig` | `factory(config, build, input_dim=..., output_dim=...)` | `nn.Module` |
| optimizer | any | `factory(config, parameters)` | `torch.optim.Optimizer` |
| lr_scheduler | `LRSchedulerConfig` | `factory(config, optimizer, total_steps=, higher_is_better=)` | it |
| schedule | `ScheduleConfig` | `factory(config)` | `Schedule` |
| balancer | any | `factory(config, tasks=...)` | `Balancer` |
| logger | any | `factory(config, folder=...)` | object with run-time hooks |
| dataset | `DatasetConfig` | `factory(config)` | `Dataset` |
"""

from __future__ import annotations

from mtl.components.data import (
    ColumnSpec,
    ColumnType,
    Dataset,
    DatasetConfig,
    DataSource,
    DataSourceConfig,
    Download,
    Split,
    Table,
)
from mtl.components.featurizers import (
    Featurizer,
    FeaturizerConfig,
    SpecialTokens,
    TokenFeaturizer,
)
from mtl.components.kinds import (
    KINDS,
    Kind,
)
from mtl.components.modules import (
    DecoderConfig,
    Direction,
    ModuleConfig,
    Output,
    PoolingConfig,
    RepresentationConfig,
    Tokenizer,
    Unit,
)
from mtl.components.spec import (
    ComponentSpec,
    ConfigReader,
    Migration,
)
from mtl.components.tasks import (
    FeaturesConfig,
    Loss,
    Metric,
    Metrics,
    ModelOutput,
    Task,
    TaskConfig,
)
from mtl.components.training import (
    Balancer,
    Epoch,
    LRSchedulerConfig,
    Schedule,
    ScheduleConfig,
)

__all__ = [
    "KINDS",
    "Balancer",
    "ColumnSpec",
    "ColumnType",
    "ComponentSpec",
    "ConfigReader",
    "DataSource",
    "DataSourceConfig",
    "Dataset",
    "DatasetConfig",
    "DecoderConfig",
    "Direction",
    "Download",
    "Epoch",
    "FeaturesConfig",
    "Featurizer",
    "FeaturizerConfig",
    "Kind",
    "LRSchedulerConfig",
    "Loss",
    "Metric",
    "Metrics",
    "Migration",
    "ModelOutput",
    "ModuleConfig",
    "Output",
    "PoolingConfig",
    "RepresentationConfig",
    "Schedule",
    "ScheduleConfig",
    "SpecialTokens",
    "Split",
    "Table",
    "Task",
    "TaskConfig",
    "TokenFeaturizer",
    "Tokenizer",
    "Unit",
]
