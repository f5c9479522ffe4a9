"""Rules for tasks: losses, predictions and metrics of single batches."""

from __future__ import annotations

import json
import math
from typing import Any

import polars as pl
import torch
from attrs import asdict, evolve
from attrs.exceptions import FrozenInstanceError
from torch import nn

from mtl.components import ColumnType, Table
from mtl.data.columns import Batch
from mtl.data.load import encode_rows
from mtl.data.tables import DTYPES
from mtl.errors import MtlError
from mtl.testing.checks import Failed, equal_json, rule
from mtl.testing.modules import LEARNING_STEPS
from mtl.testing.modules import train as train_alone
from mtl.testing.tasks import ROWS, TaskBench, answers, gathered, input_names, mean_loss, measured


@rule("accumulated batches must equal one large batch, and evaluation must not depend on the batch size")
def losses_add_up(bench: TaskBench) -> None:
    """`Loss` is a sum and a weight: those of single rows add up to those of their batch."""
    module = bench.built()
    whole = bench.scored(module, bench.batch()).loss
    parts = [bench.scored(module, row).loss for row in bench.single_rows()]
    mean_loss(whole)
    for name in ("total", "weight"):
        together = float(getattr(whole, name))
        apart = sum(float(getattr(part, name)) for part in parts if part is not None)
        if not math.isclose(together, apart, rel_tol=1e-3, abs_tol=1e-3):
            raise Failed(f"the `{name}` of a batch is {together:.4f}, but its rows' add up to {apart:.4f}")


@rule("torch.compile cannot trace how attrs makes a frozen object")
def gives_an_open_output(bench: TaskBench) -> None:
    """The model's output is made with `attrs.define`, not `attrs.frozen`."""
    output = bench.scored(bench.built(), bench.batch())
    try:
        output.loss = output.loss
    except FrozenInstanceError:
        raise Failed(
            f"{type(output).__name__} is frozen; use `@define(eq=False)` instead of `@frozen`"
        ) from None


@rule("`mtl predict` makes batches of its own")
def predictions_are_independent(bench: TaskBench) -> None:
    """The prediction for a row is the same alone and in a batch with padding, and is JSON."""
    module = bench.built()
    together = answers(bench, module, bench.batch())
    for number, row in enumerate(bench.single_rows()):
        [alone] = answers(bench, module, row)
        if not equal_json(alone, together[number]):
            line = bench.rows.lines[number]
            raise Failed(
                f"the prediction for line {line} is {alone} alone, but {together[number]} in a batch"
            )


@rule("`mtl test --errors` and reports list the rows that are wrong")
def judges_each_row(bench: TaskBench) -> None:
    """`judgments` has one per row, JSON with a probability from 0 to 1, the same alone and in a batch; the
    share that is right is the `accuracy`, if a row has one label. A task may have none."""
    module, batch = bench.built(), bench.batch()
    together = _judged(bench, module, batch)
    if not together:
        return
    if len(together) != len(batch):
        raise Failed(f"`judgments` gives {len(together)} for {len(batch)} rows")
    for number, row in enumerate(bench.single_rows()):
        [alone], line = _judged(bench, module, row), bench.rows.lines[number]
        if not equal_json(alone, together[number]):
            raise Failed(f"the judgment of line {line} is {alone} alone, but {together[number]} in a batch")
        probability = alone["probability"]
        if probability is not None and not 0 <= probability <= 1 + 1e-6:
            raise Failed(f"the probability of line {line} is {probability}, but must be from 0 to 1")
    accuracy = measured(bench, module, [batch]).get("accuracy")
    right = [each["right"] for each in together]
    has_label = all(isinstance(each["gold"], str) for each in together)
    if accuracy is not None and has_label and not math.isclose(accuracy, sum(right) / len(right)):
        raise Failed(f"`accuracy` is {accuracy:.4f}, but {sum(right)} of {len(right)} judgments are right")


def _judged(bench: TaskBench, module: nn.Module, batch: Batch) -> list[dict[str, Any]]:
    """Return the judgments of a batch, through JSON."""
    with torch.inference_mode():
        predictions = bench.task.predictions(bench.scored(module, batch), batch)
        found = bench.task.judgments(predictions, batch)
    copied: list[dict[str, Any]] = json.loads(json.dumps([asdict(each) for each in found]))
    return copied


@rule("metrics must not depend on the batch size, and select the best model")
def metrics_add_up(bench: TaskBench) -> None:
    """Metrics updated row by row equal those of one batch, start anew each time, are JSON, and include the
    config's `metric`."""
    module, name = bench.built(), bench.config.metric.name
    whole = measured(bench, module, [bench.batch()])
    if name not in whole:
        raise Failed(f"`metric` names `{name}`, but the metrics are {', '.join(whole)}")
    if not (whole[name] is None or isinstance(whole[name], int | float)):
        raise Failed(f"`{name}` must be a number or null, but is {whole[name]!r}")
    apart = measured(bench, module, bench.single_rows())
    wrong = [key for key in whole if not equal_json(whole[key], apart.get(key))]
    if wrong:
        raise Failed(f"`{wrong[0]}` is {whole[wrong[0]]} for a batch, but {apart.get(wrong[0])} row by row")
    measured(bench, module, [])


