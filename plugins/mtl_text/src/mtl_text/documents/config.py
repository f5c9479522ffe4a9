"""Settings of tasks that encode the texts of a row as one vector. Free of torch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from mtl import Component, Output, Problem, TaskConfig, configclass, slot

PAIR = ("text1", "text2")
"""The columns of two texts."""


@configclass
class DocumentTaskConfig(TaskConfig):
    """Settings of a task that encodes the texts of a row as one vector."""

    default_features: ClassVar[tuple[str, ...]] = ("word_feat",)

    data: Component = slot("data_source", "TSV", "Where the rows are.")
    representation: Component = slot(
        "representation", "BiLSTMDocAttention", "Tokens to one vector per text.", output=Output.DOCUMENT
    )
    decoder: Component = slot("decoder", "MLPDecoder", "A row's vector to its scores.")

    @property
    def combination_of_texts(self) -> Component | None:
        """The pooling of the texts' vectors; if absent, several texts are compared by `Compare`."""
        return None


def check_combination(config: DocumentTaskConfig) -> Iterator[Problem]:
    """Find a `combination` that has nothing to combine."""
    if config.combination_of_texts is None:
        return
    if len(config.texts) == 1:
        yield Problem("combination", "`combination` needs two texts, but the task reads one")
    elif config.features.reads_jointly:
        names = " and ".join(f"`{name}`" for name in config.texts)
        yield Problem(
            "combination", f"`combination` needs two vectors, but the features read {names} jointly"
        )
