"""Tasks: from rows to columns, a model, a loss, metrics and predictions."""

from __future__ import annotations

import enum
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from attrs import define, frozen

from mtl.components.data import ColumnSpec, Table
from mtl.components.modules import Direction, FeatureWidth, ModuleConfig, Tokenizer, Unit
from mtl.errors import Problem
from mtl.fields import Component, configclass, inline_slots, option

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from torch import Tensor, nn

    from mtl.builder import Builder
    from mtl.data.columns import Batch, Column, Rows
    from mtl.data.features import Features


@configclass
class FeaturesConfig(ModuleConfig):
    """A task's featurizers by name; their vectors are concatenated.

    In the JSON, each featurizer's name is a key beside the module keys.
    """

    featurizers: dict[str, Component] = inline_slots("featurizer", "The featurizers by name.")

    @property
    def output_dim(self) -> FeatureWidth:
        """Width of the vectors of all featurizers together."""
        return FeatureWidth({name: each.config.output_dim for name, each in self.featurizers.items()})

    @property
    def direction(self) -> Direction:
        """The words that a concatenated vector depends on."""
        directions = {component.config.direction for component in self.featurizers.values()}
        if directions <= {Direction.ITSELF}:
            return Direction.ITSELF
        is_causal = directions <= {Direction.ITSELF, Direction.CAUSAL}
        return Direction.CAUSAL if is_causal else Direction.BIDIRECTIONAL

    @property
    def unit(self) -> Unit:
        """The unit of the vectors: words or pieces."""
        return next((each.config.unit for each in self.featurizers.values()), Unit.WORD)

    @property
    def reads_jointly(self) -> bool:
        """Whether the texts of a row become one sequence."""
        return any(component.config.reads_jointly for component in self.featurizers.values())

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer that splits text into words."""
        stated = (component.config.tokenizer for component in self.featurizers.values())
        return next((name for name in stated if name is not None), "whitespace")

    def check(self) -> Iterator[Problem]:
        """Find featurizers whose vectors cannot be concatenated."""
        for name in ("unit", "reads_jointly", "tokenizer"):
            first: Component | None = None
            for component in self.featurizers.values():
                declared = getattr(component.config, name)
                if declared is None:
                    continue
                first = first or component
                other = getattr(first.config, name)
                if declared != other:
                    yield Problem(
                        component.name,
                        f"featurizers of one block must have the same `{name}`, but it is {_shown(declared)}"
                        f" here and {_shown(other)} at {first.path}",
                    )


def _shown(value: Any) -> str:
    """Return a declared value as a config would write it."""
    return json.dumps(value.value if isinstance(value, enum.Enum) else value)


@frozen
class Metric:
    """The metric that selects a task's best model: its name in the results, direction and range.

    `minimum` and `maximum` bound its values; None if there is no bound. Selection over several tasks puts
    their metrics on one scale by them. Raises `ValueError` if the range is empty.
    """

    name: str
    higher_is_better: bool
    minimum: float | None = None
    maximum: float | None = None

    def __attrs_post_init__(self) -> None:
        if self.minimum is not None and self.maximum is not None and self.minimum >= self.maximum:
            raise ValueError(f"the range of {self.name} is empty: {self.minimum} to {self.maximum}")


@configclass
class TaskConfig:
    """What every task takes. A task's own config class adds `data`, `features` and its model."""

    batch_size: int = option(128, "Rows per batch.", minimum=1)
    batch_tokens: int | None = option(
        None, "Tokens per batch, padding included, instead of `batch_size` rows.", minimum=1
    )
    eval_batch_size: int | None = option(
        None, "Rows per batch in evaluation; `batch_size` if absent.", minimum=1
    )
    accumulate_batches: int | None = option(
        None, "Batches of this task per step; the trainer's `accumulate_batches` if absent.", minimum=1
    )
    lr_factor: float = option(1.0, "Factor of the learning rate in steps of this task.", above=0)
    max_clip_norm: float | None = option(None, "Clip the norm of this task's gradient.", above=0)
    evaluate_every: int = option(1, "Evaluate this task at every Nth evaluation, and at the last.", minimum=1)
    early_stop_after: int | None = option(
        None,
        "Stop training this task after N evaluations without improvement of its metric.",
        minimum=1,
    )
    default_features: ClassVar[tuple[str, ...]] = ()

    data: Component
    features: FeaturesConfig

    @property
    def texts(self) -> tuple[str, ...]:
        """The text columns that the featurizers read, in order."""
        return ("text",)

    @property
    def accepts(self) -> tuple[Unit, ...]:
        """The units that the task can use: words, pieces."""
        return tuple(Unit)

    @property
    def metric(self) -> Metric:
        """The metric that selects the best model for this task."""
        raise NotImplementedError

    @property
    def columns(self) -> tuple[ColumnSpec, ...]:
        """The columns that the task reads from its data."""
        raise NotImplementedError

    @property
    def input_columns(self) -> tuple[ColumnSpec, ...]:
        """The columns that a row to predict must have."""
        return tuple(column for column in self.columns if column.input)

    def check(self) -> Iterator[Problem]:
        """Yield what is wrong between settings, with paths relative to this config."""
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
    """What a task's model returns for a batch; tasks add fields. `loss` is None without targets."""

    loss: Loss | None


