"""For each check of the kit, a component that is wrong on purpose and is found out: the table `DEFECTS`.

Each defect is a small change of a sound component of its kind, and `test_the_sound_ones_pass` holds
those to all checks.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import attrs
import polars as pl
import pytest
import torch
from attrs import Factory, evolve, frozen
from torch import Tensor, nn

from mtl import (
    Balancer,
    Builder,
    ColumnSpec,
    Component,
    DataError,
    Dataset,
    DatasetConfig,
    DataSource,
    DataSourceConfig,
    DecoderConfig,
    Direction,
    Download,
    Epoch,
    Featurizer,
    FeaturizerConfig,
    InputPath,
    LRSchedulerConfig,
    Output,
    PoolingConfig,
    Ragged,
    RepresentationConfig,
    Schedule,
    ScheduleConfig,
    Table,
    configclass,
    hookimpl,
    option,
    slot,
)
from mtl.config.structure import Structurer
from mtl.testing.checks import Check, CheckError
from mtl.testing.kit import check_component
from mtl.testing.trials import Example

# --- the sound ones ----------------------------------------------------------------------------------


@configclass
class EncoderConfig(RepresentationConfig):
    """A sum of the tokens so far, through a layer."""

    dim: int = option(6, "Width.", minimum=2)

    @property
    def output(self) -> Output:
        return Output.SEQUENCE

    @property
    def direction(self) -> Direction:
        return Direction.CAUSAL

    def output_dim(self, input_dim: int) -> int:
        return self.dim


class Encoder(nn.Module):
    def __init__(self, config: Any, build: Builder, *, input_dim: int) -> None:
        super().__init__()
        self.layer = nn.Linear(input_dim, config.dim)

    def forward(self, embedded: Tensor, lengths: Tensor) -> Tensor:
        return self.mask(self.layer(embedded.cumsum(dim=1)), lengths)

    def mask(self, states: Tensor, lengths: Tensor) -> Tensor:
        inside = torch.arange(states.shape[1]) < lengths[:, None]
        return states.masked_fill(~inside[..., None], 0)


@configclass
class MeanConfig(PoolingConfig):
    """The mean."""


class Mean(nn.Module):
    def __init__(self, config: Any, build: Builder, *, input_dim: int) -> None:
        super().__init__()

    def forward(self, sequence: Tensor, lengths: Tensor) -> Tensor:
        inside = torch.arange(sequence.shape[1]) < lengths[:, None]
        return (sequence * inside[..., None]).sum(dim=1) / lengths.clamp(min=1)[:, None]


@configclass
class LinearDecoderConfig(DecoderConfig):
    """A layer."""


class LinearDecoder(nn.Module):
    def __init__(
        self, config: Any, build: Builder, *, input_dim: int, output_dim: int, output_names: Any = None
    ) -> None:
        super().__init__()
        self.names = output_names
        self.layer = nn.Linear(input_dim, output_dim)

    def row_names(self) -> dict[str, Any]:
        return dict.fromkeys(("layer.weight", "layer.bias"), self.names) if self.names else {}

    def forward(self, inputs: Tensor) -> Tensor:
        scores: Tensor = self.layer(inputs)
        return scores


@configclass
class WordsConfig(FeaturizerConfig):
    """A vector a word."""

    @property
    def output_dim(self) -> int:
        return 5


class Words(Featurizer[Any]):
    words: list[str]

    def fit(self, corpora: Mapping[str, Iterable[pl.Series]]) -> None:
        seen = [series for each in corpora.values() for series in each]
        self.words = sorted({word for series in seen for row in series.to_list() for word in row})

    def ids(self, tokens: pl.Series) -> list[int]:
        places = {word: place for place, word in enumerate(self.words, start=2)}
        return [places.get(word, 1) for row in tokens.to_list() for word in row]

    def encode(self, tokens: pl.Series) -> dict[str, Any]:
        ids = pl.Series(self.ids(tokens), dtype=pl.Int64)
        return {"ids": Ragged.from_lists(tokens, ids, dtype=torch.int64)}

    def build_embedding(self, build: Builder) -> nn.Module:
        return Vectors(len(self.words) + 2)

    def state(self) -> dict[str, Any]:
        return {"words": self.words}

    def load_state(self, state: Mapping[str, Any]) -> None:
        self.words = list(state["words"])


class Vectors(nn.Module):
    def __init__(self, size: int, width: int = 5) -> None:
        super().__init__()
        self.table = nn.Embedding(size, width)

    def forward(self, columns: Mapping[str, Tensor]) -> Tensor:
        vectors: Tensor = self.table(columns["ids"])
        return vectors


@configclass
class LinesConfig(DataSourceConfig):
    """Lines."""


class Lines(DataSource[Any]):
    def read(self, path: Path, columns: Sequence[ColumnSpec]) -> Table:
        try:
            text = path.read_bytes().decode()
        except FileNotFoundError:
            raise DataError(f"{path}: there is no such file") from None
        except UnicodeDecodeError as error:
            raise DataError(f"{path}: {error}") from None
        return self.table(path, columns, text.split("\n")[: -1 if text.endswith("\n") else None])

    def table(self, path: Path, columns: Sequence[ColumnSpec], lines: list[str]) -> Table:
        frame = pl.DataFrame(
            {**{column.name: lines for column in columns}, "line": range(1, len(lines) + 1)},
            schema={**{column.name: pl.String for column in columns}, "line": pl.Int64},
        )
        return Table(frame, str(path))


@configclass
class JokesConfig(DatasetConfig):
    """Jokes."""


class Jokes(Dataset):
    def downloads(self) -> Sequence[Download]:
        return [Download(("https://example.org/jokes.zip",), "0" * 32, {"a": "jokes/train.tsv"})]

    def sample(self, seed: int) -> Mapping[str, str]:
        return {"jokes/train.tsv": f"a joke number {seed}\n"}


@configclass
class DescentConfig:
    """Momentum."""

    lr: float = option(0.05, "Learning rate.", above=0)


class Descent(torch.optim.SGD):
    def __init__(self, config: Any, parameters: Any) -> None:
        super().__init__(parameters, lr=config.lr, momentum=0.5)


@configclass
class HalvedConfig(LRSchedulerConfig):
    """Half the rate each step."""


def halved(config: Any, optimizer: Any, *, total_steps: int, higher_is_better: bool) -> Any:
    return torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)


@configclass
class TurnsConfig(ScheduleConfig):
    """One task after the other."""


class Turns(Schedule[Any]):
    def order(self, epoch: Epoch) -> Iterator[Any]:
        once = [task for task, size in epoch.sizes.items() for _ in range(size)]
        return itertools.cycle(once) if epoch.cycle else iter(once)


@configclass
class RunningConfig:
    """By the running mean of each task's loss."""


