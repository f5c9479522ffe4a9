"""A plugin with a component of every sort that configs must cope with. Free of torch."""

from collections.abc import Iterator
from typing import ClassVar, Literal

from attrs import Factory

from mtl.components import (
    ColumnSpec,
    ComponentSpec,
    DataSourceConfig,
    Direction,
    FeaturesConfig,
    FeaturizerConfig,
    Metric,
    Output,
    RepresentationConfig,
    TaskConfig,
)
from mtl.errors import Problem
from mtl.fields import Component, InputPath, configclass, option, slot
from mtl.hookspecs import hookimpl

mtl_api = ">=1,<2"


@configclass
class LinesConfig(DataSourceConfig):
    """Lines."""

    columns: dict[str, str | int] = option(Factory(dict), "Places of columns.")


@configclass
class WordsConfig(FeaturizerConfig):
    """Words."""

    dim: int = option(10, "Width.", minimum=1)
    vocabulary: InputPath | None = option(None, "Words, one a line.")

    @property
    def output_dim(self) -> int:
        return self.dim


@configclass
class LettersConfig(FeaturizerConfig):
    """Letters."""

    dim: int = option(4, "Width.", minimum=1)

    @property
    def output_dim(self) -> int:
        return self.dim


@configclass
class RecurrentConfig(RepresentationConfig):
    """A vector a token."""

    width: int = option(8, "Width.", minimum=1)
    dropout: float = option(0.5, "Share dropped.", minimum=0, below=1)
    sizes: list[int] = option(Factory(list), "Sizes.", minimum=1)

    @property
    def output(self) -> Output:
        return Output.SEQUENCE

    @property
    def direction(self) -> Direction:
        return Direction.CAUSAL


@configclass
class GatedConfig(RecurrentConfig):
    """Another vector a token; it must be told its gates."""

    gates: int = option(help="Gates.", minimum=1)


@configclass
class PooledConfig(RepresentationConfig):
    """A vector a row, over an encoder."""

    encoder: Component = slot(
        "representation", {"Recurrent": {"width": 6}}, "Tokens.", output=Output.SEQUENCE
    )
    side: Component | None = slot("representation", None, "A second encoder.", output=(Output.SEQUENCE,))
    dense: list[int] = option(Factory(list), "Widths.", minimum=1)

    def __attrs_post_init__(self) -> None:
        if len(self.dense) > 3:
            raise ValueError(f"`dense` must have at most 3 widths, but has {len(self.dense)}")

    @property
    def output(self) -> Output:
        return Output.DOCUMENT


@configclass
class SortTaskConfig(TaskConfig):
    """Sorts rows."""

    default_features: ClassVar[tuple[str, ...]] = ("words",)

    data: Component = slot("data_source", "Lines", "Rows.")
    representation: Component = slot("representation", "Pooled", "A row.", output=Output.DOCUMENT)
    labels: list[str] = option(Factory(list), "Labels.")
    mode: Literal["plain", "fancy"] = option("plain", "How.")

    @property
    def columns(self) -> tuple[ColumnSpec, ...]:
        return (ColumnSpec("text"),)

    @property
    def metric(self) -> Metric:
        return Metric("accuracy", higher_is_better=True)

    def check(self) -> Iterator[Problem]:
        for index, label in enumerate(self.labels):
            if not label:
                yield Problem(f"labels[{index}]", "a label must not be empty", "give it a name")
        if self.representation.config.dense == [1313]:
            yield Problem("representation.dense[0]", "`dense` must not be 1313", "take 12")


@configclass
class GuessTaskConfig(TaskConfig):
    """Guesses tokens."""

    default_features: ClassVar[tuple[str, ...]] = ("words",)

    data: Component = slot("data_source", "Lines", "Rows.")
    features: FeaturesConfig
    representation: Component = slot("representation", "Recurrent", "A token.", output=Output.SEQUENCE)

    @property
    def columns(self) -> tuple[ColumnSpec, ...]:
        return (ColumnSpec("text"),)

    @property
    def metric(self) -> Metric:
        return Metric("perplexity", higher_is_better=False)


@configclass
class NotesConfig:
    """Notes."""

    level: Literal["low", "high"] = option("low", "How much.")
    ratio: float | None = option(None, "How often.", above=0, maximum=1)


def _spec(name: str) -> ComponentSpec:
    return ComponentSpec(
        name=name, config=f"acme_parts:{name}Config", factory=f"acme_parts:{name}", summary=name
    )


@hookimpl
def mtl_tasks() -> list[ComponentSpec]:
    return [_spec("SortTask"), _spec("GuessTask")]


@hookimpl
def mtl_representations() -> list[ComponentSpec]:
    return [_spec("Recurrent"), _spec("Gated"), _spec("Pooled")]


@hookimpl
def mtl_featurizers() -> list[ComponentSpec]:
    return [
        ComponentSpec(name="words", config="acme_parts:WordsConfig", factory="acme_parts:Words"),
        ComponentSpec(name="letters", config="acme_parts:LettersConfig", factory="acme_parts:Letters"),
    ]


@hookimpl
def mtl_data_sources() -> list[ComponentSpec]:
    return [_spec("Lines")]


@hookimpl
def mtl_loggers() -> list[ComponentSpec]:
    return [_spec("Notes")]
