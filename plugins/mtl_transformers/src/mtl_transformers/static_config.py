"""Settings of static piece vectors. Free of torch and transformers."""

from __future__ import annotations

from typing import Literal, Self

from attrs import evolve

from mtl import FeaturizerConfig, FolderOrName, Unit, configclass, option
from mtl_transformers.model_files import static_shape, tokenizer_hash


@configclass
class StaticFeatConfig(FeaturizerConfig):
    """Vectors of words or pieces from a table, such as those of model2vec.

    The table is trained unless `freeze` is true. It and the tokenizer are saved with the run, which no longer
    needs the folder or the Hub.
    """

    model: FolderOrName = option(
        help="A folder with a table of vectors and a tokenizer, or the name of one on the Hugging Face Hub."
    )
    revision: str | None = option(None, "Branch, tag or commit of a model on the Hub.")
    align: Literal["first", "mean", "last"] | None = option(
        "mean",
        "Which of a word's pieces give its vector: the first, the mean of all, or the last. With null, every"
        " piece keeps its own vector.",
    )
    hidden_size: int | None = option(None, "Width of the vectors; read from the table.", minimum=1)
    vocabulary: int | None = option(None, "Number of pieces; read from the table.", minimum=1)
    tokenizer_hash: str | None = option(None, "SHA-256 of the model's tokenizer; read from it.")

    def resolve(self) -> Self:
        """Return the config with what the model's files say."""
        if None not in (self.hidden_size, self.vocabulary, self.tokenizer_hash):
            return self
        pieces, width = static_shape(self.model, self.revision)
        for name, stated, real in (
            ("hidden_size", self.hidden_size, width),
            ("vocabulary", self.vocabulary, pieces),
        ):
            if stated not in (None, real):
                raise ValueError(f"`{name}` must be {real}, as {self.model} says, but is {stated}")
        return evolve(  # type: ignore[misc]
            self,
            hidden_size=width,
            vocabulary=pieces,
            tokenizer_hash=tokenizer_hash(self.model, self.revision),
        )

    @property
    def output_dim(self) -> int:
        """Width of the vectors."""
        if self.hidden_size is None:
            raise ValueError("`hidden_size` is not known yet")
        return self.hidden_size

    @property
    def unit(self) -> Unit:
        """Words if pieces are aligned to them."""
        return Unit.PIECE if self.align is None else Unit.WORD
