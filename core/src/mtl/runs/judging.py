"""Which rows a model gets wrong, how well its probabilities are calibrated, and where it is weak."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, get_args

import numpy as np
import torch
from attrs import frozen

from mtl.components import Judgment, Split
from mtl.data.batching import evaluation_batches
from mtl.data.columns import Rows
from mtl.errors import UsageError, component_errors
from mtl.runs.arguments import as_path
from mtl.runs.rows import read_rows, read_split, row_texts

if TYPE_CHECKING:
    from mtl.runs.loading import LoadedRun

BINS = 15
"""Bins of equal width of the expected calibration error, as in Guo et al., "On Calibration of Modern Neural
Networks", ICML 2017."""
LENGTH_SLICES = 4
LABEL_SLICES = 30
"""Labels with a slice of their own, the most frequent ones."""
Progress = Callable[[int, int], None]
"""Called with the batches judged so far, from 0, and their number."""


@frozen
class Slice:
    """Rows of a kind: how many, and the share that is right (of quantities, the mean distance)."""

    by: str
    name: str
    rows: int
    value: float


@frozen(eq=False)
class Judged:
    """The judgments of a task's rows, `numbers` of all in `rows`; `data` is a split or the rows' file."""

    task: str
    data: Split | Path
    rows: Rows
    numbers: np.ndarray
    judgments: Sequence[Judgment]

    @property
    def is_quantity(self) -> bool:
        """Whether predictions are near or far instead of right or wrong."""
        return any(each.right is None for each in self.judgments)

    def wrong(self) -> list[int]:
        """Return the places of the judgments that are wrong, those of the highest probability first; of
        quantities all, the farthest first."""
        if self.is_quantity:
            order = [-(each.distance or 0.0) for each in self.judgments]
            return [int(row) for row in np.argsort(order, kind="stable")]
        numbers = [row for row, each in enumerate(self.judgments) if not each.right]
        return sorted(numbers, key=lambda row: -(self.judgments[row].probability or 0.0))

    def calibration_error(self) -> float | None:
        """Return the expected calibration error: the mean distance between the probability of a prediction
        and how often such predictions are right. None without probabilities."""
        pairs = [
            (each.probability, float(each.right))
            for each in self.judgments
            if each.probability is not None and each.right is not None
        ]
        if not pairs:
            return None
        probability, right = np.array(pairs).T
        bins = np.minimum((probability * BINS).astype(int), BINS - 1)
        gaps = [abs(float((probability[bins == each] - right[bins == each]).sum())) for each in range(BINS)]
        return sum(gaps) / len(pairs)

    def slices(self) -> list[Slice]:
        """Return the rows by length, in parts of about equal size, and by label."""
        values = np.array(
            [
                (each.distance or 0.0) if self.is_quantity else float(bool(each.right))
                for each in self.judgments
            ]
        )
        return [*self._by_length(values), *self._by_label(values)]

    def _by_length(self, values: np.ndarray) -> Iterator[Slice]:
        lengths = self.rows.lengths[self.numbers]
        edges = np.unique(np.quantile(lengths, np.linspace(0, 1, LENGTH_SLICES + 1)[1:], method="higher"))
        low = int(lengths.min())
        for high in map(int, edges):
            of = values[(lengths >= low) & (lengths <= high)]
            if len(of):
                yield Slice(
                    "length", f"{low} to {high}" if low < high else str(low), len(of), float(of.mean())
                )
            low = high + 1

    def _by_label(self, values: np.ndarray) -> Iterator[Slice]:
        gold = [each.gold if isinstance(each.gold, str) else None for each in self.judgments]
        names, counts = np.unique([label for label in gold if label is not None], return_counts=True)
        for name in names[np.argsort(-counts, kind="stable")][:LABEL_SLICES]:
            of = values[[label == name for label in gold]]
            yield Slice("label", str(name), len(of), float(of.mean()))

    def error_rows(self, run: LoadedRun, most: int | None = None) -> list[dict[str, Any]]:
        """Return the wrong rows with their texts: task, line, the texts, gold, prediction, probability."""
        chosen = [(int(self.numbers[place]), self.judgments[place]) for place in self.wrong()[:most]]
        lines = {row: int(self.rows.lines[row]) for row, _ in chosen}
        texts = row_texts(run, self.task, self.data, lines)
        inputs = run.task(self.task).config.texts
        return [
            {
                "task": self.task,
                "line": lines[row],
                **{name: texts.get(row, {}).get(name, "") for name in inputs},
                "gold": _plain(each.gold),
                "prediction": _plain(each.predicted),
                "probability": each.probability,
                **({"distance": each.distance} if self.is_quantity else {}),
            }
            for row, each in chosen
        ]

    def to_json(self) -> dict[str, Any]:
        """Return the summary: rows, wrong ones, calibration error, slices."""
        value = "mean_distance" if self.is_quantity else "right"
        return {
            "rows": len(self.judgments),
            "wrong": None if self.is_quantity else len(self.wrong()),
            "calibration_error": self.calibration_error(),
            "slices": [
                {"by": each.by, "name": each.name, "rows": each.rows, value: each.value}
                for each in self.slices()
            ],
        }


def judge(
    run: LoadedRun,
    task: str,
    data: Split | Path | str = "test",
    *,
    most: int | None = None,
    progress: Progress = lambda done, batches: None,
) -> Judged | None:
    """Judge the predictions of a task for a split, or for the rows of a file; None if the task does not say
    what is right. With `most`, so many rows evenly spread.

    Raises `UsageError` if there is no such split, `DataError` if the data cannot be read.
    """
    chosen, model = run.task(task), run.model.tasks[task]
    given: Split | Path
    if data in get_args(Split):
        given = cast(Split, data)
        rows = read_split(run, task, given)
    else:
        given = as_path("data", data)
        rows = read_rows(run, task, given)
    numbers = np.arange(len(rows))
    if most is not None and len(rows) > most:
        numbers = np.linspace(0, len(rows) - 1, most).astype(int)
    judgments: list[Judgment | None] = [None] * len(numbers)
    size = chosen.config.eval_batch_size or chosen.config.batch_size
    batches = evaluation_batches(rows.lengths[numbers], size) if len(numbers) else []
    with component_errors(chosen, f"to judge rows of {rows.path}"), torch.inference_mode():
        progress(0, len(batches))
        for done, places in enumerate(batches, 1):
            batch = rows.batch(numbers[places]).to(run.device)
            found = chosen.judgments(chosen.predictions(model(batch), batch), batch)
            if not found:
                return None
            for place, each in zip(places, found, strict=True):
                judgments[place] = each
            progress(done, len(batches))
    return Judged(task, given, rows, numbers, [each for each in judgments if each is not None])


def _plain(value: Any) -> Any:
    """Return a gold value or a prediction for a cell."""
    return value if isinstance(value, str | int | float) else json.dumps(value, ensure_ascii=False)


def error_columns(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the columns of the rows of several tasks: the texts between `line` and `gold`."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    first, last = ["task", "line"], ["gold", "prediction", "probability", "distance"]
    texts = [name for name in names if name not in (*first, *last)]
    return [*first, *texts, *(name for name in last if name in (*last[:3], *names))]


def require_judged(judged: Mapping[str, Judged | None]) -> None:
    """Raise `UsageError` if no task says which rows are right."""
    if not any(judged.values()):
        raise UsageError(
            f"no row is right or wrong for {', '.join(judged)}: only tasks that judge rows have errors"
        )
