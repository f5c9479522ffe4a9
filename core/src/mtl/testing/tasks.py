"""What tasks are held to, by training them for a few steps on a few rows."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
import torch
from attrs import evolve, frozen
from attrs.exceptions import FrozenInstanceError
from torch import Tensor, nn

from mtl.builder import Builder
from mtl.components import (
    ColumnSpec,
    ColumnType,
    FeaturesConfig,
    Loss,
    Metrics,
    ModelOutput,
    ModuleConfig,
    Table,
    Task,
)
from mtl.components.instantiate import instantiate
from mtl.config.dumping import json_form
from mtl.config.load import load_config
from mtl.config.walk import slots_within
from mtl.data.columns import Batch, Rows
from mtl.data.load import encode_rows, make_tasks
from mtl.data.tables import DTYPES
from mtl.errors import ComponentError, DataError, MtlError
from mtl.fields import Component
from mtl.hookspecs import hookimpl
from mtl.model import build_model
from mtl.runs import Result, load, train
from mtl.runs.folder import WEIGHTS, RunFolder
from mtl.runs.preparation import Prepared, prepare, torch_settings
from mtl.testing.checks import Failed, equal_json, rule
from mtl.testing.modules import LEARNING_STEPS, MODULE, ModuleBench
from mtl.testing.modules import train as train_alone
from mtl.training.checkpoint import TENSORS

TASK = "First"
OTHER = "Second"
BATCH_SIZE = 4
"""Whatever the settings say, so that a few rows are several batches."""
ROWS = 16
"""Training rows that rules about single batches take."""
WRONG_VALUES: Mapping[ColumnType, Sequence[Any]] = {
    ColumnType.TEXT: ("", "☃ none that a task knows"),
    ColumnType.INTEGER: (-(2**62),),
    ColumnType.FLOAT: (-1e300,),
    ColumnType.TEXTS: ([], ["☃ none that a task knows"]),
    ColumnType.INTEGERS: ([], [-(2**62)]),
}
"""Cells that a data source may give, and a task may not know."""
ODD_TEXTS = ("", " ", "Überraschung 🎬 …", "word " * 300, "\t", "\x00")


class Killed(BaseException):
    """Stands for SIGKILL."""


class KillAfter:
    """A callback that ends the process, as it were, after a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    @hookimpl
    def mtl_step_ended(self, step: int) -> None:
        """Die where it is time."""
        if step == self.step:
            raise Killed


