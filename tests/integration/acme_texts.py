"""What a third party might bring: a task over two texts, and featurizers of pieces, pairs and contexts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import polars as pl
import torch
from attrs import define
from torch import Tensor, nn

from mtl import (
    Batch,
    Builder,
    Column,
    ColumnSpec,
    Component,
    ComponentSpec,
    Dense,
    Direction,
    Featurizer,
    FeaturizerConfig,
    Loss,
    Metric,
    Metrics,
    ModelOutput,
    Output,
    Ragged,
    RepresentationConfig,
    SpecialTokens,
    Table,
    Task,
    TaskConfig,
    TokenFeaturizer,
    Unit,
    configclass,
    hookimpl,
    option,
    slot,
)

mtl_api = ">=1,<2"


# --- a task over two texts -------------------------------------------------------------------------


@configclass
class PairTaskConfig(TaskConfig):
    """Says whether two texts belong together."""

    default_features: ClassVar[tuple[str, ...]] = ("word_feat",)

    data: Component = slot("data_source", "TSV", "Rows of `first`, `second` and `label`.")
    representation: Component = slot(
        "representation", "BiLSTMDocAttention", "Each sequence to a vector.", output=Output.DOCUMENT
    )

    @property
    def columns(self) -> tuple[ColumnSpec, ...]:
        """Two texts and a label."""
        return ColumnSpec("first"), ColumnSpec("second"), ColumnSpec("label", input=False)

    @property
    def texts(self) -> tuple[str, ...]:
        """Both texts."""
        return "first", "second"

    @property
    def metric(self) -> Metric:
        """Accuracy."""
        return Metric("accuracy", higher_is_better=True)


@define(eq=False)
class PairOutput(ModelOutput):
    """`scores` are `[batch]`."""

    scores: Tensor


class PairModel(nn.Module):
    """Joins the vectors of all sequences and reads one score."""

    def __init__(self, task: PairTask, build: Builder) -> None:
        super().__init__()
        config = task.config
        self.sequences = task.features.sequences(config.texts)
        self.embedding = task.features.build_embedding(build)
        width = config.features.output_dim
        self.representation = build(config.representation, input_dim=width)
        self.output = nn.Linear(len(self.sequences) * config.representation.config.output_dim(width), 1)

    def forward(self, batch: Batch) -> PairOutput:
        documents = [self.representation(*self.embedding(batch, sequence)) for sequence in self.sequences]
        scores = self.output(torch.cat(documents, dim=-1)).squeeze(-1)
        if "label" not in batch:
            return PairOutput(None, scores)
        total = nn.functional.binary_cross_entropy_with_logits(scores, batch["label"], reduction="sum")
        return PairOutput(Loss(total, len(batch)), scores)


class Accuracy(Metrics[PairOutput]):
    """The share of rows that are answered right."""

    def __init__(self) -> None:
        self.right = self.rows = 0

    def update(self, output: PairOutput, batch: Batch) -> None:
        self.right += int(((output.scores > 0) == (batch["label"] > 0.5)).sum())
        self.rows += len(batch)

    def compute(self) -> dict[str, Any]:
        return {"accuracy": self.right / self.rows if self.rows else None}


class PairTask(Task[PairTaskConfig]):
    """Says whether two texts belong together."""

    def prepare(self, table: Table) -> pl.DataFrame:
        return table.frame.with_columns(
            self.features.split(table.frame[name]).alias(name) for name in self.config.texts
        )

    def encode(self, frame: pl.DataFrame) -> dict[str, Column]:
        if "label" not in frame.columns:
            return {}
        return {"label": Dense(torch.tensor(frame["label"].cast(pl.Float32).to_list()))}

    def build_model(self, build: Builder) -> nn.Module:
        return PairModel(self, build)

    def metrics(self) -> Accuracy:
        return Accuracy()

    def predictions(self, output: PairOutput, batch: Batch) -> list[dict[str, Any]]:
        return [{"label": str(int(score > 0))} for score in output.scores.tolist()]


# --- featurizers -----------------------------------------------------------------------------------


@configclass
class PieceFeatConfig(FeaturizerConfig):
    """A vector for each character of a word; the first and last of a text are marks."""

    embed_dim: int = option(8, "Width of the vectors.", minimum=1)
    joint: bool = option(False, "Read the texts of a row as one sequence.")

    @property
    def output_dim(self) -> int:
        """Width of the vectors."""
        return self.embed_dim

    @property
    def unit(self) -> Unit:
        """Characters are pieces."""
        return Unit.PIECE

    @property
    def reads_jointly(self) -> bool:
        """As the option says."""
        return self.joint

    @property
    def predicts_tokens(self) -> bool:
        """A language model can predict the characters."""
        return True


class PieceFeat(TokenFeaturizer[PieceFeatConfig]):
    """Characters, between marks of the featurizer's own."""

    marks = ("[PAD]", "[UNK]", "[BEGIN]", "[END]", "[MASK]")
    characters: Sequence[str] = ()

    def fit(self, corpora: Mapping[str, Iterable[pl.Series]]) -> None:
        texts = (words.explode().drop_nulls() for corpus in corpora.values() for words in corpus)
        self.characters = sorted({character for words in texts for word in words for character in word})

    def rows(self, words: pl.Series) -> list[list[str]]:
        return [[character for word in row for character in word] for row in words.to_list()]

    def encode(self, words: pl.Series) -> dict[str, Column]:
        return self._column([["[BEGIN]", *row, "[END]"] for row in self.rows(words)])

    def encode_jointly(self, texts: Sequence[pl.Series]) -> dict[str, Column]:
        parts = [self.rows(words) for words in texts]
        rows = [
            ["[BEGIN]", *(c for part in row for c in [*part, "[END]"])] for row in zip(*parts, strict=True)
        ]
        return self._column(rows)

    def _column(self, rows: list[list[str]]) -> dict[str, Column]:
        place = {text: number for number, text in enumerate(self.token_texts())}
        flat = pl.Series([place.get(text, 1) for row in rows for text in row], dtype=pl.Int64)
        lists = pl.Series(rows, dtype=pl.List(pl.String))
        return {"ids": Ragged.from_lists(lists, flat, dtype=torch.int64, unit=Unit.PIECE)}

    @property
    def special_tokens(self) -> SpecialTokens:
        return SpecialTokens(padding=0, unknown=1, begin=2, end=3, mask=4)

    def token_texts(self) -> Sequence[str]:
        return [*self.marks, *self.characters]

    def build_embedding(self, build: Builder) -> nn.Module:
        return IdEmbedding(self.vocabulary_size, self.config.embed_dim)

    def output_weight(self, embedding: nn.Module) -> nn.Parameter:
        return embedding.get_parameter("vectors.weight")

    def state(self) -> dict[str, Any]:
        return {"characters": list(self.characters)}

    def load_state(self, state: Mapping[str, Any]) -> None:
        self.characters = state["characters"]


