"""For each check of a task, one that is wrong on purpose and is found out: the table `DEFECTS`."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import polars as pl
import pytest
import torch
from attrs import define, evolve, frozen
from torch import Tensor, nn

from mtl import (
    Batch,
    Builder,
    ColumnSpec,
    Component,
    DataError,
    Dense,
    FeaturesConfig,
    Judgment,
    Loss,
    Metric,
    Metrics,
    ModelOutput,
    Output,
    Table,
    Task,
    TaskConfig,
    configclass,
    option,
    slot,
)
from mtl.testing.checks import Check, CheckError
from mtl.testing.kit import check_task
from mtl.testing.trials import Example, write_files

WORDS = ("dull", "weak", "fair", "good", "great")
FILES = {
    "rows.tsv": "text\tremark\tstars\n"
    + "".join(
        f"{'a very ' * (row % 3)}{WORDS[row % 5]} film , number {row}\tseen in {2000 + row}\t{1 + row % 5}\n"
        for row in range(20)
    )
}
SETTINGS: dict[str, Any] = {
    "data": {"train_path": "rows.tsv"},
    "features": {"word_feat": {"embed_dim": 8}},
    "representation": {"lstm": {"lstm_dim": 6}},
}


@configclass
class StarsConfig(TaskConfig):
    """Stars for a text."""

    default_features: ClassVar[tuple[str, ...]] = ("word_feat",)

    data: Component = slot("data_source", "TSV", "Columns `text` and `stars`.")
    features: FeaturesConfig
    representation: Component = slot(
        "representation", "BiLSTMDocAttention", "What is read.", output=Output.DOCUMENT
    )
    scale: float = option(5.0, "The most stars.", above=0)

    @property
    def columns(self) -> tuple[ColumnSpec, ...]:
        return ColumnSpec("text"), ColumnSpec("stars", input=False)

    @property
    def metric(self) -> Metric:
        return Metric("squared_error", higher_is_better=False)


@define(eq=False)
class StarsOutput(ModelOutput):
    stars: Tensor


@frozen(eq=False)
class FrozenOutput(StarsOutput):
    pass


class Model(nn.Module):
    def __init__(self, embedding: nn.Module, representation: nn.Module, width: int, mean: float) -> None:
        super().__init__()
        self.embedding = embedding
        self.representation = representation
        self.output = nn.Linear(width, 1)
        self.mean = mean

    def forward(self, batch: Batch) -> StarsOutput:
        stars = self.output(self.representation(*self.embedding(batch))).squeeze(-1) + self.mean
        return StarsOutput(self.loss(stars, batch["stars"]) if "stars" in batch else None, stars)

    def loss(self, stars: Tensor, targets: Tensor) -> Loss:
        return Loss((stars - targets).square().sum(), len(stars))


class SquaredError(Metrics[StarsOutput]):
    def __init__(self) -> None:
        self.parts: list[Tensor] = []

    def update(self, output: StarsOutput, batch: Batch) -> None:
        self.parts.append((output.stars - batch["stars"]).square())

    def state(self) -> dict[str, Tensor]:
        return {"parts": torch.cat(self.parts)} if self.parts else {}

    def merge(self, state: Mapping[str, Tensor]) -> None:
        self.parts += state.values()

    def compute(self) -> dict[str, Any]:
        return {"squared_error": torch.cat(self.parts).mean().item() if self.parts else None}


class Stars(Task[Any]):
    model: ClassVar[type[Model]] = Model
    mean = 0.0

    def prepare(self, table: Table) -> pl.DataFrame:
        frame = table.frame.with_columns(self.features.split(table.frame["text"]).alias("text"))
        return self.numbers(frame, table.path) if "stars" in frame.columns else frame

    def numbers(self, frame: pl.DataFrame, path: str) -> pl.DataFrame:
        stars = frame["stars"].cast(pl.Float32, strict=False)
        if stars.null_count():
            line = frame["line"].filter(stars.is_null())[0]
            raise DataError(f"{path}:{line}: `stars` must be a number")
        return frame.with_columns(stars=stars)

    def fit(self, frames: Iterable[pl.DataFrame]) -> None:
        self.mean = float(pl.concat([frame["stars"] for frame in frames]).to_numpy().mean())

    def encode(self, frame: pl.DataFrame) -> dict[str, Dense]:
        return {"stars": Dense(torch.tensor(frame["stars"].to_list()))} if "stars" in frame.columns else {}

    def build_model(self, build: Builder) -> nn.Module:
        width = self.config.features.output_dim
        embedding = self.features.build_embedding(build)
        representation = build(self.config.representation, input_dim=width)
        return self.model(
            embedding, representation, self.config.representation.config.output_dim(width), self.mean
        )

    def metrics(self) -> Metrics[Any]:
        return SquaredError()

    def predictions(self, output: StarsOutput, batch: Batch) -> list[dict[str, Any]]:
        return [{"stars": stars} for stars in output.stars.tolist()]

    def state(self) -> dict[str, Any]:
        return {"mean": self.mean}

    def load_state(self, state: Mapping[str, Any]) -> None:
        self.mean = state["mean"]


def test_the_sound_one_passes(plant: Callable[..., Any]) -> None:
    checks = check_task("Planted", files=FILES, config=SETTINGS, plugins=plant("task", StarsConfig, Stars))
    assert len(checks) > 25 and {check.outcome for check in checks} == {"passed"}


def test_a_task_without_rows_is_not_passed_by(plant: Callable[..., Any]) -> None:
    with pytest.raises(CheckError, match=r"task Planted: trains: it has no rows to be tried on"):
        check_task("Planted", plugins=plant("task", StarsConfig, Stars))


@frozen
class Defect:
    """What is wrong, the check that must find it, words of its message, and the task."""

    wrong: str
    check: str
    says: str
    task: Any
    config: Any


DEFECTS: list[Defect] = []


def defect(check: str, says: str, wrong: str, *, config: Any = StarsConfig) -> Callable[[Any], Any]:
    """Put a task, or a model for one, that is wrong into the table."""

    def add(made: Any) -> Any:
        task = type(made.__name__, (Stars,), {"model": made}) if issubclass(made, nn.Module) else made
        DEFECTS.append(Defect(wrong, check, says, task, config))
        return made

    return add


@configclass
class TargetsConfig(StarsConfig):
    """Stars for nothing."""

    @property
    def columns(self) -> tuple[ColumnSpec, ...]:
        return tuple(evolve(column, input=False) for column in super().columns)


@defect("declares_its_columns", "must have an input column", "a task of targets alone", config=TargetsConfig)
class OnlyTargets(Stars):
    pass


@defect("prepares_rows", "`text` must be List(String)", "a text where words must be")
class WholeTexts(Stars):
    def prepare(self, table: Table) -> pl.DataFrame:
        return super().prepare(table).with_columns(text=pl.col("text").list.join(" "))


@defect("encodes_each_row", "the column `stars` has 1 rows", "a target for each distinct row")
class Distinct(Stars):
    def encode(self, frame: pl.DataFrame) -> dict[str, Dense]:
        return {name: Dense(column.values[:1]) for name, column in super().encode(frame).items()}


@defect("names_wrong_rows", "in line 12 raises InvalidOperationError", "a number that is taken on trust")
class Trusting(Stars):
    def numbers(self, frame: pl.DataFrame, path: str) -> pl.DataFrame:
        return frame.with_columns(frame["stars"].cast(pl.Float32))


@defect("names_wrong_rows", "does not name", "an error without its line")
class Lineless(Stars):
    def numbers(self, frame: pl.DataFrame, path: str) -> pl.DataFrame:
        try:
            return super().numbers(frame, path)
        except DataError:
            raise DataError("some `stars` are wrong") from None


@defect("fits_pieces_alike", "fitted to chunks", "a mean of the first piece")
class FirstPiece(Stars):
    def fit(self, frames: Iterable[pl.DataFrame]) -> None:
        super().fit([next(iter(frames))])


@defect("losses_add_up", "the `total` of a batch", "a mean where the sum must be")
class MeanLoss(Model):
    def loss(self, stars: Tensor, targets: Tensor) -> Loss:
        return Loss((stars - targets).square().mean(), len(stars))


@defect("losses_add_up", "the loss must be one finite number", "a loss for each row")
class ManyLosses(Model):
    def loss(self, stars: Tensor, targets: Tensor) -> Loss:
        return Loss((stars - targets).square(), len(stars))


@defect("gives_an_open_output", "FrozenOutput is frozen", "an output that the compiler cannot trace")
class Frozen(Model):
    def forward(self, batch: Batch) -> StarsOutput:
        output = super().forward(batch)
        return FrozenOutput(output.loss, output.stars)


@defect("judges_each_row", "gives 1 for", "a judgment for the first row alone")
class JudgesOne(Stars):
    def judgments(self, predictions: Any, batch: Batch) -> list[Judgment]:
        return [Judgment(1.0, 2.0, None, distance=1.0)]


@defect("judges_each_row", "the probability of line", "a score where a probability must be")
class Unlikely(Stars):
    def judgments(self, predictions: Any, batch: Batch) -> list[Judgment]:
        return [Judgment(stars, stars, True, 1 + stars) for stars in batch["stars"].tolist()]


@defect("predictions_are_independent", "alone, but", "scores that hang on the batch")
class Relative(Model):
    def forward(self, batch: Batch) -> StarsOutput:
        output = super().forward(batch)
        return evolve(output, stars=output.stars - output.stars.mean())


@defect("predictions_are_independent", "gives 15 answers for 16 rows", "an answer too few")
class TooFew(Stars):
    def predictions(self, output: StarsOutput, batch: Batch) -> list[dict[str, Any]]:
        answers = super().predictions(output, batch)
        return answers[1:] if len(answers) > 1 else answers


@defect("predictions_are_independent", "not JSON serializable", "an answer that is no JSON")
class Tensors(Stars):
    def predictions(self, output: StarsOutput, batch: Batch) -> list[dict[str, Any]]:
        return [{"stars": stars} for stars in output.stars]


@configclass
class OtherNameConfig(StarsConfig):
    """Fine."""

    metric = Metric("mse", higher_is_better=False)


@configclass
class UpConfig(StarsConfig):
    """Fine."""

    metric = Metric("squared_error", higher_is_better=True)


@defect("metrics_add_up", "`metric` names `mse`", "a metric under another name", config=OtherNameConfig)
class Misnamed(Stars):
    pass


@defect("metrics_merge", "merged", "a merge that forgets what it had")
class Forgets(Stars):
    def metrics(self) -> Metrics[Any]:
        class Replaced(SquaredError):
            def merge(self, state: Mapping[str, Tensor]) -> None:
                self.parts = list(state.values()) or self.parts

        return Replaced()


@defect("metrics_merge", "NotImplementedError", "metrics that cannot be merged")
class Alone(Stars):
    def metrics(self) -> Metrics[Any]:
        class Single(SquaredError):
            state = Metrics.state

        return Single()


@configclass
class NarrowConfig(StarsConfig):
    """Fine."""

    metric = Metric("squared_error", higher_is_better=False, minimum=1000.0)


@defect("metric_is_in_its_range", "below its minimum 1000", "a range that is too narrow", config=NarrowConfig)
class Narrow(Stars):
    pass


@defect("metrics_add_up", "row by row", "a mean of the batches' means")
class MeanOfMeans(Stars):
    def metrics(self) -> Metrics[Any]:
        class PerBatch(SquaredError):
            def update(self, output: StarsOutput, batch: Batch) -> None:
                self.parts.append(output.stars.std(correction=0)[None])

        return PerBatch()


@defect("reads_each_input", "the column `text` change no prediction and no loss", "a text that is not read")
class Deaf(Model):
    def forward(self, batch: Batch) -> StarsOutput:
        stars = self.output(self.representation(*self.embedding(batch)) * 0).squeeze(-1) + self.mean
        return StarsOutput(self.loss(stars, batch["stars"]) if "stars" in batch else None, stars)


@configclass
class TwoTextsConfig(StarsConfig):
    """Stars for a text and a remark."""

    @property
    def columns(self) -> tuple[ColumnSpec, ...]:
        return ColumnSpec("text"), ColumnSpec("remark"), ColumnSpec("stars", input=False)


@defect(
    "reads_each_input",
    "the column `remark` change no prediction and no loss",
    "a second text whose words are all unknown",
    config=TwoTextsConfig,
)
class AllUnknown(Stars):
    """Looks the words of `remark` up among those of `text`."""

    def fit(self, frames: Iterable[pl.DataFrame]) -> None:
        frames = list(frames)
        super().fit(frames)
        self.known = {word for frame in frames for row in frame["text"].to_list() for word in row}

    def encode(self, frame: pl.DataFrame) -> dict[str, Dense]:
        counts = [sum(w in self.known for w in remark.split()) for remark in frame["remark"].to_list()]
        return {**super().encode(frame), "remark": Dense(torch.tensor(counts))}


@defect("metrics_are_numbers_or_none", "is nan for one row; return None", "a correlation of one row")
class OfOneRow(Stars):
    def metrics(self) -> SquaredError:
        class Deviation(SquaredError):
            def compute(self) -> dict[str, Any]:
                errors = torch.cat([*self.parts, torch.zeros(0)]).tolist()
                return {"squared_error": float("nan") if len(errors) == 1 else max(errors, default=None)}

        return Deviation()


@defect("metric_follows_the_loss", "higher is better", "a metric in the wrong direction", config=UpConfig)
class Upwards(Stars):
    pass


@defect("every_parameter_learns", "representation.pooling.score.weight", "a representation that is cut off")
class CutOff(Model):
    def forward(self, batch: Batch) -> StarsOutput:
        with torch.no_grad():
            document = self.representation(*self.embedding(batch))
        stars = self.output(document).squeeze(-1) + self.mean
        return StarsOutput(self.loss(stars, batch["stars"]) if "stars" in batch else None, stars)


@defect("builds_its_slots", "representation is not built by `build`", "a representation made by hand")
class ByHand(Stars):
    def build_model(self, build: Builder) -> nn.Module:
        part, width = self.config.representation, self.config.features.output_dim
        made = part.spec.load_factory()(part.config, build, input_dim=width)
        return Model(self.features.build_embedding(build), made, part.config.output_dim(width), self.mean)


@defect("state_survives", "`scores` is another", "a state that is not given back")
class Forgetful(Stars):
    def encode(self, frame: pl.DataFrame) -> dict[str, Dense]:
        return {
            **super().encode(frame),
            "scores": Dense(torch.full((len(frame),), self.mean)),
        }

    def state(self) -> dict[str, Any]:
        return {}

    def load_state(self, state: Mapping[str, Any]) -> None:
        pass


@defect("trains_and_loads", "of the loaded model", "a constant of the model that no state holds")
class Lost(Stars):
    def load_state(self, state: Mapping[str, Any]) -> None:
        self.mean = 0.0


@defect("answers_every_row", "raises ZeroDivisionError", "a text without a word that was not thought of")
class OnlyWords(Stars):
    def prepare_input(self, table: Table) -> pl.DataFrame:
        frame = self.prepare(table)
        assert all(1 / len(row) for row in frame["text"])
        return frame


@defect("answers_as_trained", "by the loaded task, and", "answers that are inverted after loading")
class Inverted(Stars):
    sign = 1

    def load_state(self, state: Mapping[str, Any]) -> None:
        super().load_state(state)
        self.sign = -1

    def predictions(self, output: StarsOutput, batch: Batch) -> list[dict[str, Any]]:
        return [{"stars": self.sign * stars} for stars in output.stars.tolist()]


@defect("trains_alike", "end with different weights", "noise that no seed knows")
class Unseeded(Model):
    def loss(self, stars: Tensor, targets: Tensor) -> Loss:
        noise = torch.rand(len(stars), generator=torch.Generator().manual_seed(torch.seed() % 2**31))
        return super().loss(stars + noise, targets)


@defect("resumes_exactly", "resumed after step 2 differs", "a counter that no checkpoint holds")
class Warming(Model):
    step = 0

    def loss(self, stars: Tensor, targets: Tensor) -> Loss:
        self.step += self.training
        loss = super().loss(stars, targets)
        return Loss(loss.total * self.step, loss.weight) if self.training else loss


@defect("shares_its_modules", "does not use it as it is", "a copy of what is shared")
class Copied(Stars):
    def build_model(self, build: Builder) -> nn.Module:
        return copy.deepcopy(super().build_model(build))


@defect("shares_its_modules", "features is not built by `build`", "an embedding past the features")
class OwnEmbedding(Stars):
    def build_model(self, build: Builder) -> nn.Module:
        model = super().build_model(Builder())
        model.representation = build(self.config.representation, input_dim=self.config.features.output_dim)
        return model


@pytest.mark.parametrize("wrong", DEFECTS, ids=lambda each: each.wrong)
def test_a_planted_defect_is_found(
    wrong: Defect, plant: Callable[..., Any], check_rule: Callable[..., Check], tmp_path: Path
) -> None:
    write_files(tmp_path, FILES)
    found = check_rule(
        plant("task", wrong.config, wrong.task), "task", wrong.check, Example(SETTINGS, tmp_path)
    )
    assert (found.name, found.outcome) == (wrong.check, "failed")
    assert wrong.says in found.message
    assert "; " in found.message, "what failed, and why it matters"


def test_a_key_within_a_shared_module_is_no_defect(
    plant: Callable[..., Any], check_rule: Callable[..., Check], tmp_path: Path
) -> None:
    write_files(tmp_path, FILES)
    nested = {**SETTINGS, "representation": {"lstm": {"lstm_dim": 6, "shared_module_key": "LSTM"}}}
    plugins = plant("task", StarsConfig, Stars)
    assert check_rule(plugins, "task", "shares_its_modules", Example(nested, tmp_path)).outcome == "passed"