@frozen(slots=False)
class TaskBench(ModuleBench):
    """A task with the rows that its settings name."""

    def run_config(self, trainer: Mapping[str, Any], **tasks: Mapping[str, Any]) -> dict[str, Any]:
        """The config of a run of this task, under each of these names with these settings."""
        given = tasks or {TASK: self.settings}
        return {
            "base_dir": str(self.folder),
            "tasks": {name: {self.name: {**each, "batch_size": BATCH_SIZE}} for name, each in given.items()},
            "trainer": {"max_steps": 4, **trainer},
            "device": "cpu",
        }

    def prepare(self, **tasks: Mapping[str, Any]) -> Prepared:
        """The run, before its first step."""
        loaded = load_config(self.run_config({}, **tasks), plugins=self.plugins)
        with torch_settings(loaded.config):
            return prepare(loaded, self.plugins)

    def train(self, folder: Path, **options: Any) -> Result:
        """A run of two batches or, with `trainer`, of as many as it says."""
        trainer = options.pop("trainer", {"max_steps": 2})
        return train(self.run_config(trainer), output=folder, plugins=self.plugins, **options)

    @cached_property
    def prepared(self) -> Prepared:
        """The run of the task alone."""
        return self.prepare()

    @property
    def task(self) -> Task[Any]:
        """The task, fitted."""
        return self.prepared.tasks.tasks[TASK]

    @property
    def rows(self) -> Rows:
        """The training rows as numbers."""
        return self.prepared.data[TASK].train

    def table(self) -> Table:
        """The training rows as they are read."""
        task = self.unfitted()
        data = task.config.data
        table: Table = instantiate(data).read(data.config.paths("train")[0], task.config.columns)
        return table

    def unfitted(self) -> Task[Any]:
        """The task before it has seen any row."""
        loaded = load_config(self.run_config({}), plugins=self.plugins)
        return make_tasks(loaded.config).tasks[TASK]

    def make(self, build: Builder) -> nn.Module:
        return self.task.build_model(build)

    def slots(self) -> Iterator[Component]:
        return slots_within(self.task.config)

    def batch(self, numbers: Sequence[int] | None = None) -> Batch:
        """Training rows as one batch, by default the first ones."""
        chosen = range(min(ROWS, len(self.rows))) if numbers is None else numbers
        return self.rows.batch(torch.tensor(list(chosen)).numpy())

    def single_rows(self) -> Iterator[Batch]:
        """The rows of `batch`, each alone."""
        return (self.batch([number]) for number in range(min(ROWS, len(self.rows))))

    def run(self, module: nn.Module) -> Tensor:
        return self.loss(module)

    def loss(self, module: nn.Module) -> Tensor:
        loss = self.forward(module, self.batch()).loss
        return _mean(loss)

    def losses(self, module: nn.Module) -> Iterator[Tensor]:
        for step, start in enumerate(range(0, min(len(self.rows), 4 * ROWS), BATCH_SIZE)):
            torch.manual_seed(step)
            numbers = range(start, min(start + BATCH_SIZE, len(self.rows)))
            yield _mean(self.forward(module, self.batch(numbers)).loss)

    def forward(self, module: nn.Module, batch: Batch) -> ModelOutput:
        """What the model gives for a batch."""
        output = module(batch)
        if not isinstance(output, ModelOutput):
            raise Failed(f"the model must give a ModelOutput, but gives {type(output).__name__}")
        return output

    def scored(self, module: nn.Module, batch: Batch) -> ModelOutput:
        """What the model gives for a batch in evaluation."""
        with torch.inference_mode():
            return self.forward(module.eval(), batch)


def _mean(loss: Loss | None) -> Tensor:
    if loss is None:
        raise Failed("the model gives no loss for training rows")
    mean: Tensor = loss.total / loss.weight
    if mean.dim() or not mean.isfinite():
        raise Failed(f"the loss must be one finite number, but is {mean}")
    return mean


def _answers(bench: TaskBench, module: nn.Module, batch: Batch) -> list[dict[str, Any]]:
    """The predictions for a batch, through JSON."""
    output = bench.scored(module, batch)
    with torch.inference_mode():
        answers = bench.task.predictions(output, batch)
    if len(answers) != len(batch):
        raise Failed(f"`predictions` gives {len(answers)} answers for {len(batch)} rows")
    copied: list[dict[str, Any]] = json.loads(json.dumps(answers))
    return copied


def _figures(
    bench: TaskBench, module: nn.Module, batches: Iterator[Batch] | Sequence[Batch]
) -> dict[str, Any]:
    figures: dict[str, Any] = json.loads(json.dumps(_gathered(bench, module, batches).compute()))
    return figures


def _gathered(
    bench: TaskBench, module: nn.Module, batches: Iterator[Batch] | Sequence[Batch]
) -> Metrics[Any]:
    metrics = bench.task.metrics()
    for batch in batches:
        with torch.inference_mode():
            metrics.update(bench.scored(module, batch), batch)
    return metrics


# --- data ------------------------------------------------------------------------------------------


