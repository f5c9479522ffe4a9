"""The components of this distribution."""

from __future__ import annotations

from collections.abc import Sequence

from mtl import ComponentSpec, hookimpl

mtl_api = ">=1,<2"


@hookimpl
def mtl_tasks() -> Sequence[ComponentSpec]:
    return [
        ComponentSpec(
            name="LMTask",
            config="pytext_plugins_lm.config:LMTaskConfig",
            factory="pytext_plugins_lm.task:LMTask",
            summary="Language model over words",
        )
    ]


@hookimpl
def mtl_datasets() -> Sequence[ComponentSpec]:
    return [
        ComponentSpec(
            name="wikitext-2",
            config="pytext_plugins_lm.config:WikiText2Config",
            factory="pytext_plugins_lm.data:WikiText2",
            summary="Good and featured articles of Wikipedia, two million words",
        )
    ]