class Running(Balancer[Any]):
    def __init__(self, config: Any, *, tasks: Mapping[str, float]) -> None:
        super().__init__(config, tasks=tasks)
        self.means = dict.fromkeys(tasks, torch.tensor(1.0))

    def factor(self, task: str, loss: Tensor) -> Tensor | float:
        self.means[task] = 0.9 * self.means[task] + 0.1 * loss
        return self.tasks[task] / self.means[task]

    def state_dict(self) -> dict[str, Tensor]:
        return dict(self.means)

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self.means = dict(state)


@configclass
class EvaluationsConfig:
    """A line for each evaluation."""

    file: str = option("evaluations.txt", "The file's name.")


class Evaluations:
    def __init__(self, config: Any, *, folder: Path) -> None:
        self.file = folder / config.file

    @hookimpl
    def mtl_run_started(self, resumed_step: int) -> None:
        lines = self.file.read_text().splitlines(keepends=True) if self.file.exists() else ["step\n"]
        kept = [line for line in lines[1:] if int(line.split()[0]) <= resumed_step]
        self.file.write_text("".join([lines[0], *kept]))

    @hookimpl
    def mtl_evaluated(self, step: int, tasks: Mapping[str, Any]) -> None:
        self.write(step, list(tasks))

    def write(self, step: int, values: Sequence[Any]) -> None:
        if not self.file.exists():
            self.file.write_text("step\n")
        with self.file.open("a") as stream:
            stream.write(f"{step} {values}\n")


@frozen
class Sound:
    """A component that is right."""

    config: Any
    factory: Any
    files: Mapping[str, str] = {}
    settings: Mapping[str, Any] = {}


