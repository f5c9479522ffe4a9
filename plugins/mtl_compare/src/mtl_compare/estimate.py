"""How long a comparison will take, said before it starts."""

from __future__ import annotations

from collections.abc import Mapping

from mtl.render import count, duration, errors
from mtl.runs import LoadedConfig, Plugins, plan
from mtl_compare.comparison import Comparison

START_SECONDS = 4.0
"""Seconds that a run takes beside its steps: starting Python, importing torch, reading the cached data,
scoring."""


def say_estimate(
    comparison: Comparison, loaded: Mapping[str, LoadedConfig], plugins: Plugins, jobs: int
) -> None:
    """Print the number of runs and the time they will take, measured on a few steps of each config."""
    pending = comparison.pending()
    if not pending:
        return
    measured: dict[str, float] = {}
    for name, each in loaded.items():
        planned = plan(each, measured=True, plugins=plugins)
        measured[name] = planned["measured"]["seconds"] / max(planned["schedule"]["steps"], 1)
    per_step = [measured.get(run.variant.name, next(iter(measured.values()))) for run in pending]
    seconds = sum(each * run.variant.total_steps for each, run in zip(per_step, pending, strict=True))
    total = (seconds + START_SECONDS * len(pending)) / min(jobs, len(pending))
    errors().print(
        f"{count(len(pending), 'run')}, about {duration(total)} (measured on a few steps)", soft_wrap=True
    )