@rule("the core reads `columns` from the files, and asks only the input columns of a row to predict")
def declares_its_columns(bench: TaskBench) -> None:
    """`columns` of its config are `ColumnSpec`s with different names, an input column among them."""
    columns = bench.config.columns
    if not isinstance(columns, tuple) or not all(isinstance(each, ColumnSpec) for each in columns):
        raise Failed(f"`columns` must be a tuple of ColumnSpecs, but is {columns!r}")
    names = [column.name for column in columns]
    if len(set(names)) < len(names):
        raise Failed(f"`columns` must have different names, but has {', '.join(names)}")
    if not any(column.input for column in columns):
        raise Failed("`columns` must have an input column, but has only targets")


@rule("featurizers read `texts`, and messages about a row name its `line`")
def prepares_rows(bench: TaskBench) -> None:
    """`prepare` gives each of the config's `texts` as lists of strings, and `line`, a line of the file."""
    table = bench.table()
    frame = bench.unfitted().prepare(table)
    for name, wanted in {**dict.fromkeys(bench.config.texts, pl.List(pl.String)), "line": None}.items():
        if name not in frame.columns:
            raise Failed(f"the prepared rows have no column `{name}`")
        if wanted is not None and frame[name].dtype != wanted:
            raise Failed(f"the prepared rows' `{name}` must be {wanted}, but is {frame[name].dtype}")
    if not set(frame["line"]) <= set(table.frame["line"]):
        raise Failed("`line` names lines that the table does not have")


def _inputs(task: Task[Any]) -> list[str]:
    return [column.name for column in task.config.input_columns]


@rule("a batch is cut from the columns by row")
def encodes_a_row_a_row(bench: TaskBench) -> None:
    """`encode` gives columns of as many rows as were prepared, and does without the targets."""
    task, table = bench.task, bench.table()
    inputs = evolve(table, frame=table.frame.select(*_inputs(task), "line"))
    for frame in (task.prepare(table), task.prepare_input(inputs)):
        for name, column in task.encode(frame).items():
            if len(column) != len(frame):
                raise Failed(f"the column `{name}` has {len(column)} rows, but {len(frame)} were prepared")
    answered = task.prepare_input(inputs)
    if len(answered) != len(inputs.frame):
        raise Failed(f"`prepare_input` makes {len(answered)} rows of {len(inputs.frame)}")


@rule("a user finds a wrong row by its line, not by a traceback")
def names_wrong_rows(bench: TaskBench) -> None:
    """A value that it cannot use is a `DataError` that names file and line."""
    table = bench.table()
    row = len(table.frame) // 2
    for column in bench.task.config.columns:
        for wrong in WRONG_VALUES[column.type] if not column.may_be_empty else (None,):
            cells = table.frame[column.name].to_list()
            cells[row] = wrong
            values = pl.Series(column.name, cells, dtype=DTYPES[column.type])
            changed = evolve(table, frame=table.frame.with_columns(values))
            place = f"{table.path}:{table.frame['line'][row]}"
            try:
                encode_rows(bench.task, changed, bench.task.prepare(changed))
            except DataError as error:
                if place not in str(error):
                    raise Failed(
                        f"the error of `{column.name}` {wrong!r} does not name {place}: {error}"
                    ) from None
            except Exception as error:
                raise Failed(
                    f"`{column.name}` {wrong!r} in line {table.frame['line'][row]} raises"
                    f" {type(error).__name__}: {error}"
                ) from error