OutputT = TypeVar("OutputT", bound=ModelOutput)


class Metrics(ABC, Generic[OutputT]):
    """Metrics over the rows of several batches; sums stay on the device until `compute`."""

    @abstractmethod
    def update(self, output: OutputT, batch: Batch) -> None:
        """Add a batch."""

    @abstractmethod
    def compute(self) -> dict[str, Any]:
        """Return the metrics, as JSON values; None for one that the rows seen do not define.

        A value that is not finite counts as undefined, too.
        """

    def state(self) -> dict[str, Tensor]:
        """Return what `update` gathered, as tensors."""
        raise NotImplementedError

    def merge(self, state: Mapping[str, Tensor]) -> None:
        """Add the `state()` of other rows: the metrics are then those of the rows of both."""
        raise NotImplementedError


@frozen
class Judgment:
    """What a row says and what the model predicts for it, both as JSON.

    `right` is None for a task that predicts quantities, which has a `distance` instead. `probability` is
    that of the prediction; None if the task gives none.
    """

    gold: Any
    predicted: Any
    right: bool | None
    probability: float | None = None
    distance: float | None = None


TaskConfigT = TypeVar("TaskConfigT", bound=TaskConfig)


class Task(ABC, Generic[TaskConfigT]):
    """One task: from a table's rows to columns, a model, metrics and predictions.

    The core calls `prepare` for each split, `fit` with the prepared training rows, `encode` for each
    split, and `build_model`, in this order; on loading, `load_state` instead of `fit`. A file too large
    for memory comes in chunks, each prepared and encoded alone.

    `rows_are_independent` says whether the loss of a row is the same in any batch. Where it is not, several
    processes cannot share a batch.
    """

    rows_are_independent: ClassVar[bool] = True

    def __init__(self, config: TaskConfigT, *, name: str, features: Features) -> None:
        self.config = config
        self.name = name
        self.features = features

    @abstractmethod
    def prepare(self, table: Table) -> pl.DataFrame:
        """Return the rows to train on or to score: each of the config's `texts` as words (`list[str]`, see
        `Features.split`), what `fit` and `encode` need, and `line`."""

    def prepare_input(self, table: Table) -> pl.DataFrame:
        """Like `prepare`, for rows to predict: return one for each of the table's, in the same order."""
        return self.prepare(table)

    def fit(self, frames: Iterable[pl.DataFrame]) -> None:
        """Learn from the prepared training rows what the model needs to know, such as labels.

        `frames` are the chunks of the data, one for most files; they may be iterated several times.
        """

    def start_from(self, state: Mapping[str, Any]) -> None:
        """Take `state()` of the same task in the run that this one starts from; `fit`, called next, adds to
        it. By default `fit` learns everything anew."""

    @abstractmethod
    def encode(self, frame: pl.DataFrame) -> dict[str, Column]:
        """Return the task's own columns, such as targets, for prepared rows; without targets if these are
        rows to predict."""

    @abstractmethod
    def build_model(self, build: Builder) -> nn.Module:
        """Return a module whose `forward(batch)` returns a `ModelOutput`, with a loss if the batch has
        targets."""

    @abstractmethod
    def metrics(self) -> Metrics[Any]:
        """Return fresh metrics for one pass over a split."""

    def calibrate(self, model: nn.Module, metrics: Any) -> None:
        """Fit what the model decides by, such as thresholds, to the evaluation rows that `metrics` gathered.

        Called at each evaluation, before the metrics are computed and the model is saved, and never with test
        rows. What it sets must be in the model's state and in `metrics`.
        """

    @abstractmethod
    def predictions(self, output: Any, batch: Batch) -> list[dict[str, Any]]:
        """Return one JSON object per row."""

    def judgments(self, predictions: Sequence[Mapping[str, Any]], batch: Batch) -> list[Judgment]:
        """Return whether each prediction for a batch with targets is right; `predictions` are what the method
        of that name returned for it.

        `mtl test --errors` and reports use it. By default there are none, as for a language model.
        """
        return []

    def state(self) -> dict[str, Any]:
        """Return what `fit` learned, as JSON; it is saved in the model folder."""
        return {}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore `state()`; called instead of `fit()` when a model is loaded."""

    def save_files(self, folder: Path) -> None:
        """Write the files that a run needs besides `state` into an empty folder; see `Featurizer`."""

    def load_files(self, folder: Path) -> None:
        """Read what `save_files` wrote, instead of the files that the config names; see `Featurizer`."""

    def sampling_weights(self, rows: Rows) -> np.ndarray | None:
        """Return how often each training row is drawn relative to the others, float `[rows]`; None if each
        occurs once per pass."""
        return None

    def label_counts(self, rows: Rows) -> Mapping[str, int]:
        """Return how many of the encoded rows have each label, for a task with labels: plans show them."""
        return {}

    def undefined_metrics(self, rows: Rows) -> Mapping[str, str]:
        """Return the metrics that these encoded rows cannot define whatever the model predicts, with the
        reason, as in `{"roc_auc": "all rows have the label 0"}`. It is asked before the first step."""
        return {}

    def notices(self) -> list[str]:
        """Return what a user should know before the run starts, such as that an objective leaks."""
        return []
