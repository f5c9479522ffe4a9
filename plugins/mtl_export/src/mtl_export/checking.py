"""An exported task against the original, on rows of any number and length."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from attrs import define, evolve, frozen
from torch import Tensor

from mtl import Batch, Rows
from mtl.errors import MtlError, UsageError, component_errors
from mtl.runs import LoadedRun, encode_inputs, read_rows
from mtl_export.program import Input, tensors_of, with_tensors

TOLERANCE = 1e-5
LARGEST_BATCH = 33
MOST_LENGTHS = 128
Run = Callable[[Sequence[Tensor]], Sequence[Tensor]]
"""Runs what was exported."""


@frozen(eq=False)
class Sample:
    """Rows to check with: `rows` have targets if they are the evaluation data, which `source` says."""

    rows: Rows
    inputs: Rows
    source: str
    is_evaluation_data: bool


def sample_of(run: LoadedRun, task: str) -> Sample:
    """Return the evaluation rows of a task, or generated ones if the data are gone."""
    generated = encode_inputs(run, task, generated_rows(run, task))
    names = generated.columns.keys()
    paths = run.task(task).config.data.config.paths("eval")
    try:
        if not paths or not all(Path(path).is_file() for path in paths):
            raise UsageError("no data")
        rows = read_rows(run, task, paths)
        if not len(rows):
            raise UsageError("no rows")
    except (UsageError, OSError, TypeError):
        source = f"{len(generated):,} generated rows, as the evaluation data are not there"
        return Sample(generated, generated, source, False)
    inputs = evolve(rows, columns={name: rows.columns[name] for name in names})
    return Sample(rows, inputs, f"{len(rows):,} rows of {rows.path}", True)


def generated_rows(run: LoadedRun, task: str) -> list[dict[str, Any]]:
    """Return rows of one to forty words: known ones, if the featurizers have a vocabulary, and new ones."""
    chance = np.random.default_rng(0)
    chosen = run.task(task)
    words = ["a", "word", "that", "is", "unknown", "Ünïcode"]
    for featurizer in chosen.features.featurizers.values():
        texts = getattr(featurizer, "token_texts", None)
        words += [word for word in (texts() if texts else ()) if word.isalpha()][:2000]

    def value(kind: str) -> Any:
        some = [str(word) for word in chance.choice(words, size=int(chance.integers(1, 41)))]
        return some if kind == "texts" else " ".join(some)

    unusual = [column for column in chosen.config.input_columns if column.type.name not in ("TEXT", "TEXTS")]
    if unusual:
        raise UsageError(
            f"{task}: no rows can be generated for the column `{unusual[0].name}`; keep the evaluation data"
        )
    return [
        {column.name: value(column.type.name.lower()) for column in chosen.config.input_columns}
        for _ in range(200)
    ]


def batches_of(rows: Rows) -> Iterator[Batch]:
    """Yield batches of 1 to 33 rows, and a batch of one row for each length that rows have."""
    chance = np.random.default_rng(0)
    for size in range(1, LARGEST_BATCH + 1):
        yield rows.batch(chance.choice(len(rows), size=size))
    _, first = np.unique(rows.lengths, return_index=True)
    if len(first) > MOST_LENGTHS:
        first = first[np.linspace(0, len(first) - 1, MOST_LENGTHS).astype(int)]
    for row in first:
        yield rows.batch(np.array([row]))


@define
class Difference:
    """How far predictions are from the original ones."""

    rows: int = 0
    largest: float = 0.0
    other_labels: int = 0

    def add(self, original: Sequence[Any], exported: Sequence[Any]) -> None:
        """Compare the predictions of rows."""
        for before, now in zip(original, exported, strict=True):
            self.rows += 1
            largest, equal = _compare(before, now)
            self.largest = max(self.largest, largest)
            self.other_labels += not equal


def _compare(before: Any, now: Any) -> tuple[float, bool]:
    """Return the largest difference of numbers, and whether everything else is equal."""
    if isinstance(before, float) and isinstance(now, float):
        both_nan = math.isnan(before) and math.isnan(now)
        return (0.0 if both_nan or before == now else abs(before - now)), True
    if isinstance(before, Mapping) and isinstance(now, Mapping) and before.keys() == now.keys():
        pairs = [_compare(before[key], now[key]) for key in before]
    elif isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        pairs = [_compare(*each) for each in zip(before, now, strict=True)]
    else:
        return 0.0, bool(before == now)
    return max((each for each, _ in pairs), default=0.0), all(equal for _, equal in pairs)


def compare(
    run: LoadedRun, task: str, rows: Rows, inputs: Sequence[Input], outputs: Sequence[str], exported: Run
) -> Difference:
    """Return how what was exported differs from the original."""
    chosen, model = run.task(task), run.model.tasks[task]
    difference = Difference()
    for batch in batches_of(rows):
        with component_errors(chosen, "to predict"), torch.inference_mode():
            output = model(batch)
            ours = _exported(exported, batch, inputs, outputs)
            difference.add(
                chosen.predictions(output, batch), chosen.predictions(with_tensors(output, ours), batch)
            )
    return difference


def _exported(
    exported: Run, batch: Batch, inputs: Sequence[Input], outputs: Sequence[str]
) -> dict[str, Tensor]:
    try:
        tensors = exported(tensors_of(batch, inputs))
    except Exception as error:
        sizes = f"{len(batch)} rows of up to {max(int(each.max()) for each in batch.lengths.values())} words"
        line = str(error).strip().splitlines()[0][:300] if str(error).strip() else ""
        raise MtlError(
            f"what was exported does not run on {sizes}: {type(error).__name__}: {line}"
        ) from error
    return dict(zip(outputs, tensors, strict=True))


def require_equal(difference: Difference, what: str) -> None:
    """Raise `MtlError` if predictions differ."""
    if difference.other_labels or not difference.largest <= TOLERANCE:
        raise MtlError(
            f"{what} does not predict what the run does: {difference.other_labels:,} of {difference.rows:,}"
            f" labels differ, scores by up to {difference.largest:.1e} (allowed: {TOLERANCE:.0e});"
            " nothing was written"
        )


def metrics_of(
    run: LoadedRun,
    task: str,
    rows: Rows,
    inputs: Sequence[Input],
    outputs: Sequence[str],
    exported: Run | None,
) -> dict[str, Any]:
    """Return the metrics on rows with targets: of what was exported, or of the original."""
    chosen, model = run.task(task), run.model.tasks[task]
    metrics = chosen.metrics()
    order = np.argsort(rows.lengths, kind="stable")
    with component_errors(chosen, "to be evaluated"), torch.inference_mode():
        for start in range(0, len(order), 64):
            batch = rows.batch(order[start : start + 64])
            output = model(batch)
            if exported is not None:
                output = with_tensors(output, _exported(exported, batch, inputs, outputs))
            metrics.update(output, batch)
    computed: dict[str, Any] = metrics.compute()
    return computed
