"""The base classes of each kind of component. Free of torch.

A component consists of a config class and a factory. The config class (made with `mtl.configclass`) is free
of torch: its fields are the keys of the JSON, its properties what the component declares. The factory, named
in the `ComponentSpec` and imported when a run needs it, returns the object or torch module:

| kind | config base | arguments of the factory after the config | returns |
|---|---|---|---|
| task | `TaskConfig` | `name=, features=` | `Task` |
| data_source | `DataSourceConfig` | | `DataSource` |
| featurizer | `FeaturizerConfig` | | `Featurizer` |
| representation | `RepresentationConfig` | `build, input_dim=` | `nn.Module` |
| pooling | `PoolingConfig` | `build, input_dim=` | `nn.Module` |
| decoder | `DecoderConfig` | `build, input_dim=, output_dim=`, and `output_names=` if given | `nn.Module` |
| optimizer | any | `parameters` | `torch.optim.Optimizer` |
| lr_scheduler | `LRSchedulerConfig` | `optimizer, total_steps=, higher_is_better=` | scheduler of torch |
| schedule | `ScheduleConfig` | | `Schedule` |
| balancer | any | `tasks=` | `Balancer` |
| logger | any | `folder=` | callback: an object with run-time hooks |
| dataset | `DatasetConfig` | | `Dataset` |
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
    FeatureWidth,
    ModuleConfig,
    Output,
    PoolingConfig,
    PoolingInput,
    RepresentationConfig,
    Tokenizer,
    Unit,
)
from mtl.components.spec import (
    Baseline,
    ComponentSpec,
    ConfigReader,
    Migration,
)
from mtl.components.tasks import (
    FeaturesConfig,
    Judgment,
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
    "Baseline",
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
    "FeatureWidth",
    "FeaturesConfig",
    "Featurizer",
    "FeaturizerConfig",
    "Judgment",
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
    "PoolingInput",
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
