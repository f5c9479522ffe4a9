"""What this distribution brings: the reader of PyText's configs. Free of torch."""

from __future__ import annotations

from collections.abc import Sequence

from mtl import ConfigReader, hookimpl

mtl_api = ">=1,<2"


@hookimpl
def mtl_config_readers() -> Sequence[ConfigReader]:
    return [
        ConfigReader(
            name="PyText", detects="mtl_pytext.reader:is_pytext", converts="mtl_pytext.reader:converted"
        )
    ]