SOUND = {
    "representation": Sound(EncoderConfig, Encoder),
    "pooling": Sound(MeanConfig, Mean),
    "decoder": Sound(LinearDecoderConfig, LinearDecoder),
    "featurizer": Sound(WordsConfig, Words),
    "data_source": Sound(LinesConfig, Lines, {"rows.txt": "a film\n\na joke\n"}, {"train_path": "rows.txt"}),
    "dataset": Sound(JokesConfig, Jokes),
    "optimizer": Sound(DescentConfig, Descent),
    "lr_scheduler": Sound(HalvedConfig, halved),
    "schedule": Sound(TurnsConfig, Turns),
    "balancer": Sound(RunningConfig, Running),
    "logger": Sound(EvaluationsConfig, Evaluations),
}


@pytest.mark.parametrize("kind", SOUND)
def test_the_sound_ones_pass(kind: str, plant: Callable[..., Any]) -> None:
    sound = SOUND[kind]
    plugins = plant(kind, sound.config, sound.factory)
    checks = check_component(kind, "Planted", files=sound.files, config=sound.settings, plugins=plugins)
    assert len(checks) > 10 and {check.outcome for check in checks} == {"passed"}


# --- the defects -------------------------------------------------------------------------------------


@frozen
class Defect:
    """What is wrong, the check that must find it, words of its message, and what replaces the sound one."""

    wrong: str
    kind: str
    check: str
    says: str
    config: Any = None
    factory: Any = None
    summary: str = "Planted"


DEFECTS: list[Defect] = []


def defect(kind: str, check: str, says: str, wrong: str, *, config: Any = None) -> Callable[[Any], Any]:
    """Put a factory that is wrong into the table."""

    def add(factory: Any) -> Any:
        DEFECTS.append(Defect(wrong, kind, check, says, config, factory))
        return factory

    return add


def wrong_config(check: str, says: str, wrong: str, *, kind: str = "representation") -> Callable[[Any], Any]:
    """Put a config class that is wrong into the table."""

    def add(config: Any) -> Any:
        DEFECTS.append(Defect(wrong, kind, check, says, config))
        return config

    return add


DEFECTS.append(Defect("no summary", "pooling", "is_documented", "missing: the spec's `summary`", summary=""))


@wrong_config("is_documented", "the help of `dim`", "a key without help")
@configclass
class NoHelpConfig(EncoderConfig):
    """Fine."""

    dim: int = option(6)


@wrong_config("is_frozen", "can be set", "a config that can be changed")
@attrs.define(kw_only=True)
class MutableConfig(EncoderConfig):
    """Fine."""

    __setattr__ = object.__setattr__
    dim: int = option(6, "Width.")


@wrong_config("defaults_are_valid", "the default of `dim` is refused", "a default beyond its own limit")
@configclass
class BeyondConfig(EncoderConfig):
    """Fine."""

    dim: int = option(6, "Width.", maximum=5)


@wrong_config("has_a_schema", "the schema does not hold it", "a help text that JSON cannot hold")
@configclass
class BytesConfig(EncoderConfig):
    """Fine."""

    sizes: list[int] = option(Factory(list), b"Sizes.")  # type: ignore[arg-type]


@wrong_config("survives_a_round_trip", "differs in dim", "a setting that is changed when it is read")
@configclass
class DoubledConfig(EncoderConfig):
    """Fine."""

    dim: int = option(6, "Width.")

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "dim", 2 * self.dim)


@wrong_config("refuses_misspelled_keys", "`dim_` in place of `dim`", "two keys that are one letter apart")
@configclass
class TwinsConfig(EncoderConfig):
    """Fine."""

    dim: int = option(6, "Width.")
    dim_: int = option(6, "Width too.")


@wrong_config("refuses_wrong_values", "raises IndexError", "settings that raise IndexError, not ValueError")
@configclass
class CrashingConfig(EncoderConfig):
    """Fine."""

    sizes: list[int] = option(Factory(lambda: [3]), "Sizes.", minimum=1)

    def __attrs_post_init__(self) -> None:
        assert self.sizes[0]


@wrong_config("declares_what_its_kind_asks", "does not say its `output_dim`", "no declared width")
@configclass
class WidthlessConfig(RepresentationConfig):
    """Fine."""

    output = Output.DOCUMENT


@defect("representation", "has_the_declared_shape", "not [5, 7, 6]", "wider than declared")
class Wider(Encoder):
    def forward(self, embedded: Tensor, lengths: Tensor) -> Tensor:
        return super().forward(embedded, lengths).repeat(1, 1, 2)


