"""The components of mtl-tagging. Free of torch."""

from __future__ import annotations

from collections.abc import Sequence

from mtl import ComponentSpec, hookimpl

mtl_api = ">=1.0,<2"


@hookimpl
def mtl_tasks() -> Sequence[ComponentSpec]:
    return [
        ComponentSpec(
            name="WordTaggingTask",
            config="mtl_tagging.config:WordTaggingTaskConfig",
            factory="mtl_tagging.task:WordTaggingTask",
            summary="One tag per word, and so spans of words",
        )
    ]


@hookimpl
def mtl_data_sources() -> Sequence[ComponentSpec]:
    return [
        ComponentSpec(
            name="TaggedLines",
            config="mtl_tagging.config:CoNLLConfig",
            factory="mtl_tagging.data:CoNLL",
            summary="One word per line, a blank line after each sentence",
        )
    ]


@hookimpl
def mtl_datasets() -> Sequence[ComponentSpec]:
    return [
        ComponentSpec(
            name="made-up-names",
            config="mtl_tagging.config:MadeUpNamesConfig",
            factory="mtl_tagging.data:MadeUpNames",
            summary="Sentences with names of people, places and companies, made by a grammar",
        )
    ]
