"""Rows to predict, from Python or a file, and their predictions in order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import polars as pl
from attrs import evolve, field, frozen

from mtl.components import ColumnSpec, ColumnType, DataSource, Table, Task
from mtl.components.instantiate import instantiate
from mtl.config.document import is_text
from mtl.data.columns import Rows
from mtl.data.given import as_frame
from mtl.data.load import encode_rows
from mtl.data.tables import table_schema
from mtl.errors import DataError, UsageError, component_errors
from mtl.runs.arguments import shown
from mtl.runs.observer import logger
from mtl.runs.rows import predict_rows

if TYPE_CHECKING:
    from mtl.runs.loading import LoadedRun

CHUNK_ROWS = 1024
"""Rows that are read before they are answered."""

OnBadRow = Literal["error", "skip", "report"]
"""What becomes of a row that cannot be predicted: it ends the prediction, it is left out and counted,
or its answer is an object with `error`."""

AnswerRows = Callable[["LoadedRun", str, Rows], list[dict[str, Any]]]
"""Gives the answers of a task for rows that it has read, one JSON object each."""

ON_BAD_ROW: tuple[OnBadRow, ...] = ("error", "skip", "report")


@frozen
class InputRow:
    """A row to predict: the values of its input columns, and others that its answer carries.

    `problem` says why a row cannot be predicted.
    """

    line: int
    values: Mapping[str, Any]
    others: Mapping[str, Any] = field(factory=dict)
    problem: str | None = None

    def answer(self, prediction: Mapping[str, Any]) -> dict[str, Any]:
        """Return a prediction with the other columns; one with a name of the prediction's is prefixed."""
        others = {f"input_{name}" if name in prediction else name: each for name, each in self.others.items()}
        return {**others, **prediction}


def predict_input(
    run: LoadedRun,
    task: Task[Any],
    rows: Iterable[InputRow],
    where: Callable[[int], str],
    on_bad_row: OnBadRow,
    answer_rows: AnswerRows = predict_rows,
) -> Iterator[dict[str, Any]]:
    """Yield an answer per row, in order; `where` names a row by its line in messages, and `answer_rows` gives
    the answers.

    Raises `DataError` for a row that cannot be predicted, if `on_bad_row` is "error".
    """
    iterator = iter(rows)
    refused, first = 0, ""
    while chunk := [_checked(row, task.config.input_columns) for row in islice(iterator, CHUNK_ROWS)]:
        good = [row for row in chunk if row.problem is None]
        answers = iter(_answers(run, task, good, answer_rows))
        for row in chunk:
            answer = row.problem if row.problem is not None else next(answers)
            if not isinstance(answer, str):
                yield row.answer(answer)
                continue
            if on_bad_row == "error":
                raise DataError(f"{where(row.line)}: {answer}")
            refused, first = refused + 1, first or f"{where(row.line)}: {answer}"
            if on_bad_row == "report":
                yield row.answer({"line": row.line, "error": answer})
    if refused:
        count = "1 row was" if refused == 1 else f"{refused:,} rows were"
        logger.warning("%s not predicted, the first: %s", count, first)


def encode_inputs(run: LoadedRun, task: str, rows: Any) -> Rows:
    """Return rows to predict, given as `LoadedRun.predict` takes them, as the columns that the model reads.

    Raises `UsageError` for rows of any other form, `DataError` for a row that cannot be predicted.
    """
    chosen = run.task(task)
    checked = [_checked(row, chosen.config.input_columns) for row in python_rows(chosen, rows)]
    for row in checked:
        if row.problem is not None:
            raise DataError(f"row {row.line}: {row.problem}")
    return _encoded(chosen, checked)


def _checked(row: InputRow, inputs: Sequence[ColumnSpec]) -> InputRow:
    """Note what is wrong with the values of a row."""
    if row.problem is not None:
        return row
    for column in inputs:
        value = row.values.get(column.name)
        if value is None and column.may_be_empty:
            continue
        if column.name not in row.values:
            return evolve(row, problem=f"`{column.name}` is missing; it must be {column.type.value}")
        if not column.type.holds(value):
            return evolve(row, problem=f"`{column.name}` must be {column.type.value}, but is {shown(value)}")
        texts: list[Any] = value if column.type is ColumnType.TEXTS else [value]  # type: ignore[assignment]
        if any(isinstance(text, str) and not is_text(text) for text in texts):
            return evolve(row, problem=f"`{column.name}` must be Unicode, but has half of a surrogate pair")
    return row


def _answers(
    run: LoadedRun, task: Task[Any], rows: Sequence[InputRow], answer_rows: AnswerRows
) -> list[dict[str, Any] | str]:
    """Return the answers of rows, or what the task says is wrong with one."""
    if not rows:
        return []
    try:
        encoded = _encoded(task, rows)
    except DataError:
        problems = _problems(task, rows)
    else:
        return list(answer_rows(run, task.name, encoded))
    good = [row for row, problem in zip(rows, problems, strict=True) if problem is None]
    answers = iter(answer_rows(run, task.name, _encoded(task, good)) if good else ())
    return [next(answers) if problem is None else problem for problem in problems]


