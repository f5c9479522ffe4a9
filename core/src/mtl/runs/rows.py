"""Rows of a file, and what a run's model makes of them, one by one."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, get_args

import numpy as np
import polars as pl
import torch
from attrs import frozen

from mtl.components import Split, Table
from mtl.components.instantiate import instantiate
from mtl.data.batching import evaluation_batches
from mtl.data.columns import Rows
from mtl.data.load import load_rows, load_split
from mtl.data.pieces import file_tables
from mtl.data.splits import split_tables
from mtl.errors import UsageError, component_errors
from mtl.suggest import argument
from mtl.training.evaluation import PRECISIONS, autocast

if TYPE_CHECKING:
    from mtl.runs.loading import LoadedRun


@frozen
class RowScore:
    """What a model makes of one row, or of a group of rows.

    `metrics` are the task's metrics over the group. The mean loss is `loss_total / loss_weight`; both are
    None if the rows have no loss or it is not finite.
    """

    metrics: Mapping[str, Any]
    loss_total: float | None
    loss_weight: float | None

    @property
    def loss(self) -> float | None:
        """The mean loss, or None if it is undefined."""
        return (
            self.loss_total / self.loss_weight if self.loss_total is not None and self.loss_weight else None
        )


Paths = Path | str | Sequence[Any]
"""A file, or what a data source's `paths` gives: the files of a split, whose rows follow each other."""


def _as_paths(paths: Paths) -> list[Any]:
    return [Path(paths)] if isinstance(paths, str | Path) else list(paths)


def read_rows(run: LoadedRun, task: str, paths: Paths) -> Rows:
    """Return the rows of one or several files as a task of a run reads them.

    Raises `DataError` if a file cannot be used, `UsageError` if the run has no such task.
    """
    return load_rows(run.task(task), _as_paths(paths))


def read_split(run: LoadedRun, task: str, split: Split) -> Rows:
    """Return the rows of a split as a task of a run reads them: those of its files, or those that the run
    held out of its training files.

    Raises `DataError` if a file cannot be used, `UsageError` if the run has no such task, its config no such
    rows, or the training files would be divided in another way than in the run.
    """
    chosen = run.task(task)
    config = chosen.config.data.config
    if not config.has(split):
        raise UsageError(f"{task} has no {split} data")
    rows = load_split(chosen, split, run.config.seed)
    known = run.recorded_rows.get(f"{task}.{split}")
    if config.is_divided and known is not None and known != rows.digest():
        raise UsageError(
            f"{rows.path}: the rows have changed since the run, so that others would be held out as its"
            f" {split} data; name a file with {argument('data', 'FILE')}"
        )
    return rows


def score_rows(
    run: LoadedRun, task: str, rows: Rows, groups: Iterable[Sequence[int] | np.ndarray]
) -> Iterator[RowScore]:
    """Yield the metrics and the loss of each group of rows, each in a batch of its own.

    `groups` are row numbers (from 0), as in `([row] for row in range(len(rows)))`. Raises `ComponentError`
    if the task's model or metrics fail.
    """
    scored, model = run.task(task), run.model.tasks[task]
    precision = PRECISIONS[run.config.trainer.precision]
    for group in groups:
        with (
            component_errors(scored, f"to score rows of {rows.path}"),
            torch.inference_mode(),
            autocast(run.device, precision),
        ):
            batch = rows.batch(np.asarray(group)).to(run.device)
            output, metrics = model(batch), scored.metrics()
            metrics.update(output, batch)
            loss = output.loss
            yield RowScore(metrics.compute(), _finite(loss and loss.total), _finite(loss and loss.weight))


def _finite(value: Any) -> float | None:
    """Return a number as JSON has it, None for any other."""
    number = math.nan if value is None else float(value)
    return number if math.isfinite(number) else None


def predict_rows(
    run: LoadedRun, task: str, rows: Rows, chosen: Sequence[int] | None = None
) -> list[dict[str, Any]]:
    """Return the predictions of a task for rows that it has read, one per row in their order.

    `chosen` are the numbers of the rows to predict, in the order of the answer; all if absent.
    """
    predicting, model = run.task(task), run.model.tasks[task]
    numbers = np.arange(len(rows)) if chosen is None else np.asarray(chosen)
    size = predicting.config.eval_batch_size or predicting.config.batch_size
    predictions: list[dict[str, Any]] = [{}] * len(numbers)
    with component_errors(predicting, "to predict"), torch.inference_mode():
        for places in evaluation_batches(rows.lengths[numbers], size):
            batch = rows.batch(numbers[places]).to(run.device)
            answers = predicting.predictions(model(batch), batch)
            for place, answer in zip(places, answers, strict=True):
                predictions[place] = answer
    return predictions


def row_texts(
    run: LoadedRun, task: str, data: Paths | Split, rows: Mapping[int, int]
) -> dict[int, dict[str, str]]:
    """Return what rows of a split, or of files, hold, by row number and column.

    `rows` maps row numbers (from 0) to their lines, as `Rows.lines` has them. A row that is a whole line of
    the file keeps the file's text; for one that is part of a line, or made of several, the words are
    joined by spaces.
    """
    chosen = run.task(task)
    columns = chosen.config.columns
    if data in get_args(Split):
        pieces = split_tables(chosen.config, cast(Split, data), run.config.seed)
    else:
        pieces = file_tables(instantiate(chosen.config.data), _as_paths(data), columns)
    texts: dict[int, dict[str, str]] = {}
    first_row = 0
    for table in (piece.table for piece in pieces):
        frame = chosen.prepare(table)
        here = {row: line for row, line in rows.items() if first_row <= row < first_row + len(frame)}
        whole = _whole_lines(table, frame)
        raw = {
            each["line"]: {column.name: str(each[column.name]) for column in columns}
            for each in table.frame.filter(pl.col("line").is_in(list(here.values()))).iter_rows(named=True)
            if each["line"] in whole
        }
        for row, line in here.items():
            words = {name: " ".join(frame[name][row - first_row]) for name in chosen.config.texts}
            texts[row] = raw.get(line, words)
        first_row += len(frame)
    return texts


def _whole_lines(table: Table, frame: pl.DataFrame) -> set[int]:
    """Return the lines that are one row each: neither split into several nor joined with the next."""
    rows = set(frame.filter(pl.col("line").is_unique())["line"].to_list())
    lines = table.frame["line"].to_list()
    return {
        line
        for line, following in zip(lines, [*lines[1:], None], strict=True)
        if line in rows and (following is None or following in rows)
    }
