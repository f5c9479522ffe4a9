"""A plugin of version 3 whose settings were others in versions 1 and 2. Free of torch."""

from collections.abc import Mapping
from typing import Any, ClassVar

from mtl.components import (
    ColumnSpec,
    ComponentSpec,
    DataSourceConfig,
    FeaturizerConfig,
    Metric,
    Migration,
    Output,
    RepresentationConfig,
    TaskConfig,
)
from mtl.fields import Component, configclass, option, slot
from mtl.hookspecs import hookimpl

mtl_api = ">=1,<2"


@configclass
class LinesConfig(DataSourceConfig):
    """Lines."""


@configclass
class WordsConfig(FeaturizerConfig):
    """Words."""

    dim: int = option(10, "Width.", minimum=1)

    @property
    def output_dim(self) -> int:
        return self.dim


@configclass
class EncoderConfig(RepresentationConfig):
    """A vector a token."""

    width: int = option(8, "Width.", minimum=1)
    low: float = option(0.0, "Low end.", minimum=-1)
    high: float = option(1.0, "High end.", maximum=1)
    mode: str = option("quick", "How.")

    @property
    def output(self) -> Output:
        return Output.SEQUENCE


@configclass
class PooledConfig(RepresentationConfig):
    """A vector a row. Its default still names the encoder and its width as version 1 had them."""

    encoder: Component = slot("representation", {"OldEncoder": {"size": 6}}, "Tokens.")

    @property
    def output(self) -> Output:
        return Output.DOCUMENT


@configclass
class SortConfig(TaskConfig):
    """Sorts."""

    default_features: ClassVar[tuple[str, ...]] = ("words",)

    data: Component = slot("data_source", "Lines", "Rows.")
    representation: Component = slot("representation", "Pooled", "A row.")

    @property
    def columns(self) -> tuple[ColumnSpec, ...]:
        return (ColumnSpec("text"),)

    @property
    def metric(self) -> Metric:
        return Metric("accuracy", higher_is_better=True)


def _ends(value: Any) -> Mapping[str, Any]:
    low, high = value
    return {"low": low, "high": high}


def _mode(value: Any) -> Mapping[str, Any]:
    return {"mode": {"fast": "quick"}.get(value, value)}


ENCODER = [
    Migration("size", "dims", since="2.0"),
    Migration("dims", "width", since="3.0", note="`width` counts both directions"),
    Migration("range", _ends, since="2.0"),
    Migration("mode", _mode, since="3.0"),
    Migration("fused", since="3.0", note="it was always on"),
]
POOLED = [
    Migration("encoder_width", "encoder.Encoder.width", since="2.0"),
    Migration("shape", lambda value: {"encoder.Encoder.width": value[0], "freeze": value[1]}, since="2.0"),
]
NOT_A_LIST = "migrations"
OF_TODAY = [Migration("width", "size", since="2.0")]


def _spec(name: str, config: str, **more: Any) -> ComponentSpec:
    return ComponentSpec(
        name=name, config=f"migrating_parts:{config}", factory=f"migrating_parts:{name}", **more
    )


@hookimpl
def mtl_tasks() -> list[ComponentSpec]:
    return [_spec("Sort", "SortConfig", formerly=("SortTask",))]


@hookimpl
def mtl_representations() -> list[ComponentSpec]:
    return [
        _spec("Encoder", "EncoderConfig", formerly=("OldEncoder",), migrations="migrating_parts:ENCODER"),
        _spec("Pooled", "PooledConfig", migrations="migrating_parts:POOLED"),
        _spec("Broken", "EncoderConfig", migrations="migrating_parts:NOT_A_LIST"),
        _spec("Greedy", "EncoderConfig", migrations="migrating_parts:OF_TODAY"),
        _spec("Gone", "EncoderConfig", migrations="migrating_parts:NOWHERE"),
    ]


@hookimpl
def mtl_featurizers() -> list[ComponentSpec]:
    return [_spec("words", "WordsConfig", formerly=("word_ids",))]


@hookimpl
def mtl_data_sources() -> list[ComponentSpec]:
    return [_spec("Lines", "LinesConfig")]
