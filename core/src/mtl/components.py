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
| exporter | any | `factory(config)` | exporter |
"""

from __future__ import annotations

import enum
import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, TypeVar

from attrs import define, field, frozen

from mtl.config.fields import Component, InputPath, OutputPath, configclass, option
from mtl.errors import PluginError, Problem

if TYPE_CHECKING:
    import polars as pl
    import torch
    from torch import Tensor, nn

    from mtl.data.columns import Batch, Column
    from mtl.data.features import Features
    from mtl.sharing import Builder


@frozen(kw_only=True)
class ComponentSpec:
    """One component as its plugin announces it: a name and where its two halves are.

    `config` and `factory` are `"module:attribute"`; neither is imported until it is needed, and one
    that cannot be imported is a `PluginError` then. `migrations`, written alike, is a list of
    `Migration`s, oldest first, and `formerly` the names that the component had: with them a config
    that was written for an older version of the plugin still runs.
    """

    name: str
    config: str
    factory: str
    summary: str = ""
    migrations: str = ""
    formerly: tuple[str, ...] = ()

    def load_config(self) -> Any:
        """The config class."""
        return _load(self.config)

    def load_factory(self) -> Any:
        """The factory."""
        return _load(self.factory)

    def load_migrations(self) -> Any:
        """The migrations; none where the component names none."""
        return _load(self.migrations) if self.migrations else ()


@frozen
class Migration:
    """What became of one setting of a component.

    `new` is the setting that took the place of `old`: its key, or the path below the component with
    the names of components in it (`pooling.SelfAttention.attn_dim`); or a function of the old value
    that gives the new settings by such paths, for a value that was split or is written otherwise;
    None where nothing is left of it. A function that leaves a value of today as it is, under `old`,
    may change what is written for a setting that keeps its key. It raises `ValueError` for a value
    that never was right.

    `since` is the version of the distribution that brought the change, `note` what its users should
    know beyond that.
    """

    old: str
    new: str | Callable[[Any], Mapping[str, Any]] | None = None
    since: str = field(kw_only=True)
    note: str = field(default="", kw_only=True)


def _load(reference: str) -> Any:
    """Raises `PluginError`, whatever a plugin's module does when it is imported."""
    module, _, attribute = reference.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (Exception, SystemExit) as error:
        raise PluginError(f"{reference} cannot be loaded: {type(error).__name__}: {error}") from error


# --- modules -------------------------------------------------------------------------------------


@configclass
class ModuleConfig:
    """What every module slot takes beside its own settings."""

    shared_module_key: str | None = option(None, "Modules with the same key are one module.")
    freeze: bool = option(False, "Keep this module's parameters as they are.")
    load_path: InputPath | None = option(None, "Start from this module's weights (safetensors).")
    save_path: OutputPath | None = option(None, "Write this module's best weights there (safetensors).")


class Output(enum.Enum):
    """What a representation makes of embedded tokens `[batch, time, dim]`."""

    SEQUENCE = "sequence"
    """A vector a token: `[batch, time, dim]`."""
    DOCUMENT = "document"
    """A vector a row: `[batch, dim]`."""


class Direction(enum.Enum):
    """Which tokens a position of a sequence may depend on."""

    CAUSAL = "causal"
    """On itself and the tokens before it."""
    BIDIRECTIONAL = "bidirectional"
    """On all tokens."""
    SPLIT = "split"
    """The first half of the vector on itself and the tokens before, the second on itself and the
    tokens after."""


@configclass
class RepresentationConfig(ModuleConfig):
    """Maps embedded tokens to a sequence or a document.

    The module's `forward(embedded, lengths)` takes `embedded` `[batch, time, input_dim]` and
    `lengths` `[batch]` and gives `[batch, time, output_dim]` or `[batch, output_dim]`. What stands
    in the padding after a row's length never changes what the row gets; positions after the
    length hold zeros in a sequence.
    """

    @property
    def output(self) -> Output:
        """Whether a vector a token or a vector a row comes out."""
        raise NotImplementedError

    @property
    def direction(self) -> Direction:
        """What a position sees; a document sees everything."""
        return Direction.BIDIRECTIONAL

    def output_dim(self, input_dim: int) -> int:
        """Width of the vectors that come out."""
        raise NotImplementedError


