"""Settings of the tasks. Free of torch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

from attrs import Factory

from mtl import (
    ColumnSpec,
    ColumnType,
    Component,
    Metric,
    Output,
    Problem,
    TaskConfig,
    Unit,
    configclass,
    option,
    slot,
)
from mtl_text.classification.config import ClassificationTaskConfig
from mtl_text.documents.config import PAIR, DocumentTaskConfig, check_combination


@configclass
class PairTaskConfig(DocumentTaskConfig):
    """The parts of a task that reads one text or a pair of texts."""

    pair: bool = option(False, "Read two texts per row, `text1` and `text2`, instead of one, `text`.")
    combination: Component | None = slot(
        "pooling",
        None,
        "Makes one vector of those of two texts, unless the features read them jointly; `Compare` if absent.",
    )

    @property
    def texts(self) -> tuple[str, ...]:
        """The text columns that the featurizers read, in order."""
        return PAIR if self.pair else ("text",)

    @property
    def combination_of_texts(self) -> Component | None:
        """The `combination` given."""
        return self.combination

    @property
    def targets(self) -> tuple[ColumnSpec, ...]:
        """The columns that the task predicts."""
        raise NotImplementedError

    @property
    def columns(self) -> tuple[ColumnSpec, ...]:
        """The texts and the targets."""
        return (*map(ColumnSpec, self.texts), *self.targets)

    def check(self) -> Iterator[Problem]:
        """Find a `combination` that has nothing to combine."""
        return check_combination(self)


@configclass
class PairClassificationTaskConfig(ClassificationTaskConfig):
    """Assigns one of several labels to each pair of texts."""

    combination: Component | None = slot(
        "pooling",
        None,
        "Makes one vector of those of the texts, unless the features read them jointly; `Compare` if absent.",
    )

    @property
    def texts(self) -> tuple[str, ...]:
        """`text1` and `text2`."""
        return PAIR

    @property
    def combination_of_texts(self) -> Component | None:
        """The `combination` given."""
        return self.combination

    def check(self) -> Iterator[Problem]:
        """Find settings that do not fit the labels, and a `combination` that has nothing to combine."""
        yield from ClassificationTaskConfig.check(self)
        yield from check_combination(self)


RegressionMetric = Literal["pearson", "spearman", "rmse", "mae"]
REGRESSION_METRICS = {
    "pearson": Metric("pearson", higher_is_better=True, minimum=-1, maximum=1),
    "spearman": Metric("spearman", higher_is_better=True, minimum=-1, maximum=1),
    "rmse": Metric("rmse", higher_is_better=False, minimum=0),
    "mae": Metric("mae", higher_is_better=False, minimum=0),
}


@configclass
class RegressionTaskConfig(PairTaskConfig):
    """Predicts a number for one text or for a pair of texts."""

    loss: Literal["squared", "absolute"] = option(
        "squared", "The error that training minimizes, of numbers scaled to zero mean and unit deviation."
    )
    range: list[float] | None = option(
        None, "Lowest and highest number; predictions are clipped to it. That of the training rows if absent."
    )
    selection_metric: RegressionMetric = option("pearson", "The metric that selects the best model.")

    @property
    def targets(self) -> tuple[ColumnSpec, ...]:
        """`score`, a number."""
        return (ColumnSpec("score", ColumnType.FLOAT, input=False),)

    @property
    def metric(self) -> Metric:
        """The metric named by `selection_metric`."""
        return REGRESSION_METRICS[self.selection_metric]

    def check(self) -> Iterator[Problem]:
        """Find a range that is not one, and a `combination` that has nothing to combine."""
        yield from check_combination(self)
        if self.range is not None and (len(self.range) != 2 or self.range[0] >= self.range[1]):
            yield Problem("range", f"`range` must be two numbers, the lower one first, but is {self.range}")


MultiLabelMetric = Literal["micro_f1", "macro_f1", "mean_average_precision"]


@configclass
class MultiLabelTaskConfig(PairTaskConfig):
    """Gives each text, or each pair, any number of labels."""

    labels: list[str] = option(
        Factory(list), "The labels, in the order of the scores; those of the training rows, sorted, if empty."
    )
    label_columns: list[str] = option(
        Factory(list),
        "Columns that hold 1 or 0, one for each label, which is called like its column; in place of one"
        " column `labels` that lists a row's labels.",
    )
    fit_thresholds: bool = option(
        True,
        "After each evaluation, choose for each label the probability from which it is given, by the F1 on"
        " the evaluation rows; 0.5 otherwise.",
    )
    selection_metric: MultiLabelMetric = option("micro_f1", "The metric that selects the best model.")

    @property
    def targets(self) -> tuple[ColumnSpec, ...]:
        """`labels`, a list of strings that may be empty, or one integer for each of `label_columns`."""
        if self.label_columns:
            return tuple(ColumnSpec(name, ColumnType.INTEGER, input=False) for name in self.label_columns)
        return (ColumnSpec("labels", ColumnType.TEXTS, input=False, may_be_empty=True),)

    @property
    def metric(self) -> Metric:
        """The metric named by `selection_metric`."""
        return Metric(self.selection_metric, higher_is_better=True, minimum=0, maximum=1)

    def check(self) -> Iterator[Problem]:
        """Find labels that cannot be told apart, and settings that contradict each other."""
        yield from check_combination(self)
        if self.labels and self.label_columns:
            yield Problem("labels", "`labels` must be empty with `label_columns`, which name the labels")
        for name in ("labels", "label_columns"):
            for position, label in enumerate(getattr(self, name)):
                if not label.strip() or label in getattr(self, name)[:position]:
                    message = f"`{name}` must be different names, but has {label!r}"
                    yield Problem(f"{name}[{position}]", message)
        for label in set(self.label_columns) & {*self.texts, "line"}:
            yield Problem("label_columns", f"`label_columns` must not name `{label}`, which is a text")


TaggingMetric = Literal["accuracy", "span_f1"]


@configclass
class TaggingTaskConfig(TaskConfig):
    """Gives each word of a text one tag."""

    default_features: ClassVar[tuple[str, ...]] = ("word_feat",)

    data: Component = slot("data_source", "CoNLL", "Where the rows are.")
    representation: Component = slot(
        "representation", "BiLSTM", "Encoder of the words.", output=Output.SEQUENCE
    )
    decoder: Component = slot("decoder", "MLPDecoder", "Maps the vector of a word to one score per tag.")
    crf: bool = option(
        False, "Score whole sequences of tags by a conditional random field instead of each tag alone."
    )
    scheme: Literal["none", "BIO", "BIOES"] = option(
        "none", "How tags mark spans, as in B-PER I-PER; `none` if they mark words only."
    )
    invalid_tags: Literal["error", "repair"] = option(
        "error",
        "What to do with a tag that continues no span, such as I-PER after O: refuse the row, or make it"
        " the first of a span.",
    )
    selection_metric: Literal["auto", "accuracy", "span_f1"] = option(
        "auto", "The metric that selects the best model; `auto` is `span_f1` if tags mark spans."
    )

    @property
    def texts(self) -> tuple[str, ...]:
        """The words of a row."""
        return ("words",)

    @property
    def accepts(self) -> tuple[Unit, ...]:
        """A tag belongs to a word."""
        return (Unit.WORD,)

    @property
    def columns(self) -> tuple[ColumnSpec, ...]:
        """`words` and `tags`, lists of the same length."""
        return (
            ColumnSpec("words", ColumnType.TEXTS),
            ColumnSpec("tags", ColumnType.TEXTS, input=False),
        )

    @property
    def metric(self) -> Metric:
        """The metric named by `selection_metric`."""
        name = self.selection_metric
        if name == "auto":
            name = "accuracy" if self.scheme == "none" else "span_f1"
        return Metric(name, higher_is_better=True, minimum=0, maximum=1)

    def check(self) -> Iterator[Problem]:
        """Find settings that need tags that mark spans."""
        if self.scheme == "none" and self.selection_metric == "span_f1":
            yield Problem("selection_metric", "`span_f1` needs a `scheme`, but it is none")
        if self.scheme == "none" and self.invalid_tags == "repair":
            yield Problem("invalid_tags", "`invalid_tags` needs a `scheme`, but it is none")


@configclass
class SpanTaskConfig(TaskConfig):
    """Finds the answer to a question as a span of words of a text, or that the text has none."""

    default_features: ClassVar[tuple[str, ...]] = ("word_feat",)

    batch_size: int = option(32, "Rows per batch.", minimum=1)
    data: Component = slot("data_source", "SQuAD", "Where the rows are.")
    representation: Component = slot(
        "representation", "BiLSTM", "Encoder of the words of both texts.", output=Output.SEQUENCE
    )
    reader: Component | None = slot(
        "representation",
        None,
        "Encoder of the words of the context after each has attended to the question, unless the features"
        " read both texts jointly; a BiLSTM of the width of `representation` if absent.",
        output=Output.SEQUENCE,
    )
    decoder: Component = slot(
        "decoder", "MLPDecoder", "Maps the vector of a word to its scores as the first and the last word."
    )
    max_answer_words: int = option(30, "Words of a predicted answer at most.", minimum=1)
    fit_threshold: bool = option(
        True,
        "After each evaluation, choose how much better than no answer an answer must score, by the F1 on the"
        " evaluation rows; 0 otherwise. If all training rows have answers, there is always one.",
    )
    selection_metric: Literal["f1", "exact_match"] = option("f1", "The metric that selects the best model.")

    @property
    def texts(self) -> tuple[str, ...]:
        """The question and the text with the answer."""
        return ("question", "context")

    @property
    def accepts(self) -> tuple[Unit, ...]:
        """An answer begins and ends with a word."""
        return (Unit.WORD,)

    @property
    def columns(self) -> tuple[ColumnSpec, ...]:
        """The texts, the `answers` that are right and the `starts` of each, characters of the context."""
        return (
            *map(ColumnSpec, self.texts),
            ColumnSpec("answers", ColumnType.TEXTS, input=False, may_be_empty=True),
            ColumnSpec("starts", ColumnType.INTEGERS, input=False, may_be_empty=True),
        )

    @property
    def metric(self) -> Metric:
        """The metric named by `selection_metric`."""
        return Metric(self.selection_metric, higher_is_better=True, minimum=0, maximum=1)

    def check(self) -> Iterator[Problem]:
        """Find a `reader` that has nothing to read."""
        if self.reader is not None and self.features.reads_jointly:
            yield Problem(
                "reader", "`reader` needs texts that are read one by one, but the features read both jointly"
            )


SimilarityMetric = Literal["recall_at_1", "recall_at_5", "recall_at_10", "mean_reciprocal_rank", "spearman"]


@configclass
class SimilarityTaskConfig(TaskConfig):
    """Learns vectors of texts from pairs: near each other for a pair, not for other texts of a batch.

    Henderson et al., "Efficient Natural Language Response Suggestion for Smart Reply", 2017; Gao, Yao and
    Chen, "SimCSE: Simple Contrastive Learning of Sentence Embeddings", EMNLP 2021.
    """

    default_features: ClassVar[tuple[str, ...]] = ("word_feat",)

    data: Component = slot("data_source", "TSV", "Where the rows are.")
    representation: Component = slot(
        "representation", "BiLSTMDocAttention", "Tokens to one vector per text.", output=Output.DOCUMENT
    )
    temperature: float = option(
        0.05, "Cosines are divided by this before the softmax over the texts of a batch.", above=0
    )
    positive_from: float | None = option(
        None,
        "The rows have a `score`, and those with at least this one are pairs to bring together; the others"
        " are only compared. If absent, rows have no score and all are such pairs.",
    )
    selection_metric: SimilarityMetric = option(
        "mean_reciprocal_rank", "The metric that selects the best model; `spearman` needs scores."
    )

    @property
    def texts(self) -> tuple[str, ...]:
        """`text1` and `text2`."""
        return PAIR

    @property
    def columns(self) -> tuple[ColumnSpec, ...]:
        """The texts and, if the rows have one, `score`."""
        scores = () if self.positive_from is None else (ColumnSpec("score", ColumnType.FLOAT, input=False),)
        return (*map(ColumnSpec, self.texts), *scores)

    @property
    def metric(self) -> Metric:
        """The metric named by `selection_metric`."""
        minimum = -1 if self.selection_metric == "spearman" else 0
        return Metric(self.selection_metric, higher_is_better=True, minimum=minimum, maximum=1)

    def check(self) -> Iterator[Problem]:
        """Find features that give no vectors of single texts, and a metric without scores."""
        if self.features.reads_jointly:
            yield Problem(
                "features",
                "`features` must read texts one by one, but read both jointly",
                "`pretrained_feat` has `joint` for that",
            )
        if self.selection_metric == "spearman" and self.positive_from is None:
            yield Problem(
                "selection_metric", "`spearman` needs scores; `positive_from` says that there are some"
            )
