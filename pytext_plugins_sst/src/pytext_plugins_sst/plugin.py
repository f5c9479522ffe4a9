"""The components of this distribution."""

from __future__ import annotations

from collections.abc import Sequence

from mtl import ComponentSpec, hookimpl

mtl_api = ">=1,<2"


@hookimpl
def mtl_tasks() -> Sequence[ComponentSpec]:
    return [
        ComponentSpec(
            name="DocClassificationTask",
            config="pytext_plugins_sst.config:DocClassificationTaskConfig",
            factory="pytext_plugins_sst.task:DocClassificationTask",
            summary="Assigns one of several labels to each document",
        )
    ]


@hookimpl
def mtl_datasets() -> Sequence[ComponentSpec]:
    return [
        ComponentSpec(
            name="sst2",
            config="pytext_plugins_sst.config:SST2Config",
            factory="pytext_plugins_sst.data:SST2",
            summary="Stanford Sentiment Treebank, two classes (GLUE)",
        )
    ]