@configclass
class PoolingConfig(ModuleConfig):
    """Makes one vector of a sequence: `forward(sequence, lengths)`,
    `[batch, time, input_dim]` and `[batch]` to `[batch, output_dim]`."""

    def output_dim(self, input_dim: int) -> int:
        """Width of the vector that comes out."""
        return input_dim


@configclass
class DecoderConfig(ModuleConfig):
    """Maps the last dimension: `forward(inputs)`, `[..., input_dim]` to `[..., output_dim]`."""


@configclass
class FeaturizerConfig(ModuleConfig):
    """Turns tokens into numbers and embeds them."""

    @property
    def output_dim(self) -> int:
        """Width of a token's vector."""
        raise NotImplementedError


ConfigT = TypeVar("ConfigT")


class Featurizer(ABC, Generic[ConfigT]):
    """Turns lists of tokens into numericalised columns and builds the embedding that reads them.

    Featurizers with one key are one object: one vocabulary, built from all its users' data.
    """

    def __init__(self, config: ConfigT) -> None:
        self.config = config

    def fit(self, corpora: Mapping[str, Sequence[pl.Series]]) -> None:
        """Build the vocabulary. `corpora` gives the training tokens (`list[str]` a row) of each
        task that uses it. Called once, before `encode`, and not when a model is loaded."""

    @abstractmethod
    def encode(self, tokens: pl.Series) -> dict[str, Column]:
        """The numericalised columns of `tokens` (`list[str]` a row), by a name of one's own."""

    @abstractmethod
    def build_embedding(self, build: Builder) -> nn.Module:
        """A module whose `forward(columns)` takes this featurizer's padded columns by name, each
        `[batch, time, ...]`, and gives `[batch, time, output_dim]`."""

    def state(self) -> dict[str, Any]:
        """What `fit` found, as JSON: it goes into the model folder."""
        return {}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` gave, in place of `fit`."""

    def report(self, tokens: pl.Series) -> dict[str, float]:
        """Figures about `tokens` that a user should see, such as `{"unknown": 0.05}`."""
        return {}

    def notices(self) -> list[str]:
        """What a user should know once `fit` is done, such as lines of a file that were left out."""
        return []


# --- data ----------------------------------------------------------------------------------------

Split = Literal["train", "eval", "test"]


@configclass
class DataSourceConfig:
    """Where a task's rows are."""

    train_path: InputPath = option(help="Rows to train on.")
    eval_path: InputPath | None = option(None, "Rows that choose the best model.")
    test_path: InputPath | None = option(None, "Rows that are scored once, with the best model.")
    on_bad_row: Literal["error", "skip"] = option(
        "error", "A row that cannot be read ends the run, or is skipped and counted."
    )

    def path(self, split: Split) -> Path | None:
        """The file of a split, or None where the config names none."""
        paths: dict[str, Path | None] = {
            "train": self.train_path,
            "eval": self.eval_path,
            "test": self.test_path,
        }
        return paths[split]


@frozen
class Table:
    """Rows of one file.

    `frame` holds a column for each that the task asked for and `line`, the row's line number
    (from 1). `skipped` counts bad rows left out by the user's choice.
    """

    frame: pl.DataFrame
    path: str
    skipped: int = 0


class DataSource(ABC, Generic[ConfigT]):
    """Reads files into tables."""

    def __init__(self, config: ConfigT) -> None:
        self.config = config

    @abstractmethod
    def read(self, path: Path, columns: Sequence[str], *, optional: Sequence[str] = ()) -> Table:
        """The rows of `path` with `columns` (all `str`), and those of `optional` that it has.

        Raises `DataError` with file, line and column for a row that cannot be read, unless the
        config says to skip.
        """


# --- tasks ---------------------------------------------------------------------------------------


@configclass
class FeaturesConfig(ModuleConfig):
    """A task's featurizers by name; their vectors are concatenated.

    In the JSON each featurizer's name is a key beside the module keys.
    """

    featurizers: dict[str, Component] = field(factory=dict)

    @property
    def output_dim(self) -> int:
        """Width of a token's vector, all featurizers together."""
        return sum(component.config.output_dim for component in self.featurizers.values())


@frozen
class Metric:
    """The figure that tells how good a task is, by its name in the results, and its direction."""

    name: str
    higher_is_better: bool


@configclass
class TaskConfig:
    """What every task takes. A task's own config class adds `data`, `features` and its model."""

    batch_size: int = option(128, "Rows a batch.", minimum=1)
    batch_tokens: int | None = option(
        None, "Cut batches by tokens, padding included, instead of rows.", minimum=1
    )
    eval_batch_size: int | None = option(
        None, "Rows a batch in evaluation; `batch_size` if absent.", minimum=1
    )
    default_features: ClassVar[tuple[str, ...]] = ()

    data: Component
    features: FeaturesConfig

    @property
    def metric(self) -> Metric:
        """The figure that selects the best model for this task."""
        raise NotImplementedError

    def check(self) -> Iterator[Problem]:
        """What is wrong between settings, with paths relative to this config."""
        return iter(())


# What a model makes in its forward pass is not frozen: torch.compile cannot trace how attrs freezes.
@define(eq=False)
class Loss:
    """A batch's loss as a sum and what it is a sum over, so that batches add up exactly.

    `total` is a scalar with gradient; the mean loss is `total / weight`. `weight` is the number of
    rows, of predicted tokens, or the sum of class weights: a number or a scalar tensor.
    """

    total: Tensor
    weight: Tensor | float


@define(eq=False)
class ModelOutput:
    """What a task's model gives for a batch; tasks add fields. `loss` is None without targets."""

    loss: Loss | None


OutputT = TypeVar("OutputT", bound=ModelOutput)


class Metrics(ABC, Generic[OutputT]):
    """Figures gathered over batches; sums stay on the device until `compute`."""

    @abstractmethod
    def update(self, output: OutputT, batch: Batch) -> None:
        """Add a batch."""

    @abstractmethod
    def compute(self) -> dict[str, Any]:
        """The figures, as JSON values; None for one that is not defined on the rows seen."""


TaskConfigT = TypeVar("TaskConfigT", bound=TaskConfig)


class Task(ABC, Generic[TaskConfigT]):
    """One task: from a table's rows to columns, a model, metrics and predictions.

    The core calls, in this order: `prepare` for each split, `fit` with the prepared training
    rows, `encode` for each split, `build_model`. A loaded task gets `load_state` in place of `fit`.
    """

    columns: ClassVar[tuple[str, ...]]
    """The columns that the task reads; a prediction needs only `input_columns`."""
    input_columns: ClassVar[tuple[str, ...]]

    def __init__(self, config: TaskConfigT, *, name: str, features: Features) -> None:
        self.config = config
        self.name = name
        self.features = features

    @abstractmethod
    def prepare(self, table: Table) -> pl.DataFrame:
        """The rows to train on or to score, with `tokens` (`list[str]`) for the features, what
        `fit` and `encode` need, and `line`."""

    def prepare_input(self, table: Table) -> pl.DataFrame:
        """As `prepare`, for rows to predict: one for each of the table's, in the same order."""
        return self.prepare(table)

    def fit(self, frame: pl.DataFrame) -> None:
        """Learn from the prepared training rows what the model needs to know, such as labels."""

    @abstractmethod
    def encode(self, frame: pl.DataFrame) -> dict[str, Column]:
        """The task's own columns, such as targets, for prepared rows. Those that a prediction
        lacks are left out."""

    @abstractmethod
    def build_model(self, build: Builder) -> nn.Module:
        """A module whose `forward(batch)` gives a `ModelOutput`, with a loss where the batch has
        targets."""

    @abstractmethod
    def metrics(self) -> Metrics[Any]:
        """Fresh metrics for one pass over a split."""

    @abstractmethod
    def predictions(self, output: Any, batch: Batch) -> list[dict[str, Any]]:
        """One JSON object a row."""

    def state(self) -> dict[str, Any]:
        """What `fit` learnt, as JSON: it goes into the model folder."""
        return {}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` gave, in place of `fit`."""

    def notices(self) -> list[str]:
        """What a user should know before the run starts, such as that an objective leaks."""
        return []


# --- training ------------------------------------------------------------------------------------


@configclass
class ScheduleConfig:
    """Which task's batch comes next, and what an epoch is."""

    epoch: Literal["auto", "first", "all", "task", "steps"] = option(
        "auto",
        "An epoch ends when the first dataset ends (`first`), when all have (`all`: each row once),"
        " with one task's dataset (`task`) or after `steps`; `auto` is the target task's, or `all`"
        " where there is none.",
    )
    epoch_task: str | None = option(None, "The task whose dataset an epoch is, with `task`.")
    epoch_steps: int | None = option(None, "Steps an epoch, with `steps`.", minimum=1)