@configclass
class DocumentConfig(EncoderConfig):
    """A document."""

    output = Output.DOCUMENT
    direction = Direction.BIDIRECTIONAL


@defect("representation", "ignores_padding", "padding is filled with", "a mean over the padding too",
        config=DocumentConfig)  # fmt: skip
class MeanOfAll(Encoder):
    def forward(self, embedded: Tensor, lengths: Tensor) -> Tensor:
        mean: Tensor = self.layer(embedded).mean(dim=1)
        return mean


@defect("pooling", "ignores_padding", "padding is filled with", "a maximum over the padding too")
class MaximumOfAll(Mean):
    def forward(self, sequence: Tensor, lengths: Tensor) -> Tensor:
        return sequence.amax(dim=1)


@defect("representation", "rows_are_independent", "alone and in a batch", "a mean over the batch")
class Centred(Encoder):
    def forward(self, embedded: Tensor, lengths: Tensor) -> Tensor:
        states = super().forward(embedded, lengths)
        return self.mask(states - states[:, :1].mean(dim=0), lengths)


@defect("pooling", "takes_empty_rows", "NaN", "a division by the length 0")
class Divided(Mean):
    def forward(self, sequence: Tensor, lengths: Tensor) -> Tensor:
        return super().forward(sequence, lengths) * lengths[:, None] / lengths[:, None]


@defect("representation", "leaves_its_input", "changes its input in training", "writes to its input")
class Writing(Encoder):
    def forward(self, embedded: Tensor, lengths: Tensor) -> Tensor:
        return super().forward(embedded.add_(1), lengths)


@defect("pooling", "reads_its_input", "give the same output", "the same whatever it reads")
class Blind(Mean):
    def forward(self, sequence: Tensor, lengths: Tensor) -> Tensor:
        return 0 * super().forward(sequence, lengths)


@defect("representation", "zeros_the_padding", "are not zero", "numbers after a row's end")
class Unmasked(Encoder):
    def mask(self, states: Tensor, lengths: Tensor) -> Tensor:
        return states


@defect("representation", "keeps_its_direction", "itself causal", "declared causal, but reads ahead")
class Ahead(Encoder):
    def forward(self, embedded: Tensor, lengths: Tensor) -> Tensor:
        return self.mask(self.layer(self.mask(embedded, lengths).flip(1).cumsum(dim=1).flip(1)), lengths)


@configclass
class SplitConfig(EncoderConfig):
    """Split."""

    direction = Direction.SPLIT


DEFECTS.append(
    Defect(
        "declared split, but both halves look back",
        "representation",
        "keeps_its_direction",
        "the second half changes with a token before it",
        SplitConfig,
        Encoder,
    )
)


@configclass
class WrappedConfig(EncoderConfig):
    """An encoder in a slot."""

    inner: Component = slot("representation", "BiLSTM", "What is wrapped.", output=Output.SEQUENCE)


@defect("representation", "builds_its_slots", "inner is not built by `build`", "a slot's module made by hand",
        config=WrappedConfig)  # fmt: skip
class ByHand(Encoder):
    def __init__(self, config: Any, build: Builder, *, input_dim: int) -> None:
        super().__init__(config, build, input_dim=input_dim)
        inner = config.inner
        self.inner = inner.spec.load_factory()(inner.config, build, input_dim=input_dim)


@defect(
    "representation", "every_parameter_learns", "no gradient for unused.weight", "a layer that nobody calls"
)
class Idle(Encoder):
    def __init__(self, config: Any, build: Builder, *, input_dim: int) -> None:
        super().__init__(config, build, input_dim=input_dim)
        self.unused = nn.Linear(2, 2)


@defect("decoder", "every_parameter_learns", "no gradient for layer.weight", "scores that are detached")
class Detached(LinearDecoder):
    def forward(self, inputs: Tensor) -> Tensor:
        return super().forward(inputs).detach()


@defect("representation", "repeats_itself", "in evaluation", "a state that outlives the batch")
class Counting(Encoder):
    seen = 0

    def forward(self, embedded: Tensor, lengths: Tensor) -> Tensor:
        self.seen += 1
        return super().forward(embedded, lengths) * self.seen


@defect("representation", "repeats_itself", "training loss differs", "dropout from Python's random numbers")
class Unseeded(Encoder):
    def forward(self, embedded: Tensor, lengths: Tensor) -> Tensor:
        states = super().forward(embedded, lengths)
        return states * random.random() if self.training else states


