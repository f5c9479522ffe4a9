"""A folder that predicts by itself: the ONNX model, the steps from text to columns, and `predict.py`."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mtl import ColumnType, Task
from mtl.errors import MtlError, UsageError
from mtl.files import as_json
from mtl_export.card import model_card
from mtl_export.checking import Difference, generated_rows, require_equal

if TYPE_CHECKING:
    from mtl_export.exported import Export

SPECIAL_ROWS = 24
STEPS = "steps.json"


def write_folder(export: Export, folder: Path) -> None:
    """Write what stands beside the model. Raises `UsageError` for a task that needs more than it can hold."""
    (folder / STEPS).write_text(as_json(steps_of(export)), encoding="utf-8")
    (folder / "predict.py").write_text(_template("predict.py"), encoding="utf-8")
    (folder / "requirements.txt").write_text("numpy\nonnxruntime\n", encoding="utf-8")
    (folder / "README.md").write_text(model_card(export), encoding="utf-8")


def _template(name: str) -> str:
    return (resources.files("mtl_export") / "templates" / name).read_text(encoding="utf-8")


def steps_of(export: Export) -> dict[str, Any]:
    """Return the steps from lines to the inputs of the model, and from its outputs to answers, as JSON."""
    task = export.run.task(export.task)
    features = task.features
    texts = list(task.config.texts)
    if features.config.reads_jointly or features.config.tokenizer != "whitespace":
        raise _refused(export.task, f"its words come from the tokenizer {features.config.tokenizer!r}")
    columns = {column.name: column for column in task.config.input_columns}
    if set(columns) != set(texts):
        raise _refused(export.task, f"it reads {', '.join(f'`{name}`' for name in columns)}")
    steps = {name: _step(export.task, name, each) for name, each in features.featurizers.items()}
    inputs = []
    for each in export.inputs:
        name = each.lengths_of[0] if each.lengths_of else each.name
        text = next(text for text in texts if name.startswith(f"{text}."))
        feature = name.removeprefix(f"{text}.").rpartition(".")[0]
        inputs.append(
            {"name": each.name, "text": texts.index(text), "feature": None if each.lengths_of else feature}
        )
    return {
        "task": export.task,
        "texts": texts,
        "json_only": any(column.type is ColumnType.TEXTS for column in columns.values()),
        "max_tokens": getattr(task.config, "max_tokens", None),
        "inputs": inputs,
        "outputs": export.outputs,
        "answer": _answer(export, task),
        "special": ["__PAD__", "__UNK__", "__BOS__", "__EOS__", "__MASK__"],
        "unknown": 1,
        "features": steps,
    }


def _refused(task: str, why: str) -> UsageError:
    return UsageError(
        f"{task} cannot be exported as a folder whose predict.py needs NumPy and onnxruntime only: {why};"
        " the formats onnx and torch take the numbers that mtl makes of it"
    )


def _step(task: str, name: str, featurizer: Any) -> dict[str, Any]:
    """Return what a featurizer of mtl-text does, as JSON."""
    config, kind = featurizer.config, type(featurizer).__name__
    if type(featurizer).__module__.partition(".")[0] != "mtl_text":
        raise _refused(task, f"{name} is of {type(featurizer).__module__.partition('.')[0]}")
    state = featurizer.state()
    step: dict[str, Any] = {"normalization": state["normalization"]}
    if kind == "WordFeat":
        tokens = list(featurizer.token_texts())
        return {**step, "kind": "words", "lowercase": config.lowercase, "tokens": tokens}
    if kind == "CharFeat":
        tokens = list(featurizer.vocabulary.tokens)
        return {**step, "kind": "characters", "width": config.max_word_length, "tokens": tokens}
    if kind == "NgramFeat":
        sizes = {"shortest": config.shortest, "longest": config.longest, "buckets": config.buckets}
        return {**step, "kind": "ngrams", "width": config.max_ngrams, **sizes}
    raise _refused(task, f"{name} is a {kind}")


def _answer(export: Export, task: Task[Any]) -> dict[str, Any]:
    """Return how outputs become answers; `check_folder` finds a task that only looks like one of these."""
    state, outputs = task.state(), set(export.outputs)
    if outputs == {"scores"} and "labels" in state:
        return {"kind": "label", "names": state["labels"]}
    if outputs == {"probabilities", "thresholds"} and "labels" in state:
        return {"kind": "labels", "names": state["labels"]}
    if outputs == {"scores"} and "mean" in state:
        return {"kind": "score", "names": []}
    if outputs == {"scores", "tags", "lengths"} and "tags" in state:
        return {"kind": "tags", "names": state["tags"]}
    raise _refused(export.task, f"its answers come from {', '.join(sorted(outputs))}")


def check_folder(export: Export, folder: Path) -> None:
    """Compare the answers of `predict.py`, run alone, with those of the run. Raises `MtlError`."""
    rows = generated_rows(export.run, export.task)[:SPECIAL_ROWS]
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    done = subprocess.run(
        [sys.executable, str(folder / "predict.py")],
        input=lines.encode(),
        capture_output=True,
        check=False,
        timeout=300,
    )
    if done.returncode:
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise MtlError(f"{export.task} as a folder: predict.py failed: {''.join(last)}")
    answers = [json.loads(line) for line in io.StringIO(done.stdout.decode())]
    difference = Difference()
    difference.add(export.run.predict(export.task, rows), answers)
    if export.precision == "fp32":
        require_equal(difference, f"{export.task} as a folder")
