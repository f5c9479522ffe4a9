"""The model: embedding, representation, decoder and a head that makes tags of scores."""

from __future__ import annotations

from attrs import define
from mtl import Batch, Builder, Features, Loss, ModelOutput
from torch import Tensor, nn
from torch.nn import functional as F

from mtl_tagging.config import WordTaggingTaskConfig
from mtl_tagging.crf import LinearChainCRF


@define(eq=False)
class TaggerOutput(ModelOutput):
    """`tags` are the likeliest, int64 `[batch, time]` with anything after a row's length, and None in
    training, which has no use for them. `lengths` are `[batch]`."""

    tags: Tensor | None
    lengths: Tensor

    @property
    def best_tags(self) -> Tensor:
        """`tags`, where they are known."""
        if self.tags is None:
            raise ValueError("a model in training mode makes no tags")
        return self.tags


class Softmax(nn.Module):
    """Scores each word's tag alone, with the methods of `LinearChainCRF`."""

    def log_likelihood(self, scores: Tensor, tags: Tensor, lengths: Tensor) -> Tensor:
        """Return the log-probability of these tags, `[batch]`; `tags` are padded with -100."""
        return -F.cross_entropy(scores.transpose(1, 2), tags, reduction="none").sum(dim=1)

    def best_tags(self, scores: Tensor, lengths: Tensor) -> Tensor:
        """Return the highest-scoring tag of each word, `[batch, time]`."""
        return scores.argmax(dim=2)


class Tagger(nn.Module):
    """Tags the words of a batch; the loss is the mean over words."""

    def __init__(
        self, config: WordTaggingTaskConfig, features: Features, build: Builder, *, tags: int
    ) -> None:
        super().__init__()
        token_dim = config.features.output_dim
        word_dim = config.representation.config.output_dim(token_dim)
        self.embedding = features.build_embedding(build)
        self.representation = build(config.representation, input_dim=token_dim)
        self.decoder = build(config.decoder, input_dim=word_dim, output_dim=tags)
        self.head = LinearChainCRF(tags) if config.head == "crf" else Softmax()

    def forward(self, batch: Batch) -> TaggerOutput:
        embedded, lengths = self.embedding(batch)
        scores = self.decoder(self.representation(embedded, lengths)).float()
        best = None if self.training else self.head.best_tags(scores, lengths)
        if "tags" not in batch:  # a prediction has no targets
            return TaggerOutput(loss=None, tags=best, lengths=lengths)
        total = -self.head.log_likelihood(scores, batch["tags"], lengths).sum()
        return TaggerOutput(loss=Loss(total, weight=lengths.sum()), tags=best, lengths=lengths)