@defect("representation", "saves_and_loads", "output differs after", "layers in a list, not a ModuleList")
class Unregistered(Encoder):
    def __init__(self, config: Any, build: Builder, *, input_dim: int) -> None:
        super().__init__(config, build, input_dim=input_dim)
        self.layers = [nn.Linear(config.dim, config.dim)]

    def forward(self, embedded: Tensor, lengths: Tensor) -> Tensor:
        return self.mask(self.layers[0](super().forward(embedded, lengths)), lengths)


@defect("decoder", "loss_falls", "after 40 steps", "a gradient with the wrong sign")
class Upwards(LinearDecoder):
    def forward(self, inputs: Tensor) -> Tensor:
        scores = super().forward(inputs)
        return 2 * scores.detach() - scores


@defect("decoder", "maps_the_last_dimension", "depends on other vectors", "a softmax over the batch")
class OverTheBatch(LinearDecoder):
    def forward(self, inputs: Tensor) -> Tensor:
        return super().forward(inputs).softmax(dim=0)


@defect("decoder", "follows_output_names", "do not follow their names", "outputs whose names are not kept")
class Nameless(LinearDecoder):
    def row_names(self) -> dict[str, Any]:
        return {}


@defect("decoder", "follows_output_names", "unexpected keyword", "names of outputs that are not taken")
def unnamed(config: Any, build: Builder, *, input_dim: int, output_dim: int) -> LinearDecoder:
    return LinearDecoder(config, build, input_dim=input_dim, output_dim=output_dim)


@defect("featurizer", "follows_its_words", "words get other vectors", "words by frequency without names")
class ByFrequency(Words):
    def fit(self, corpora: Mapping[str, Iterable[pl.Series]]) -> None:
        super().fit(corpora)
        seen = [
            word for each in corpora.values() for series in each for row in series.to_list() for word in row
        ]
        self.words.sort(key=lambda word: (-seen.count(word), word))


class Neighbors(Vectors):
    def forward(self, columns: Mapping[str, Tensor]) -> Tensor:
        vectors = super().forward(columns)
        return vectors + torch.cat([vectors[:, 1:], torch.zeros_like(vectors[:, :1])], dim=1)


@defect("featurizer", "keeps_its_direction", "with a word after it", "a vector that shows the next word")
class NextWord(Words):
    def build_embedding(self, build: Builder) -> nn.Module:
        return Neighbors(len(self.words) + 2)


@configclass
class CausalWordsConfig(WordsConfig):
    """Vectors that know the words before."""

    direction = Direction.CAUSAL


DEFECTS.append(
    Defect(
        "declared causal, but shows the next word",
        "featurizer",
        "keeps_its_direction",
        "its `direction` is causal, but a vector changes with a word after it",
        CausalWordsConfig,
        NextWord,
    )
)


@defect("featurizer", "keeps_its_direction", "never changes its vector", "the same vector for every word")
class Constant(Words):
    def ids(self, tokens: pl.Series) -> list[int]:
        return [1 for row in tokens.to_list() for word in row]


@defect("featurizer", "state_survives", "FileNotFoundError", "files that are saved but not read")
class Elsewhere(Words):
    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.path = config.path

    def fit(self, corpora: Mapping[str, Iterable[pl.Series]]) -> None:
        super().fit(corpora)
        self.path.read_bytes()

    def save_files(self, folder: Path) -> None:
        (folder / "copy").write_bytes(self.path.read_bytes())

    def load_state(self, state: Mapping[str, Any]) -> None:
        super().load_state(state)
        self.path.read_bytes()


@configclass
class PathWordsConfig(WordsConfig):
    """Words of a file."""

    path: InputPath = option(Path(__file__), "The file.")


DEFECTS[-1] = evolve(DEFECTS[-1], config=PathWordsConfig)


@wrong_config("resolves_once", "changes a config that is resolved", "a value that is resolved anew each time")
@configclass
class AnewConfig(EncoderConfig):
    """A vector a token, wider each time."""

    times: int = option(0, "How often it was resolved.")

    def resolve(self) -> AnewConfig:
        return evolve(self, times=self.times + 1)


@defect("logger", "repeats_no_row", "has 9 lines after a kill and a resume", "evaluations logged twice")
class Twice(Evaluations):
    @hookimpl
    def mtl_run_started(self, resumed_step: int) -> None:
        pass


