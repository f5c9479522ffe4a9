"""Settings. Free of torch."""

from mtl import (
    ColumnSpec,
    ColumnType,
    Component,
    Direction,
    FeaturesConfig,
    Metric,
    Output,
    RepresentationConfig,
    TaskConfig,
    configclass,
    option,
    slot,
)


@configclass
class AcmeGRUConfig(RepresentationConfig):
    """A GRU from left to right."""

    hidden_dim: int = option(16, "Width of the state.", minimum=1)

    @property
    def output(self) -> Output:
        return Output.SEQUENCE

    @property
    def direction(self) -> Direction:
        return Direction.CAUSAL

    def output_dim(self, input_dim: int) -> int:
        return self.hidden_dim


@configclass
class RatingTaskConfig(TaskConfig):
    """A number for a text."""

    default_features = ("word_feat",)

    data: Component = slot("data_source", "TSV", "Columns `text` and `rating`.")
    features: FeaturesConfig
    representation: Component = slot(
        "representation",
        {"BiLSTMDocAttention": {"lstm": {"AcmeGRU": {}}}},
        "What the rating is read from.",
        output=Output.DOCUMENT,
    )

    @property
    def columns(self) -> tuple[ColumnSpec, ...]:
        return ColumnSpec("text"), ColumnSpec("rating", ColumnType.FLOAT, input=False)

    @property
    def metric(self) -> Metric:
        return Metric("mean_squared_error", higher_is_better=False)
