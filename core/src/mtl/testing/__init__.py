"""The kit for authors of plugins: holds a plugin and its components to what mtl relies on.

    from mtl.testing import check_plugin, check_task

    def test_the_plugin() -> None:
        check_plugin("acme-ratings")

    def test_the_task() -> None:
        check_task("RatingTask", files={"rows.tsv": ROWS}, config={"data": {"train_path": "rows.tsv"}})

Each function raises `CheckError` with a line for each check that failed: what failed, and why it
matters. What needs torch is imported when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from mtl.testing.checks import Check, CheckError

if TYPE_CHECKING:
    from mtl.testing.kit import (
        check_balancer,
        check_component,
        check_data_source,
        check_dataset,
        check_decoder,
        check_distribution,
        check_featurizer,
        check_logger,
        check_lr_scheduler,
        check_optimizer,
        check_plugin,
        check_pooling,
        check_representation,
        check_schedule,
        check_task,
    )

__all__ = [
    "Check",
    "CheckError",
    "check_balancer",
    "check_component",
    "check_data_source",
    "check_dataset",
    "check_decoder",
    "check_distribution",
    "check_featurizer",
    "check_logger",
    "check_lr_scheduler",
    "check_optimizer",
    "check_plugin",
    "check_pooling",
    "check_representation",
    "check_schedule",
    "check_task",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'mtl.testing' has no attribute {name!r}")
    return getattr(importlib.import_module("mtl.testing.kit"), name)