@defect("logger", "logs_a_run", "TypeError", "an undefined metric that is taken for a number")
class Rounding(Evaluations):
    @hookimpl
    def mtl_evaluated(self, step: int, tasks: Mapping[str, Any]) -> None:
        for metrics in tasks.values():
            self.write(step, [round(value, 3) for value in metrics.values()])


@defect("logger", "logs_a_run", "has no hook of a run", "an object without hooks")
class Mute:
    def __init__(self, config: Any, *, folder: Path) -> None:
        pass


@defect("featurizer", "encodes_each_row", "KeyError", "a word that training has not seen")
class Strict(Words):
    def ids(self, tokens: pl.Series) -> list[int]:
        places = {word: place for place, word in enumerate(self.words, start=2)}
        return [places[word] for row in tokens.to_list() for word in row]


@defect("featurizer", "embeds_each_token", "not [5, 9, 5]", "a vector of another width than declared")
class Narrow(Words):
    def build_embedding(self, build: Builder) -> nn.Module:
        return Vectors(len(self.words) + 2, width=4)


@defect("featurizer", "rows_are_independent", "alone and in a batch", "positions counted from the padded end")
class FromTheEnd(Words):
    def build_embedding(self, build: Builder) -> nn.Module:
        class Positions(Vectors):
            def forward(self, columns: Mapping[str, Tensor]) -> Tensor:
                time = columns["ids"].shape[1]
                return super().forward(columns) + torch.arange(time, 0, -1)[:, None]

        return Positions(len(self.words) + 2)


@defect("featurizer", "state_survives", "AttributeError", "a state that is not given")
class Forgetful(Words):
    def state(self) -> dict[str, Any]:
        return {}

    def load_state(self, state: Mapping[str, Any]) -> None:
        pass


@defect("featurizer", "state_survives", "have other ids", "a state that comes back in another order")
class Turned(Words):
    def load_state(self, state: Mapping[str, Any]) -> None:
        self.words = list(reversed(state["words"]))


@defect("featurizer", "fits_alike", "changes the first", "a vocabulary that all objects share")
class Common(Words):
    known: ClassVar[set[str]] = set()

    def fit(self, corpora: Mapping[str, Iterable[pl.Series]]) -> None:
        super().fit(corpora)
        self.known.update(self.words)

    def state(self) -> dict[str, Any]:
        return {"words": sorted(self.known)}


@defect("featurizer", "fits_pieces_alike", "fitted to two chunks", "a vocabulary of the last piece's words")
class LastPiece(Words):
    def fit(self, corpora: Mapping[str, Iterable[pl.Series]]) -> None:
        super().fit({task: list(corpus)[-1:] for task, corpus in corpora.items()})


@defect("featurizer", "fits_pieces_alike", "its report on two chunks", "a report on the first piece")
class FirstReport(Words):
    def report(self, corpus: Iterable[pl.Series]) -> dict[str, Any]:
        return {"tokens": len(self.ids(next(iter(corpus))))}


@defect("featurizer", "fits_all_tasks", "knows only the second", "a vocabulary of the last task's words")
class LastTask(Words):
    def fit(self, corpora: Mapping[str, Iterable[pl.Series]]) -> None:
        super().fit(dict(list(corpora.items())[-1:]))


@defect("featurizer", "reports_in_json", "`report` must return numbers", "a report in words")
class Wordy(Words):
    def report(self, corpus: Iterable[pl.Series]) -> dict[str, Any]:
        return {"unknown": "some"}


@defect("data_source", "reads_rows", "`line` must count up", "lines counted from 0")
class FromZero(Lines):
    def table(self, path: Path, columns: Sequence[ColumnSpec], lines: list[str]) -> Table:
        table = super().table(path, columns, lines)
        return Table(table.frame.with_columns(pl.col("line") - 1), table.path)


@defect("data_source", "reads_inputs", "3 rows, but 2 to predict", "a row that is not answered")
class Deaf(Lines):
    def inputs(self, path: Path, columns: Sequence[ColumnSpec]) -> Iterator[Table]:
        for table in super().inputs(path, columns):
            yield Table(table.frame.head(2), table.path)


@defect("data_source", "reads_rows", "must be String, but is Int64", "cells of another type than asked for")
class Numbers(Lines):
    def table(self, path: Path, columns: Sequence[ColumnSpec], lines: list[str]) -> Table:
        table = super().table(path, columns, lines)
        return Table(table.frame.with_columns(text=pl.col("line")), table.path)


