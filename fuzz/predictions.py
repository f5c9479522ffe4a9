"""Targets for rows to predict and for arguments of the Python functions: one run of two steps, loaded once.

An answer is JSON, and each row has one, or an `error`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl
from targets import FOLDER, OBJECTS, ROWS, Config, Target, classifier, plugins

import mtl

QUOTED = b'text\tlabel\tid\n"a warm film"\t1\t7\ndull\t0\t8\n'
TABLES: list[Config] = [{}, {"header": "no", "columns": {"text": 0, "label": 1}}, {"quotes": "text"}]
SEEDS = [ROWS, OBJECTS, QUOTED, b"a warm film\ndull\n", b"sentence\na film\n", ROWS.decode().encode("utf-16")]
POLICIES = ("report", "skip", "error", "other")
FORMATS = ("auto", "text", "jsonl", "other")


def config() -> Config:
    """Classifiers over tables and JSON lines, and a language model."""
    rows, objects, lines = FOLDER / "table.tsv", FOLDER / "objects.jsonl", FOLDER / "lines.txt"
    rows.write_bytes(b"a warm film\t1\na dull film\t0\n")
    objects.write_bytes(OBJECTS)
    lines.write_bytes(b"a warm film\nall is dull\n")
    task = classifier()["tasks"]["A"]["DocClassificationTask"]
    made = {f"T{n}": _of(task, {"TSV": {"train_path": rows.name, **how}}) for n, how in enumerate(TABLES)}
    made["J"] = _of(task, {"JSONL": {"train_path": objects.name}})
    made["C"] = _of(task, {"TSV": {"train_path": rows.name}}, max_tokens=3)
    features = {"word_feat": {"embed_dim": 2}}
    made["L"] = {"LMTask": {"data": {"train_path": lines.name}, "features": features}}
    return classifier() | {"tasks": made, "trainer": {"max_steps": 6}}


def _of(task: Config, data: Config, **more: Any) -> Config:
    return {"DocClassificationTask": {**task, "data": data, **more}}


@cache
def loaded() -> mtl.LoadedRun:
    """The run of `config`."""
    folder = FOLDER / "predictions"
    mtl.train(config(), output=folder, plugins=plugins())
    return mtl.load(folder, device="cpu", plugins=plugins())


def _choices(data: bytes) -> tuple[str, str, str]:
    run = loaded()
    task, policy, format = data[:3].ljust(3, b"\0")
    names = run.task_names
    return names[task % len(names)], POLICIES[policy % 4], FORMATS[format % 4]


def _check(answers: Any) -> None:
    for answer in answers:
        assert isinstance(answer, dict) and answer
        json.dumps(answer, allow_nan=False)


def predict_file(data: bytes) -> None:
    """`mtl predict RUN FILE`; three bytes choose the task, what becomes of bad rows, and the name."""
    task, policy, name = _choices(data)
    path = FOLDER / f"rows.{name}"
    path.write_bytes(data[3:])
    _check(loaded().predict_file(task, path, on_bad_row=policy))  # type: ignore[arg-type]


def predict_lines(data: bytes) -> None:
    """`mtl predict RUN` on standard input; three bytes choose the task, bad rows, and the format."""
    task, policy, format = _choices(data)
    lines = data[3:].splitlines(keepends=True)
    _check(loaded().predict_lines(task, lines, format=format, on_bad_row=policy))  # type: ignore[arg-type]


def score_file(data: bytes) -> None:
    """`mtl test RUN --data FILE`; three bytes choose the task, and two are not used."""
    task, _, _ = _choices(data)
    path = FOLDER / "scored"
    path.write_bytes(data[3:])
    json.dumps(loaded().test(task, path), allow_nan=False)


# --- Python -------------------------------------------------------------------------------------------


class Hostile:
    """An object that raises on every operation."""

    def __repr__(self) -> str:
        raise RuntimeError

    def __len__(self) -> int:
        raise RuntimeError

    def __fspath__(self) -> str:
        raise TypeError


def _value(json_value: Any) -> Any:
    """JSON as Python values: an object with one key `$KIND` is one that JSON does not have."""
    if isinstance(json_value, list):
        return [_value(each) for each in json_value]
    if not isinstance(json_value, dict):
        return json_value
    if len(json_value) != 1 or not next(iter(json_value)).startswith("$"):
        return {key: _value(each) for key, each in json_value.items()}
    [(kind, inner)] = json_value.items()
    value = _value(inner)
    match kind:
        case "$tuple" if isinstance(value, list):
            return tuple(value)
        case "$iterator" if isinstance(value, list):
            return iter(value)
        case "$bytes" if isinstance(value, str):
            return value.encode(errors="surrogatepass")
        case "$path" if isinstance(value, str):
            return Path(value)
        case "$series" if isinstance(value, list):
            texts = [str(each)[:9] for each in value if isinstance(each, str | int | None)]
            return pl.Series([text for text in texts if text.isprintable()])
        case "$table" if isinstance(value, dict):
            return _table(value)
        case "$number":
            return float("nan")
        case "$complex":
            return 1j
        case "$set":
            return {1, "a"}
        case "$class":
            return Hostile
        case "$keys":
            return {1: "a", None: "b", ("text",): 3, "text": "a film"}
    return Hostile()


def _table(columns: dict[str, Any]) -> Any:
    try:
        return pl.DataFrame(columns, strict=False)
    except Exception:  # what polars makes no table of is no argument
        return pl.DataFrame()


def python_call(data: bytes) -> None:
    """A public function with the arguments that a JSON list gives: its name, arguments, and options."""
    try:
        call = json.loads(data)
    except (ValueError, RecursionError):
        return
    if not isinstance(call, list) or not call:
        return
    name, *values = call
    arguments = [_value(each) for each in values[:3]]
    options = _value(values[3]) if len(values) > 3 else {}
    run = loaded()
    functions = {
        "predict": (run.predict, ("task", "rows"), {"on_bad_row"}),
        "predict_file": (run.predict_file, ("task", "path"), {"on_bad_row"}),
        "predict_lines": (run.predict_lines, ("task", "lines", "name"), {"format", "on_bad_row"}),
        "test": (run.test, ("task", "data"), set()),
        "load": (mtl.load, ("run",), {"task", "device"}),
        "plan": (mtl.plan, ("source",), {"base_dir", "overrides"}),
        "train": (_train, ("source", "output"), {"base_dir", "overrides", "device", "seed", "callbacks"}),
    }
    if not isinstance(name, str) or name not in functions:
        return
    function, names, known = functions[name]
    given = dict(zip(names, arguments, strict=False))
    if isinstance(options, dict):
        given |= {key: each for key, each in options.items() if key in known}
    required = names[:2] if name == "train" or name.startswith("predict") else names[:1]
    if not set(required) <= given.keys():
        return
    result: Any = function(**given)
    if isinstance(result, Iterator | list):
        _check(result)


def _train(*, source: Any, output: Any, **options: Any) -> None:
    """Call `mtl.train`; a valid config is only planned."""
    if isinstance(output, str | Path):
        output = FOLDER / "predictions"  # which holds a run: it is refused after the arguments are checked
    mtl.train(source, output=output, plugins=plugins(), **options)


def _call_seeds() -> list[bytes]:
    wrong = ["$iterator", "$bytes", "$table", "$series", "$number", "$set", "$class", "$keys", "$hostile"]
    table = {"$table": {"text": ["a film", "dull"], "id": [1, 2]}}
    folder = str(FOLDER / "predictions")
    calls: list[Any] = [
        ["predict", "T0", "a warm film"],
        ["predict", "J", ["a warm film", "dull"], None, {"on_bad_row": "report"}],
        ["predict", "T1", {"text": "a film", "id": 7}],
        ["predict", "C", [{"text": "a film"}, {"$tuple": ["dull"]}, {"label": "1", "text": "dull"}]],
        ["predict", "L", table, None, {"on_bad_row": "skip"}],
        ["predict", "T2", {"$iterator": ["a film", {"text": "dull"}]}],
        ["predict_file", "T0", str(FOLDER / "table.tsv"), None, {"on_bad_row": "error"}],
        ["predict_file", "J", {"$path": str(FOLDER / "objects.jsonl")}],
        ["predict_lines", "T0", [{"$bytes": "a film\n"}, {"$bytes": '{"text": "dull"}'}], "lines"],
        ["test", "T0", str(FOLDER / "table.tsv")],
        ["load", folder, None, None, {"task": "T0", "device": "cpu"}],
        ["plan", classifier() | {"tasks": config()["tasks"]}, None, None, {"overrides": ["seed=3"]}],
        ["train", classifier(), "somewhere", None, {"overrides": ["seed=3"], "device": "cpu", "seed": 3}],
        *(["predict", "T0", {kind: ["a film"]}] for kind in wrong),
        *(["predict_lines", "T0", {kind: "a film"}] for kind in wrong),
    ]
    return [json.dumps(call).encode() for call in calls]


def _file_seeds() -> list[bytes]:
    return [bytes([task, policy, 0]) + rows for task in range(6) for policy in (0, 1) for rows in SEEDS]


PREDICTIONS: dict[str, Target] = {
    "predict_file": Target(predict_file, _file_seeds, prefix=3),
    "predict_lines": Target(predict_lines, _file_seeds, prefix=3),
    "score_file": Target(score_file, _file_seeds, prefix=3),
    "python_call": Target(python_call, _call_seeds),
}
