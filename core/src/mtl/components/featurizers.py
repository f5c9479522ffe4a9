"""Featurizers: what they declare, and how words become numbers and vectors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from attrs import frozen

from mtl.components.modules import Direction, ModuleConfig, Tokenizer, Unit
from mtl.fields import configclass

if TYPE_CHECKING:
    import polars as pl
    from torch import nn

    from mtl.builder import Builder
    from mtl.data.columns import Column


@configclass
class FeaturizerConfig(ModuleConfig):
    """Turns words into numbers and embeds them.

    The properties are declarations that are checked with the config. All featurizers of one `features`
    block must have the same `unit`, `reads_jointly` and `tokenizer`.
    """

    @property
    def output_dim(self) -> int:
        """Width of the vectors."""
        raise NotImplementedError

    @property
    def direction(self) -> Direction:
        """Which words of the text a vector depends on."""
        return Direction.ITSELF

    @property
    def unit(self) -> Unit:
        """What one vector stands for."""
        return Unit.WORD

    @property
    def reads_jointly(self) -> bool:
        """Whether the texts of a row become one sequence; otherwise each becomes its own."""
        return False

    @property
    def tokenizer(self) -> Tokenizer | None:
        """How text is split into words; None if any split will do."""
        return None

    @property
    def predicts_tokens(self) -> bool:
        """Whether the featurizer is a `TokenFeaturizer`."""
        return False


ConfigT = TypeVar("ConfigT")


class Featurizer(ABC, Generic[ConfigT]):
    """Turns lists of words into numericalized columns and builds the embedding that reads them.

    Featurizers with the same key are one object: one vocabulary, built from the data of all its users.
    `json_path` is the JSON path of the config, for messages.
    """

    json_path: str = "features"

    def __init__(self, config: ConfigT) -> None:
        self.config = config

    def fit(self, corpora: Mapping[str, Iterable[pl.Series]]) -> None:
        """Build the vocabulary.

        `corpora` maps each task that uses the featurizer to its training texts (`list[str]` of words
        per row), all texts of a row included, in chunks that fit into memory; each may be iterated
        several times. Called once, before `encode`, and not when a model is loaded.
        """

    def start_from(self, state: Mapping[str, Any]) -> None:
        """Take `state()` of the same featurizer in the run that this one starts from; `fit`, called next,
        adds what the training texts have besides. By default `fit` learns everything anew."""

    @abstractmethod
    def encode(self, words: pl.Series) -> dict[str, Column]:
        """Return the numericalized columns of one text (`list[str]` of words per row), by name.

        Each chunk of a large file is encoded alone, into columns of the same names, types and widths.
        """

    def encode_jointly(self, texts: Sequence[pl.Series]) -> dict[str, Column]:
        """Return the columns of the one sequence that each row's texts make together.

        Called instead of `encode` for tasks with several texts if the config says `reads_jointly`.
        """
        raise NotImplementedError(f"{type(self).__name__} reads texts jointly, but has no `encode_jointly`")

    @property
    def length_column(self) -> str | None:
        """Name of the column with one item per vector; None if `encode` returns only one ragged column."""
        return None

    @abstractmethod
    def build_embedding(self, build: Builder) -> nn.Module:
        """Return a module whose `forward(columns)` maps this featurizer's padded columns by name, each
        `[batch, time, ...]`, to `[batch, time, output_dim]`."""

    def state(self) -> dict[str, Any]:
        """Return what `fit` learned, as JSON; it is saved in the model folder."""
        return {}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore `state()`; called instead of `fit()` when a model is loaded."""

    def save_files(self, folder: Path) -> None:
        """Write the files that a run needs besides `state`, such as a tokenizer's, into an empty folder."""

    def load_files(self, folder: Path) -> None:
        """Read the files that `save_files` wrote, instead of those that the config names.

        Called before `load_state` when a model is loaded, and before `fit` or `load_state` when a run is
        resumed. The files stay there as long as the object is used.
        """

    def report(self, corpus: Iterable[pl.Series]) -> dict[str, float]:
        """Return shares that a user should see about the texts of a file (`list[str]` of words per row,
        in chunks as for `fit`), such as `{"unknown": 0.05}`."""
        return {}

    def notices(self) -> list[str]:
        """Return what a user should know after `fit`, such as lines of a file that were ignored."""
        return []


@frozen
class SpecialTokens:
    """The ids of tokens that stand for no word; None for one that a vocabulary does not have."""

    padding: int | None = None
    unknown: int | None = None
    begin: int | None = None
    end: int | None = None
    mask: int | None = None


class TokenFeaturizer(Featurizer[ConfigT]):
    """A featurizer with a vocabulary, whose tokens a language model can predict.

    Its config sets `predicts_tokens`. Each row of its column `token_column` begins with a token that is
    not predicted, and changing the ids of that column alone hides a token from its embedding.
    """

    @property
    def token_column(self) -> str:
        """The name of the column of token ids, one per vector."""
        return "ids"

    @property
    def word_start_column(self) -> str | None:
        """The name of a column that is 1 for the first token of each word and for marks, else 0; None if
        each token is a word."""
        return None

    @property
    @abstractmethod
    def special_tokens(self) -> SpecialTokens:
        """The ids of the special tokens."""

    @abstractmethod
    def token_texts(self) -> Sequence[str]:
        """Return the text of each token, by id. The vocabulary must be known."""

    @property
    def vocabulary_size(self) -> int:
        """The number of tokens. The vocabulary must be known."""
        return len(self.token_texts())

    @property
    def bounds(self) -> tuple[str, str] | None:
        """The words for the begin and the end of a text, each one token, that a language model puts around
        its words; None if `encode` adds such tokens itself."""
        return None

    def output_weight(self, embedding: nn.Module) -> nn.Parameter | None:
        """Return the weight of the tokens' vectors, `[tokens, dim]`, with which an output layer can be
        tied; `embedding` is what `build_embedding` made."""
        return None

    def output_head(self, embedding: nn.Module) -> nn.Module | None:
        """Return the pretrained output layer, `[..., output_dim]` to `[..., tokens]`, if there is one."""
        return None