@defect("data_source", "reads_pieces_alike", "2 tables do not have", "a piece that comes twice")
class Stuttering(Lines):
    def pieces(self, path: Path, columns: Sequence[ColumnSpec]) -> Iterator[Table]:
        yield self.read(path, columns)
        yield self.read(path, columns)


@defect(
    "data_source", "survives_any_file", "a file with bytes that are no UTF-8", "no thought of other encodings"
)
class Trusting(Lines):
    def read(self, path: Path, columns: Sequence[ColumnSpec]) -> Table:
        return self.table(path, columns, path.read_text(encoding="utf-8").split("\n"))


@defect(
    "data_source", "skips_only_where_asked", "1 are read and 0 said to be skipped", "rows left out in silence"
)
class Silent(Lines):
    def table(self, path: Path, columns: Sequence[ColumnSpec], lines: list[str]) -> Table:
        table = super().table(path, columns, lines)
        return Table(table.frame.head(1), table.path) if self.config.on_bad_row == "skip" else table


@defect("dataset", "samples_alike", "two samples of one seed differ", "a sample without its seed")
class Fickle(Jokes):
    def sample(self, seed: int) -> Mapping[str, str]:
        return {"train.tsv": f"{random.random()}\n"}


@defect("dataset", "says_what_it_downloads", "does not stay below", "a file outside the folder")
class Escaping(Jokes):
    def downloads(self) -> Sequence[Download]:
        return [Download(("https://example.org/jokes.zip",), "0" * 32, {"a": "../train.tsv"})]


@defect("optimizer", "goes_down", "after 12 steps", "steps up the gradient")
class Ascent(torch.optim.SGD):
    def __init__(self, config: Any, parameters: Any) -> None:
        super().__init__(parameters, lr=config.lr, maximize=True)


@defect(
    "optimizer", "leaves_idle_parameters", "a parameter without a gradient moves", "decay of all parameters"
)
class Decaying(Descent):
    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        super().step()
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.mul_(0.99)


@defect("optimizer", "resumes_exactly", "after the state was restored", "a state outside the state dict")
class Tiring(Descent):
    steps = 0

    def step(self, closure: Any = None) -> None:
        self.steps += 1
        self.param_groups[0]["lr"] = 0.05 / self.steps
        super().step()


@defect("lr_scheduler", "gives_sound_rates", "the rates of 12 steps", "a rate that falls below zero")
def falling(config: Any, optimizer: Any, *, total_steps: int, higher_is_better: bool) -> Any:
    return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / 5)


@defect("lr_scheduler", "is_stepped_as_declared", "`by_metric` is False", "a plateau that does not say so")
def plateau(config: Any, optimizer: Any, *, total_steps: int, higher_is_better: bool) -> Any:
    return torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer)


@defect("lr_scheduler", "resumes_its_rates", "after the state was restored", "a counter outside the state")
def counting(config: Any, optimizer: Any, *, total_steps: int, higher_is_better: bool) -> Any:
    calls = itertools.count(1)
    return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 / next(calls))


@defect("schedule", "gives_each_step_once", "'Third': 0", "a task that never has its turn")
class Forgetting(Turns):
    def order(self, epoch: Epoch) -> Iterator[Any]:
        kept = {task: size for task, size in epoch.sizes.items() if task != "Third"}
        return super().order(evolve(epoch, sizes=kept))


@defect("schedule", "never_ends_in_a_cycle", "it ends after 11 steps", "an end where there must be none")
class Ending(Turns):
    def order(self, epoch: Epoch) -> Iterator[Any]:
        return super().order(evolve(epoch, cycle=False))


@defect("schedule", "orders_alike", "two orders of the same seed differ", "an order without its seed")
class Shuffled(Turns):
    def order(self, epoch: Epoch) -> Iterator[Any]:
        once = list(super().order(evolve(epoch, cycle=False)))
        random.shuffle(once)
        return itertools.cycle(once) if epoch.cycle else iter(once)


@defect("schedule", "orders_alike", "`adapts` is False", "an order that hangs on the epoch in silence")
class Drifting(Turns):
    def order(self, epoch: Epoch) -> Iterator[Any]:
        tasks = list(epoch.sizes)
        first = tasks[epoch.index % len(tasks) :] + tasks[: epoch.index % len(tasks)]
        return super().order(evolve(epoch, sizes={task: epoch.sizes[task] for task in first}))