def _problems(task: Task[Any], rows: Sequence[InputRow]) -> list[str | None]:
    """Return what the task says is wrong with each row, None for a good one."""
    if not rows:
        return []
    try:
        _encoded(task, rows)
    except DataError as error:
        if len(rows) == 1:
            return [" ".join(str(error).removeprefix(f"input:{rows[0].line}: ").split())]
        middle = len(rows) // 2
        return [*_problems(task, rows[:middle]), *_problems(task, rows[middle:])]
    return [None] * len(rows)


def _encoded(task: Task[Any], rows: Sequence[InputRow]) -> Rows:
    inputs = task.config.input_columns
    values = {column.name: [row.values.get(column.name) for row in rows] for column in inputs}
    frame = pl.DataFrame(
        {"line": [row.line for row in rows], **values}, schema=table_schema(inputs), strict=False
    )
    table = Table(frame, path="input")
    with component_errors(task, "to predict"):
        return encode_rows(task, table, task.prepare_input(table))


# --- rows of a file --------------------------------------------------------------------------------


def file_rows(task: Task[Any], path: Path) -> Iterator[InputRow]:
    """Yield the rows of a file as the task's data source reads them, with their other columns.

    Raises `DataError` if the file cannot be used.
    """
    source: DataSource[Any] = instantiate(task.config.data)
    columns = task.config.columns
    with component_errors(source, f"to read {path}"):
        tables = iter(source.inputs(path, columns))
        table = next(tables, None)
    while table is not None:
        good = iter(_table_rows(table))
        bad = [InputRow(line, {}, problem=problem) for line, problem in table.bad.items()]
        yield from sorted([*good, *bad], key=lambda row: row.line)
        with component_errors(source, f"to read {path}"):
            table = next(tables, None)


def _table_rows(table: Table) -> Iterator[InputRow]:
    others = table.others.to_dicts() if table.others is not None and table.others.width else None
    for number, values in enumerate(table.frame.iter_rows(named=True)):
        line = values.pop("line")
        yield InputRow(line, values, others[number] if others is not None else {})


# --- rows from Python ------------------------------------------------------------------------------


def python_rows(task: Task[Any], rows: Any) -> Iterator[InputRow]:
    """Yield rows given as texts, mappings, tuples, or a table, numbered from 1.

    Raises `UsageError` for anything else.
    """
    inputs = task.config.input_columns
    if _is_row(rows, inputs):
        rows = [rows]
    elif isinstance(rows, pl.DataFrame):
        rows = rows.iter_rows(named=True)
    elif is_arrow_table(rows):
        rows = as_frame(rows, "rows").iter_rows(named=True)
    elif is_pandas_table(rows):
        rows = rows.to_dict("records")
    elif not isinstance(rows, Iterable) or isinstance(rows, bytes | bytearray):
        raise UsageError(f"{_accepted(task)}, but is {shown(rows)}")
    return (_python_row(task, inputs, line, row) for line, row in enumerate(rows, start=1))


def is_arrow_table(value: object) -> bool:
    """Return whether a value is a table of another library that gives its columns as Arrow does."""
    return (
        hasattr(value, "__arrow_c_stream__")
        and not isinstance(value, pl.DataFrame | pl.Series)
        and not is_pandas_table(value)
    )


def is_pandas_table(value: object) -> bool:
    """Return whether a value is a pandas table; pandas itself is not imported."""
    return type(value).__module__.partition(".")[0] == "pandas" and hasattr(value, "to_dict")


def _is_row(value: Any, inputs: Sequence[ColumnSpec]) -> bool:
    """Return whether a value is one row instead of several."""
    if isinstance(value, str | Mapping):
        return True
    return (
        isinstance(value, tuple)
        and len(inputs) > 1
        and len(value) == len(inputs)
        and all(column.type.holds(each) for column, each in zip(inputs, value, strict=True))
    )


def _python_row(task: Task[Any], inputs: Sequence[ColumnSpec], line: int, row: Any) -> InputRow:
    if isinstance(row, Mapping):
        return InputRow(line, row)
    if isinstance(row, str) and len(inputs) == 1:
        return InputRow(line, {inputs[0].name: row})
    if isinstance(row, tuple) and len(row) == len(inputs):
        return InputRow(line, {column.name: value for column, value in zip(inputs, row, strict=True)})
    raise UsageError(f"row {line}: {_accepted(task)}, but is {shown(row)}")


def _accepted(task: Task[Any]) -> str:
    inputs = task.config.input_columns
    names = ", ".join(f"`{column.name}`" for column in inputs)
    forms = f"a text or a mapping with {names}" if len(inputs) == 1 else f"a mapping or a tuple of {names}"
    return f"rows of {task.name} must be {forms}, a list of them, or a table"
