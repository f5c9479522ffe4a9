"""`export`: from a run to one task of it, checked against the original before it counts as done."""

from __future__ import annotations

import importlib.metadata
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from attrs import frozen

from mtl.errors import UsageError
from mtl.files import atomic_write
from mtl.runs import LoadedRun, load
from mtl_export.checking import Difference, Sample, compare, metrics_of, require_equal, sample_of
from mtl_export.program import Input, Program, example, exporting, inputs_of, output_names, traced
from mtl_export.replacements import OnnxLSTM, ScanLSTM, exportable

EXTRA_FILE = "mtl.json"


@frozen
class Exported:
    """What was written, and how it was checked.

    `metrics` are the task's own and those of what was exported, for a precision other than fp32.
    """

    path: Path
    task: str
    format: str
    precision: str
    source: str
    difference: Difference
    metrics: Mapping[str, tuple[Any, Any]]

    def __str__(self) -> str:
        lines = [
            f"{self.path}: {self.task} as {self.format}, {self.precision}",
            f"checked on {self.source}, {self.difference.rows:,} predictions in batches of 1 to 33:"
            f" {self.difference.other_labels:,} labels differ, scores by at most"
            f" {self.difference.largest:.1e}",
        ]
        lines += [f"{name}: {now} (fp32: {before})" for name, (before, now) in self.metrics.items()]
        return "\n".join(lines)


def export(
    run: Path | str,
    output: Path | str,
    *,
    task: str | None = None,
    format: str = "folder",
    precision: str = "fp32",
    force: bool = False,
) -> Exported:
    """Write one task of a run to `output`, without the others, and check it against the original.

    The format is "torch" (a program of torch.export, `.pt2`), "onnx", or "folder". The precision, of "onnx"
    and "folder", is "fp32", "fp16" or "int8".

    Raises `UsageError` for arguments that do not fit and for a model that a format cannot hold, `MtlError`
    if what was exported predicts something else; then nothing is written.
    """
    path = Path(output)
    _check_arguments(path, format, precision, force)
    loaded = load(run, task=task, device="cpu")
    if task is None and len(loaded.task_names) > 1:
        raise UsageError(f"`task` must be one of {', '.join(loaded.task_names)}")
    name = task or loaded.task_names[0]
    sample = sample_of(loaded, name)
    with atomic_write(path) as temporary:
        exported = Export(loaded, name, sample, Path(run), precision)
        result = exported.write(format, temporary, path)
    return result


def _check_arguments(path: Path, format: str, precision: str, force: bool) -> None:
    if format not in ("torch", "onnx", "folder"):
        raise UsageError(f"`format` must be torch, onnx or folder, but is {format!r}")
    if precision not in ("fp32", "fp16", "int8"):
        raise UsageError(f"`precision` must be fp32, fp16 or int8, but is {precision!r}")
    if format == "torch" and precision != "fp32":
        raise UsageError("`precision` must be fp32 for the format torch; onnx and folder take others")
    if path.exists() and not force:
        raise UsageError(f"{path}: is there already; choose another path, or `--force` to replace it")
    if path.is_dir() and format != "folder":
        raise UsageError(f"{path}: must be a file for the format {format}, but is a folder")
    if format == "folder" and path.is_dir() and any(path.iterdir()) and not (path / "steps.json").is_file():
        raise UsageError(f"{path}: is a folder with other files, which are not replaced")


class Export:
    """One export: a run, its task and what it is checked with."""

    def __init__(self, run: LoadedRun, task: str, sample: Sample, folder: Path, precision: str) -> None:
        self.run, self.task, self.sample, self.folder = run, task, sample, folder
        self.precision = precision
        chosen = run.task(task)
        sequences = chosen.features.sequences(chosen.config.texts)
        self.inputs: list[Input] = inputs_of(sample.inputs, sequences)
        self.example = example(sample.inputs)
        with torch.inference_mode():
            output = run.model.tasks[task](self.example)
        self.outputs = output_names(output)

    def write(self, format: str, temporary: Path, path: Path) -> Exported:
        if format == "torch":
            self._write_torch(temporary)
            exported = self._torch_session(temporary)
        elif format == "onnx":
            exported = self._write_onnx(temporary)
        else:
            from mtl_export.folder import write_folder

            temporary.mkdir()
            exported = self._write_onnx(temporary / "model.onnx")
            write_folder(self, temporary)
        difference = compare(self.run, self.task, self.sample.inputs, self.inputs, self.outputs, exported)
        if self.precision == "fp32":
            require_equal(difference, f"{self.task} as {format}")
        if format == "folder":
            from mtl_export.folder import check_folder

            check_folder(self, temporary)
        return Exported(
            path,
            self.task,
            format,
            self.precision,
            self.sample.source,
            difference,
            self._metrics(exported) if self.precision != "fp32" else {},
        )

    @property
    def metadata(self) -> dict[str, Any]:
        """What an exported file says about itself."""
        chosen = self.run.task(self.task)
        return {
            "task": self.task,
            "component": self.run.tasks.components[self.task].name,
            "inputs": [
                {"name": each.name, "axis": each.axis, "lengths_of": list(each.lengths_of)}
                for each in self.inputs
            ],
            "outputs": self.outputs,
            "state": chosen.state(),
            "mtl": importlib.metadata.version("pytext-mtl"),
        }

    def _program(self, lstm: Callable[[Any], torch.nn.Module], *, room: int = 0) -> Program:
        model = exportable(self.run.model.tasks[self.task], lstm)
        return Program(model, self.inputs, self.outputs, room=room)

    def _write_torch(self, path: Path) -> None:
        with exporting(self.task):
            program = traced(self._program(ScanLSTM, room=1), self.example)
            file = path.with_name("program.pt2")
            torch.export.save(program, file, extra_files={EXTRA_FILE: json.dumps(self.metadata)})
            shutil.move(file, path)

    def _torch_session(self, path: Path) -> Callable[[Any], Any]:
        file = path.with_name("check.pt2")
        shutil.copyfile(path, file)
        try:
            module = torch.export.load(file).module()
        finally:
            file.unlink()
        return lambda tensors: module(*tensors)

    def _write_onnx(self, path: Path) -> Callable[[Any], Any]:
        from mtl_export.onnx_format import reduce_precision, session, write_onnx

        write_onnx(self._program(OnnxLSTM), self.example, path, self.metadata)
        if self.precision != "fp32":
            reduce_precision(path, self.precision)
        return session(path)

    def _metrics(self, exported: Callable[[Any], Any]) -> dict[str, tuple[Any, Any]]:
        """Return the task's metric of the original and of what was exported, if the data are there."""
        if not self.sample.is_evaluation_data:
            return {}
        name = self.run.task(self.task).config.metric.name
        before, now = (
            metrics_of(self.run, self.task, self.sample.rows, self.inputs, self.outputs, each)
            for each in (None, exported)
        )
        return {name: (before.get(name), now.get(name))}
