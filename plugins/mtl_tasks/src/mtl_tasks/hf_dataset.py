"""Datasets of the Hugging Face Hub and folders in its formats, read by the library `datasets`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import polars as pl

from mtl import DataError, PluginError
from mtl_tasks.data_config import HFDatasetConfig
from mtl_tasks.frames import FrameSource, Piece, typed_pieces
from mtl_text.sources import Wanted, listed_names

ROWS = 10_000
"""Rows of a piece."""
FORMATS = ("arrow", "csv", "json", "parquet", "text")
"""The library's readers that are used: others decode pickles, or read what is not text."""
SAVED = ("dataset_dict.json", "state.json")
"""Files of a folder that the library's `save_to_disk` has written."""


class HFDataset(FrameSource[HFDatasetConfig]):
    """A row per row of a split."""

    def _source(self, path: Path) -> str:
        return f"{self.config.dataset}[{path}]"

    def _pieces(self, path: Path, wanted: Wanted) -> Iterator[Piece]:
        source = self._source(path)
        with _errors(source):
            rows = self._split(str(path), source)
            labels = _label_names(rows.features or {})
            frames = _frames(rows, labels)
            first = next(frames, pl.DataFrame())
        schema = first.schema
        yield from typed_pieces(
            chain([first], _guarded(frames, source)), schema, self.config.columns, wanted, source
        )

    def _split(self, name: str, source: str) -> Any:
        """Return a split as the library's iterable dataset. Raises `DataError` if there is none."""
        datasets = _library()
        folder = Path(self.config.dataset)
        if any((folder / name).is_file() for name in SAVED):
            saved = datasets.load_from_disk(str(folder))
            splits = saved if isinstance(saved, dict) else {"train": saved}
            return self._chosen(splits, name, source).to_iterable_dataset()
        place, where = str(self.config.dataset), {"revision": self.config.revision}
        builder = datasets.load_dataset_builder(place, self.config.subset, **where)
        reader = type(builder).__module__
        if reader not in [f"datasets.packaged_modules.{each}.{each}" for each in FORMATS]:
            _, _, format = reader.rpartition(".")
            raise DataError(
                f"{source}: must be a dataset of {', '.join(FORMATS)} files, but is one of {format}"
            )
        splits = datasets.load_dataset(place, self.config.subset, streaming=self.config.streaming, **where)
        rows = self._chosen(splits, name, source)
        return rows if self.config.streaming else rows.to_iterable_dataset()

    @staticmethod
    def _chosen(splits: Any, name: str, source: str) -> Any:
        if name not in splits:
            raise DataError(f"{source}: a split must be one of {listed_names(splits)}")
        return splits[name]


def _library() -> Any:
    try:
        import datasets
    except ImportError as error:
        raise PluginError(
            f"HFDataset needs the library `datasets`, but: {error}; install it with"
            " `pip install 'mtl-tasks[datasets]'`"
        ) from None
    datasets.disable_progress_bars()
    return datasets


def _label_names(features: Any) -> dict[str, list[str]]:
    """Return the names of the labels of columns that hold their numbers."""
    return {
        name: list(feature.names)
        for name, feature in features.items()
        if type(feature).__name__ == "ClassLabel" and feature.names
    }


def _frames(rows: Any, labels: dict[str, list[str]]) -> Iterator[pl.DataFrame]:
    """Yield the rows as frames, with labels by name; -1 is no label."""
    for table in rows.with_format("arrow").iter(batch_size=ROWS):
        frame = pl.from_arrow(table)
        assert isinstance(frame, pl.DataFrame)
        yield frame.with_columns(
            pl.col(name).replace_strict(range(len(names)), names, default=None, return_dtype=pl.String)
            for name, names in labels.items()
            if name in frame.columns
        )


def _guarded(frames: Iterable[pl.DataFrame], source: str) -> Iterator[pl.DataFrame]:
    with _errors(source):
        yield from frames


@contextmanager
def _errors(source: str) -> Iterator[None]:
    """Turn what the library raises, which may be anything, into `DataError`."""
    try:
        yield
    except (DataError, PluginError, GeneratorExit):
        raise
    except Exception as error:
        said = " ".join(str(error).split())[:300]
        cause: BaseException = error
        while cause.__cause__ is not None and not isinstance(cause, ConnectionError):
            cause = cause.__cause__
        is_offline = isinstance(cause, ConnectionError) or "ffline" in type(error).__name__ + said
        hint = (
            "; without network, give a folder, or the dataset must be in the library's cache and `streaming`"
            " false"
            if is_offline
            else ""
        )
        raise DataError(
            f"{source}: cannot be read: {type(error).__name__}: {json.dumps(said)}{hint}"
        ) from error