class Schedule(ABC, Generic[ConfigT]):
    """An order of tasks. It holds no state: a run's place in it is (epoch, step)."""

    def __init__(self, config: ConfigT) -> None:
        self.config = config

    @abstractmethod
    def order(self, sizes: Mapping[str, int], *, cycle: bool, seed: int) -> Iterator[str]:
        """The tasks of one epoch's steps, step by step.

        `sizes` are steps a task: those left in its dataset where `cycle` is false (the iterator
        then gives each task exactly that often and ends), else those of its whole dataset (the
        iterator never ends; the epoch rule does that). `seed` differs between epochs.
        """


@configclass
class LRSchedulerConfig:
    """How the learning rate moves."""

    @property
    def by_metric(self) -> bool:
        """Whether it steps on the selection figure after an evaluation, instead of every step."""
        return False


class Balancer(ABC, Generic[ConfigT]):
    """Weighs the tasks' losses against each other."""

    def __init__(self, config: ConfigT, *, tasks: Mapping[str, float]) -> None:
        """`tasks` are the config's `task_weights`."""
        self.config = config
        self.tasks = tasks

    @abstractmethod
    def factor(self, task: str, loss: Tensor) -> Tensor | float:
        """What the gradient of a step of `task` is multiplied by; `loss` is its mean loss, detached."""

    def state_dict(self) -> dict[str, torch.Tensor]:
        """What must survive a checkpoint."""
        return {}

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Take back what `state_dict` gave."""


# --- datasets ------------------------------------------------------------------------------------


@frozen
class Download:
    """One archive to fetch: addresses in the order to try, MD5, and the files to take from it,
    as {name in the archive: path below the base folder}."""

    urls: tuple[str, ...]
    md5: str
    files: Mapping[str, str]


@configclass
class DatasetConfig:
    """A public dataset that `mtl data fetch` brings; it has no settings of its own."""


class Dataset(ABC):
    """A public dataset, and a small generated one in its format."""

    def __init__(self, config: DatasetConfig) -> None:
        self.config = config

    @abstractmethod
    def downloads(self) -> Sequence[Download]:
        """What `mtl data fetch NAME` brings."""

    def sample(self, seed: int) -> Mapping[str, str]:
        """Generated files in the dataset's format, {path below the folder: text}."""
        return {}


# --- kinds ---------------------------------------------------------------------------------------


@frozen
class Kind:
    """A kind of component: its name in messages, its hook and the base of its config classes."""

    name: str
    hook: str
    config: type

    @property
    def label(self) -> str:
        """The kind in words."""
        return self.name.replace("_", " ")


KINDS: Mapping[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("task", "mtl_tasks", TaskConfig),
        Kind("representation", "mtl_representations", RepresentationConfig),
        Kind("featurizer", "mtl_featurizers", FeaturizerConfig),
        Kind("pooling", "mtl_poolings", PoolingConfig),
        Kind("decoder", "mtl_decoders", DecoderConfig),
        Kind("data_source", "mtl_data_sources", DataSourceConfig),
        Kind("dataset", "mtl_datasets", DatasetConfig),
        Kind("optimizer", "mtl_optimizers", object),
        Kind("lr_scheduler", "mtl_lr_schedulers", LRSchedulerConfig),
        Kind("schedule", "mtl_schedules", ScheduleConfig),
        Kind("balancer", "mtl_balancers", object),
        Kind("logger", "mtl_loggers", object),
        Kind("exporter", "mtl_exporters", object),
    )
}