class IdEmbedding(nn.Module):
    """Ids to vectors."""

    def __init__(self, size: int, dim: int) -> None:
        super().__init__()
        self.vectors = nn.Embedding(size, dim)

    def forward(self, columns: Mapping[str, Tensor]) -> Tensor:
        vectors: Tensor = self.vectors(columns["ids"])
        return vectors


@configclass
class ContextFeatConfig(FeaturizerConfig):
    """A vector for each word that depends on its neighbors."""

    direction_: str = option("bidirectional", "What a vector depends on.")

    @property
    def output_dim(self) -> int:
        """Width of the vectors."""
        return 1

    @property
    def direction(self) -> Direction:
        """As the option says."""
        return Direction(self.direction_)


class ContextFeat(Featurizer[ContextFeatConfig]):
    """The lengths of a word and, if bidirectional, of all words of its row."""

    def encode(self, words: pl.Series) -> dict[str, Column]:
        flat = words.explode().drop_nulls().str.len_chars()
        return {"lengths": Ragged.from_lists(words, flat, dtype=torch.float32)}

    def build_embedding(self, build: Builder) -> nn.Module:
        return ContextEmbedding(self.config.direction)


class ContextEmbedding(nn.Module):
    """Adds up lengths."""

    def __init__(self, direction: Direction) -> None:
        super().__init__()
        self.direction = direction
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, columns: Mapping[str, Tensor]) -> Tensor:
        lengths = columns["lengths"]
        seen = (
            lengths.cumsum(1)
            if self.direction is Direction.CAUSAL
            else lengths.sum(1, keepdim=True) + lengths
        )
        return (self.scale * seen)[..., None]


# --- a representation of words only ----------------------------------------------------------------


@configclass
class WordMeanConfig(RepresentationConfig):
    """The mean of the vectors of words."""

    @property
    def output(self) -> Output:
        """One vector per row."""
        return Output.DOCUMENT

    @property
    def accepts(self) -> tuple[Unit, ...]:
        """Words only."""
        return (Unit.WORD,)

    def output_dim(self, input_dim: int) -> int:
        """Width of the input."""
        return input_dim


class WordMean(nn.Module):
    """The mean of the vectors."""

    def __init__(self, config: WordMeanConfig, build: Builder, *, input_dim: int) -> None:
        super().__init__()

    def forward(self, embedded: Tensor, lengths: Tensor) -> Tensor:
        inside = torch.arange(embedded.shape[1], device=lengths.device) < lengths[:, None]
        return (embedded * inside[..., None]).sum(1) / lengths.clamp(min=1)[:, None]


def _specs(**named: str) -> Iterator[ComponentSpec]:
    for name, cls in named.items():
        yield ComponentSpec(
            name=name, config=f"{__name__}:{cls}Config", factory=f"{__name__}:{cls}", summary=cls
        )


@hookimpl
def mtl_tasks() -> list[ComponentSpec]:
    return list(_specs(PairTask="PairTask"))


@hookimpl
def mtl_featurizers() -> list[ComponentSpec]:
    return list(_specs(piece_feat="PieceFeat", context_feat="ContextFeat"))


@hookimpl
def mtl_representations() -> list[ComponentSpec]:
    return list(_specs(WordMean="WordMean"))
