"""ONNX: the model file, its precisions, and a session to check it with."""

from __future__ import annotations

import contextlib
import io
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from onnxscript import opset18
from torch import Tensor

from mtl import Batch
from mtl_export.program import Program, exporting, tensors_of, traced

OPSET = 18


def _lstm(inputs: Any, weight: Any, recurrent: Any, bias: Any) -> Any:
    states, _, _ = opset18.LSTM(inputs, weight, recurrent, bias, hidden_size=recurrent.shape[2])
    return states


def write_onnx(program: Program, batch: Batch, path: Path, metadata: Mapping[str, Any]) -> None:
    """Write a program as an ONNX model with dynamic axes and `metadata` as JSON."""
    axes = {}
    for each in program.inputs:
        axes[each.name] = {0: "batch"} if each.axis is None else {0: "batch", 1: each.axis}
    with exporting(f"{path.name}"), _quiet():
        exported = torch.onnx.export(
            traced(program, batch),
            tuple(tensors_of(batch, program.inputs)),
            dynamo=True,
            opset_version=OPSET,
            input_names=[each.name for each in program.inputs],
            output_names=list(program.outputs),
            custom_translation_table={torch.ops.mtl_export.lstm.default: _lstm},
            verbose=False,
        )
        assert exported is not None
        model = exported.model_proto
    for given in model.graph.input:
        for place, axis in axes[given.name].items():
            given.type.tensor_type.shape.dim[place].dim_param = axis
    model.producer_name = "mtl-export"
    # Names of the machine's folders and of the code that was traced belong in no file that is given away.
    for part in (model.graph, *model.functions):
        for node in part.node:
            del node.metadata_props[:]
            node.doc_string = ""
    for key, value in metadata.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, json.dumps(value, ensure_ascii=False)
    onnx.save(model, path)


@contextlib.contextmanager
def _quiet() -> Any:
    """Keep the exporter's remarks about operators that nobody uses from the terminal."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [each.level for each in loggers]
    for each in loggers:
        each.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        for each, level in zip(loggers, levels, strict=True):
            each.setLevel(level)


def reduce_precision(path: Path, precision: str) -> None:
    """Replace the weights of an ONNX model by those of another precision: `fp16` or `int8`."""
    with exporting(f"{path.name} in {precision}"), _quiet():
        if precision == "int8":
            from onnxruntime.quantization import QuantType, quantize_dynamic

            logging.disable(logging.WARNING)
            try:
                quantize_dynamic(path, path, weight_type=QuantType.QInt8)
            finally:
                logging.disable(logging.NOTSET)
        elif precision == "fp16":
            from onnxruntime.transformers.float16 import convert_float_to_float16

            onnx.save(convert_float_to_float16(onnx.load(path), keep_io_types=True), path)


def session(path: Path) -> Callable[[Sequence[Tensor]], list[Tensor]]:
    """Return a function that runs an ONNX model on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    opened = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    used = {each.name for each in opened.get_inputs()}
    names = [each.name for each in onnx.load(path, load_external_data=False).graph.input]

    def run(tensors: Sequence[Tensor]) -> list[Tensor]:
        given = {name: tensor.numpy() for name, tensor in zip(names, tensors, strict=True)}
        results = opened.run(None, {name: value for name, value in given.items() if name in used})
        return [torch.from_numpy(np.asarray(result)) for result in results]

    return run
