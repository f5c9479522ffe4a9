"""`mtl.train`: a run from Python that shows its progress as the command does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mtl.plugins import Plugins
    from mtl.runs import Result
    from mtl.runs.given import GivenData
    from mtl.runs.preparation import Source


def train(
    source: Source,
    *,
    output: Path | str,
    data: GivenData | None = None,
    base_dir: Path | None = None,
    overrides: Sequence[str] = (),
    device: str | None = None,
    seed: int | None = None,
    from_run: Path | str | None = None,
    resume: bool = False,
    allow_changes: bool = False,
    fast: bool = False,
    callbacks: Sequence[object] = (),
    plugins: Plugins | None = None,
    quiet: bool = False,
) -> Result:
    """Train a config into the folder `output`, and show the progress on standard error unless `quiet`.

    The arguments are those of `mtl.runs.train`, which shows nothing.
    """
    from mtl import runs
    from mtl.console import Console
    from mtl.runs.arguments import require

    require("quiet", quiet, bool, "true or false")
    require("callbacks", callbacks, list | tuple, "a list of objects with run-time hooks")
    with Console(quiet=quiet, from_python=True) as console:
        return runs.train(
            source,
            output=output,
            data=data,
            base_dir=base_dir,
            overrides=overrides,
            device=device,
            seed=seed,
            from_run=from_run,
            resume=resume,
            allow_changes=allow_changes,
            fast=fast,
            callbacks=callbacks if quiet else [*callbacks, console],
            plugins=plugins,
        )