@rule("an evaluation may be divided between processes")
def metrics_merge(bench: TaskBench) -> None:
    """Metrics of two parts of the rows, merged by `state` and `merge`, are those of all rows."""
    module = bench.built()
    batches = list(bench.single_rows())
    whole = measured(bench, module, batches)
    merged, other = (gathered(bench, module, part) for part in (batches[::2], batches[1::2]))
    for each in (other, bench.task.metrics()):
        merged.merge(each.state())
    together = json.loads(json.dumps(merged.compute()))
    wrong = [key for key in whole if not equal_json(whole[key], together.get(key))]
    if wrong:
        raise Failed(f"`{wrong[0]}` is {whole[wrong[0]]} for all rows, but {together.get(wrong[0])} merged")


@rule("selection puts the metrics of several tasks on one scale by their ranges")
def metric_is_in_its_range(bench: TaskBench) -> None:
    """The value of the config's `metric` is within its `minimum` and `maximum`."""
    metric = bench.config.metric
    value = measured(bench, bench.built(), [bench.batch()]).get(metric.name)
    if value is None:
        return
    if metric.minimum is not None and value < metric.minimum:
        raise Failed(f"`{metric.name}` is {value}, below its minimum {metric.minimum}")
    if metric.maximum is not None and value > metric.maximum:
        raise Failed(f"`{metric.name}` is {value}, above its maximum {metric.maximum}")


@rule("the worst model would be selected as the best")
def metric_follows_the_loss(bench: TaskBench) -> None:
    """When training lowers the loss of a few rows, their `metric` does not get worse."""
    module, metric = bench.built(), bench.config.metric
    before = measured(bench, module, [bench.batch()]).get(metric.name)
    train_alone(bench, module, LEARNING_STEPS)
    after = measured(bench, module, [bench.batch()]).get(metric.name)
    if before is None or after is None:
        return
    better = after >= before if metric.higher_is_better else after <= before
    if not better:
        word = "higher" if metric.higher_is_better else "lower"
        raise Failed(
            f"`{metric.name}` goes from {before:.4f} to {after:.4f} with training, and {word} is better"
        )


@rule("a text that is not read, or whose words are all unknown, lowers the accuracy without a message")
def reads_each_input(bench: TaskBench) -> None:
    """Other values of the same length in an input column change a prediction or the loss."""
    module, table = bench.built(), bench.table()
    table = evolve(table, frame=table.frame.head(ROWS))
    for column in bench.task.config.input_columns:
        values = _exchanged(table.frame[column.name].to_list(), column.type)
        if values is None:
            continue
        series = pl.Series(column.name, values, dtype=DTYPES[column.type])
        changed = evolve(table, frame=table.frame.with_columns(series))
        if not _differ(bench, module, table, changed):
            raise Failed(f"other values in the column `{column.name}` change no prediction and no loss")


def _exchanged(values: list[Any], kind: ColumnType) -> list[Any] | None:
    """Replace each word or number by the next of those in the column; None if there is only one."""
    split = [str(value).split() if kind is ColumnType.TEXT else value for value in values]
    rows: list[list[Any]] = [row if isinstance(row, list) else [row] for row in split]
    known = sorted({each for row in rows for each in row if each is not None})
    if len(known) < 2:
        return None
    following: dict[Any, Any] = dict(zip(known, [*known[1:], known[0]], strict=True))
    changed = [[following.get(each) for each in row] for row in rows]
    if kind is ColumnType.TEXT:
        return [" ".join(map(str, row)) for row in changed]
    return changed if kind in (ColumnType.TEXTS, ColumnType.INTEGERS) else [row[0] for row in changed]


def _differ(bench: TaskBench, module: nn.Module, table: Table, changed: Table) -> bool:
    """Return whether the model predicts something else for changed rows, or has another loss."""

    def predicted(each: Table) -> Any:
        inputs = evolve(each, frame=each.frame.select(*input_names(bench.task), "line"))
        rows = encode_rows(bench.task, inputs, bench.task.prepare_input(inputs))
        return answers(bench, module, rows.batch(torch.arange(len(rows)).numpy()))

    def loss(each: Table) -> Any:
        rows = encode_rows(bench.task, each, bench.task.prepare(each))
        batch = rows.batch(torch.arange(len(rows)).numpy())
        return mean_loss(bench.scored(module, batch).loss).item()

    if predicted(table) != predicted(changed):
        return True
    try:
        return bool(loss(table) != loss(changed))
    except MtlError:  # the changed inputs do not fit their targets
        return False


@rule("NaN compares as neither better nor worse, and is not JSON")
def metrics_are_numbers_or_none(bench: TaskBench) -> None:
    """Without rows, and for each row alone, every metric is finite, or None if it is undefined."""
    module = bench.built()
    for batches in ([], *([row] for row in bench.single_rows())):
        found = measured(bench, module, batches)
        floats = {name: value for name, value in found.items() if isinstance(value, float)}
        wrong = [name for name, value in floats.items() if not math.isfinite(value)]
        if wrong:
            rows = "one row" if batches else "no rows"
            raise Failed(f"`{wrong[0]}` is {found[wrong[0]]} for {rows}; return None if it is not defined")


RULES = (
    losses_add_up,
    gives_an_open_output,
    predictions_are_independent,
    judges_each_row,
    reads_each_input,
    metrics_add_up,
    metrics_are_numbers_or_none,
    metrics_merge,
    metric_is_in_its_range,
    metric_follows_the_loss,
)