@defect("balancer", "gives_sound_factors", "the factors are", "a weight below zero")
class Negative(Running):
    def factor(self, task: str, loss: Tensor) -> float:
        return self.tasks[task] - 0.75


@defect("balancer", "resumes_its_factors", "after the state was restored", "means that no checkpoint holds")
class Stateless(Running):
    def state_dict(self) -> dict[str, Tensor]:
        return {}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        pass


class Summing(Running):
    """Sound: the plain sum."""

    combines = True


@defect("balancer", "combines_any_gradients", "shape [1, 6], not [6]", "a row in place of a vector")
class OneRow(Summing):
    def combine(self, gradients: Tensor, losses: Mapping[str, Tensor]) -> Tensor:
        return gradients.sum(0, keepdim=True)


@defect("balancer", "combines_any_gradients", "torch.float64", "a gradient in double precision")
class Double(Summing):
    def combine(self, gradients: Tensor, losses: Mapping[str, Tensor]) -> Tensor:
        return gradients.double().sum(0)


@defect("balancer", "combines_any_gradients", "for a gradient of zeros it gives", "a division by a norm of 0")
class Normalized(Summing):
    def combine(self, gradients: Tensor, losses: Mapping[str, Tensor]) -> Tensor:
        return (gradients / gradients.norm(dim=1, keepdim=True)).sum(0)


@defect("balancer", "leaves_gradients", "it changes any gradients", "writes to the gradients")
class WritingBalancer(Summing):
    def combine(self, gradients: Tensor, losses: Mapping[str, Tensor]) -> Tensor:
        return gradients.mul_(0.5).sum(0)


@defect("balancer", "resumes_its_factors", "the combined gradients differ", "the last gradient, not kept")
class Remembering(Summing):
    last: Tensor | float = 0.0

    def combine(self, gradients: Tensor, losses: Mapping[str, Tensor]) -> Tensor:
        self.last = gradients.sum(0) + 0.5 * self.last
        return self.last


def tried(wrong: Defect, plant: Callable[..., Any], check_rule: Callable[..., Check], folder: Path) -> Check:
    sound = SOUND[wrong.kind]
    plugins = plant(wrong.kind, wrong.config or sound.config, wrong.factory or sound.factory, wrong.summary)
    example = None
    if sound.files:
        for name, text in sound.files.items():
            (folder / name).write_text(text)
        example = Example(sound.settings, folder)
    return check_rule(plugins, wrong.kind, wrong.check, example)


@pytest.mark.parametrize("wrong", DEFECTS, ids=lambda each: f"{each.kind}: {each.wrong}")
def test_a_planted_defect_is_found(
    wrong: Defect, plant: Callable[..., Any], check_rule: Callable[..., Check], tmp_path: Path
) -> None:
    found = tried(wrong, plant, check_rule, tmp_path)
    assert (found.name, found.outcome) == (wrong.check, "failed")
    assert wrong.says in found.message
    assert found.message.count("; ") >= 1, "what failed, and why it matters"


def test_an_unreported_missing_key_is_found(
    plant: Callable[..., Any], check_rule: Callable[..., Check], monkeypatch: pytest.MonkeyPatch
) -> None:
    @configclass
    class NeedsConfig(EncoderConfig):
        """Fine."""

        width: int = option(help="Width.")

    plugins = plant("representation", NeedsConfig, Encoder)
    monkeypatch.setattr(Structurer, "_report_missing", lambda *arguments: None)
    found = check_rule(plugins, "representation", "names_missing_keys", Example({"width": 3}, Path()))
    assert found.outcome == "failed" and found.message.startswith("without `width`")


def test_what_needs_settings_says_so(plant: Callable[..., Any]) -> None:
    @configclass
    class NeedyConfig(EncoderConfig):
        """Fine."""

        width: int = option(help="Width.")

    plugins = plant("representation", NeedyConfig, Encoder)
    [check] = check_component("representation", "Planted", plugins=plugins)
    assert check.outcome == "skipped"
    assert "representation.Planted.width: `width` is missing" in check.message
    with pytest.raises(CheckError, match="nothing else can be tried"):
        check_component("representation", "Planted", config={"width": "x"}, plugins=plugins)
    assert check_component("representation", "Planted", config={"width": 3}, plugins=plugins)
