"""The run that is served, and another one in its place."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from attrs import define, field, frozen

from mtl.runs import LoadedRun, load
from mtl_serve.batching import Batcher
from mtl_serve.limits import Limits


@frozen(eq=False)
class Model:
    """A loaded run, with a batcher per task."""

    folder: Path
    run: LoadedRun
    batchers: Mapping[str, Batcher]
    version: tuple[int, int]


def version_of(folder: Path) -> tuple[int, int]:
    """Return what changes when a run's model is replaced."""
    manifest = (folder / "model/manifest.json").stat()
    return manifest.st_mtime_ns, manifest.st_ino


@define(eq=False)
class Models:
    """The model that new requests get. A request keeps the model that it began with."""

    folder: Path
    task: str | None
    limits: Limits
    device: str = "auto"
    current: Model = field(init=False)
    executor: ThreadPoolExecutor = field(init=False, factory=lambda: ThreadPoolExecutor(1, "mtl-predict"))

    def __attrs_post_init__(self) -> None:
        self.current = self._load()

    def _load(self) -> Model:
        version = version_of(self.folder) if (self.folder / "model/manifest.json").exists() else (0, 0)
        run = load(self.folder, task=self.task, device=self.device)
        names = run.task_names if self.task is None else [self.task]
        batchers = {name: Batcher(run, name, self.limits, self.executor) for name in names}
        for name, batcher in batchers.items():
            # The first prediction costs more than others.
            columns = run.task(name).config.input_columns
            if all(column.type.name == "TEXT" for column in columns):
                batcher.run.predict(name, [{column.name: "a" for column in columns}], on_bad_row="report")
        return Model(self.folder, run, batchers, version)

    def reload(self) -> bool:
        """Load the run again if its model has changed. Return whether it has.

        Raises what `load` raises; the model of before then stays.
        """
        if version_of(self.folder) == self.current.version:
            return False
        self.current = self._load()
        return True