@rule("the files of a large corpus come in pieces, and must mean what the whole would")
def fits_pieces_alike(bench: TaskBench) -> None:
    """Fitted to the training rows in pieces, it has learnt what it learns from them together."""
    frame = bench.task.prepare(bench.table())
    size = max(len(frame) // 3, 1)
    states = []
    for frames in ([frame], list(frame.iter_slices(size))):
        loaded = make_tasks(bench.prepared.config)
        loaded.load_state(json.loads(json.dumps(bench.prepared.tasks.state())))
        loaded.tasks[TASK].fit(frames)
        states.append(json.loads(json.dumps(loaded.tasks[TASK].state())))
    if not equal_json(*states):
        raise Failed("fitted to pieces it has learnt something else than from all of them together")


@rule("the model folder holds what was learnt from the data as JSON, and a loaded model has nothing else")
def state_survives(bench: TaskBench) -> None:
    """What `fit` learnt comes back through `state` and `load_state`: the same columns, the same shapes."""
    state = json.loads(json.dumps(bench.prepared.tasks.state()))
    loaded = make_tasks(bench.prepared.config)
    loaded.load_state(state)
    task, table = loaded.tasks[TASK], bench.table()
    again = encode_rows(task, table, task.prepare(table)).columns
    for name, column in bench.rows.columns.items():
        if name not in again or not torch.equal(column.values, again[name].values):
            raise Failed(f"after `load_state`, the column `{name}` is another")
    shapes = [
        {name: tensor.shape for name, tensor in build_model(tasks, 0).state_dict().items()}
        for tasks in (bench.prepared.tasks, loaded)
    ]
    if shapes[0] != shapes[1]:
        raise Failed("after `load_state`, the model has other shapes")


# --- model -----------------------------------------------------------------------------------------


@rule("accumulated batches must be one big batch, and an evaluation must not hang on the batch size")
def losses_add_up(bench: TaskBench) -> None:
    """`Loss` is a sum and what it is over: those of single rows add up to that of their batch."""
    module = bench.built()
    whole = bench.scored(module, bench.batch()).loss
    parts = [bench.scored(module, row).loss for row in bench.single_rows()]
    _mean(whole)
    for name in ("total", "weight"):
        together = float(getattr(whole, name))
        apart = sum(float(getattr(part, name)) for part in parts if part is not None)
        if not math.isclose(together, apart, rel_tol=1e-3, abs_tol=1e-3):
            raise Failed(f"the `{name}` of a batch is {together:.4f}, but its rows' add up to {apart:.4f}")


@rule("torch.compile cannot trace how attrs makes a frozen object, so that `trainer.compile` would fail")
def gives_an_open_output(bench: TaskBench) -> None:
    """The model's output is made with `attrs.define`: it is not frozen."""
    output = bench.scored(bench.built(), bench.batch())
    try:
        output.loss = output.loss
    except FrozenInstanceError:
        raise Failed(
            f"{type(output).__name__} is frozen; `@define(eq=False)` in place of `@frozen`"
        ) from None


@rule("`mtl predict` answers in batches of its own, and must mean the same")
def predictions_are_independent(bench: TaskBench) -> None:
    """A row alone is answered as within a batch, padding included; an answer is JSON."""
    module = bench.built()
    together = _answers(bench, module, bench.batch())
    for number, row in enumerate(bench.single_rows()):
        [alone] = _answers(bench, module, row)
        if not equal_json(alone, together[number]):
            line = bench.rows.lines[number]
            raise Failed(f"line {line} is answered {alone} alone, and {together[number]} in a batch")


@rule("figures must not hang on the batch size, and the best model is chosen by them")
def metrics_add_up(bench: TaskBench) -> None:
    """Metrics gathered row by row are those of one batch, start afresh each time, are JSON, and hold the
    figure that the config's `metric` names."""
    module, name = bench.built(), bench.config.metric.name
    whole = _figures(bench, module, [bench.batch()])
    if name not in whole:
        raise Failed(f"`metric` names `{name}`, but the figures are {', '.join(whole)}")
    if not (whole[name] is None or isinstance(whole[name], int | float)):
        raise Failed(f"`{name}` must be a number or null, but is {whole[name]!r}")
    apart = _figures(bench, module, bench.single_rows())
    wrong = [key for key in whole if not equal_json(whole[key], apart.get(key))]
    if wrong:
        raise Failed(f"`{wrong[0]}` is {whole[wrong[0]]} for a batch, but {apart.get(wrong[0])} row by row")
    _figures(bench, module, [])


@rule("an evaluation may be divided between processes")
def metrics_merge(bench: TaskBench) -> None:
    """Metrics of two parts of the rows, merged by `state` and `merge`, are those of all rows."""
    module = bench.built()
    batches = list(bench.single_rows())
    whole = _figures(bench, module, batches)
    merged, other = (_gathered(bench, module, part) for part in (batches[::2], batches[1::2]))
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
    value = _figures(bench, bench.built(), [bench.batch()]).get(metric.name)
    if value is None:
        return
    if metric.minimum is not None and value < metric.minimum:
        raise Failed(f"`{metric.name}` is {value}, below its minimum {metric.minimum}")
    if metric.maximum is not None and value > metric.maximum:
        raise Failed(f"`{metric.name}` is {value}, above its maximum {metric.maximum}")


@rule("the best model would be the worst")
def metric_follows_the_loss(bench: TaskBench) -> None:
    """When training lowers the loss of a few rows, their `metric` does not become worse."""
    module, metric = bench.built(), bench.config.metric
    before = _figures(bench, module, [bench.batch()]).get(metric.name)
    train_alone(bench, module, LEARNING_STEPS)
    after = _figures(bench, module, [bench.batch()]).get(metric.name)
    if before is None or after is None:
        return
    better = after >= before if metric.higher_is_better else after <= before
    if not better:
        word = "higher" if metric.higher_is_better else "lower"
        raise Failed(
            f"`{metric.name}` goes from {before:.4f} to {after:.4f} with training, and {word} is better"
        )


# --- runs ------------------------------------------------------------------------------------------


@rule("what is saved must score what was printed")
def trains_and_loads(bench: TaskBench) -> None:
    """Two batches train, and the model that is loaded from the run scores what the run said."""
    data = json_form(bench.component, bench.folder)[bench.name]["data"]
    [(source, settings)] = data.items()
    tested = {**settings, "eval_path": settings["train_path"], "test_path": settings["train_path"]}
    with TemporaryDirectory() as folder:
        config = bench.run_config({"max_steps": 2}, **{TASK: {**bench.settings, "data": {source: tested}}})
        result = train(config, output=Path(folder, "run"), plugins=bench.plugins).data
        figures = load(Path(folder, "run"), device="cpu", plugins=bench.plugins).test(TASK)[TASK]
    said = result["tasks"][TASK]["test"]
    wrong = [name for name in said if not equal_json(said[name], figures.get(name))]
    if wrong:
        raise Failed(f"`{wrong[0]}` of the loaded model is {figures.get(wrong[0])}, but was {said[wrong[0]]}")


@rule("`mtl predict` answers line by line, and users join the answers to their rows by position")
def answers_every_row(bench: TaskBench) -> None:
    """A loaded model answers each row, without targets, in order."""
    inputs = bench.table().frame.select(_inputs(bench.task)).head(ROWS).to_dicts()
    with TemporaryDirectory() as folder:
        bench.train(Path(folder, "run"))
        run = load(Path(folder, "run"), device="cpu", plugins=bench.plugins)
        answers = list(run.predict(TASK, inputs))
        turned = list(run.predict(TASK, inputs[::-1]))[::-1]
        if len(answers) != len(inputs) or not all(answers):
            raise Failed(f"{len(inputs)} rows have {sum(map(bool, answers))} answers")
        if not equal_json(json.loads(json.dumps(answers)), json.loads(json.dumps(turned))):
            raise Failed("the answers change when the rows come in another order")
        texts = [c.name for c in bench.task.config.input_columns if c.type is ColumnType.TEXT]
        for text in ODD_TEXTS if texts else ():
            row = {**inputs[0], **dict.fromkeys(texts, text)}
            try:
                list(run.predict(TASK, [row]))
            except ComponentError as error:
                cause = error.__cause__
                raise Failed(
                    f"the text {text[:20]!r} raises {type(cause).__name__}, not an error for users: {cause}"
                ) from error
            except MtlError:
                continue


@rule("a run repeats itself bit for bit from its seed")
def trains_alike(bench: TaskBench) -> None:
    """Two runs of one seed end with the same weights."""
    with TemporaryDirectory() as folder:
        runs = [Path(folder, name) for name in ("one", "two")]
        for run in runs:
            bench.train(run, trainer={"max_steps": 4})
        weights = [(RunFolder(run).model / WEIGHTS).read_bytes() for run in runs]
    if weights[0] != weights[1]:
        raise Failed("two runs with one config and seed end with different weights")


@rule("a run that was killed and resumed must be the one that was not")
def resumes_exactly(bench: TaskBench) -> None:
    """A run that is resumed in the middle ends with the weights of the one that was not, bit for bit."""
    trainer = {"max_steps": 5, "checkpoint_every_steps": 2, "evaluate_every_steps": 5}
    with TemporaryDirectory() as folder:
        whole, broken = Path(folder, "whole"), Path(folder, "broken")
        bench.train(whole, trainer=trainer)
        try:
            bench.train(broken, trainer=trainer, callbacks=[KillAfter(3)])
        except Killed:
            bench.train(broken, trainer=trainer, resume=True)
        tensors = [(RunFolder(run).saved_checkpoints()[0] / TENSORS).read_bytes() for run in (whole, broken)]
    if tensors[0] != tensors[1]:
        raise Failed("a run resumed after step 2 differs from one that was not interrupted")


@rule("tasks with a `shared_module_key` in common train one module, or sharing does nothing")
def shares_its_modules(bench: TaskBench) -> None:
    """Beside a second task with the same keys, embedding and slots are one module and both tasks train."""
    settings, keys = _with_shared_keys(bench)
    prepared = bench.prepare(**{TASK: settings, OTHER: settings})
    owned = [{id(each) for each in model.parameters()} for model in prepared.model.tasks.values()]
    # Keys within a shared module are met once, when the first task builds it.
    shared = {built.config.shared_module_key: built for built in prepared.model.built}
    for key in keys:
        if key not in shared:
            raise Failed(f"the {key} is not built by `build`")
        if len(shared[key].users) < 2:
            raise Failed(f"the {key} of a second task is not the first one's")
        if any(id(each) not in ids for each in shared[key].module.parameters() for ids in owned):
            raise Failed(f"the {key} is shared, but a task's model does not use it as it is")
    with TemporaryDirectory() as folder:
        config = bench.run_config({"max_steps": 4}, **{TASK: settings, OTHER: settings})
        result = train(config, output=Path(folder, "run"), plugins=bench.plugins).data
    idle = [name for name, facts in result["tasks"].items() if not facts["steps"]]
    if idle:
        raise Failed(f"{' and '.join(idle)} did not train")


def _with_shared_keys(bench: TaskBench) -> tuple[dict[str, Any], list[str]]:
    """The task's settings in full, with a key for its features and each of its modules; and these keys."""
    settings: dict[str, Any] = json_form(bench.component, bench.folder)[bench.name]
    keys = []
    for name in settings:
        value = getattr(bench.config, name)
        if isinstance(value, FeaturesConfig):
            settings[name]["shared_module_key"] = name
        elif isinstance(value, Component) and isinstance(value.config, ModuleConfig):
            settings[name][value.name]["shared_module_key"] = name
        else:
            continue
        keys.append(name)
    return settings, keys


RULES = (
    declares_its_columns,
    prepares_rows,
    encodes_a_row_a_row,
    names_wrong_rows,
    fits_pieces_alike,
    losses_add_up,
    gives_an_open_output,
    predictions_are_independent,
    metrics_add_up,
    metrics_merge,
    metric_is_in_its_range,
    metric_follows_the_loss,
    *MODULE,
    state_survives,
    trains_and_loads,
    answers_every_row,
    trains_alike,
    resumes_exactly,
    shares_its_modules,
)
