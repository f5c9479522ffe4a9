"""A run and its folder: plan it, train it, load it, and read what it left.

Whatever a tool beside mtl needs is here; the modules of this package are private. Free of torch until
something that needs it is used. `docs/runs-api.md` describes each name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mtl.lazy import lazy_attributes

if TYPE_CHECKING:
    from mtl.config.dumping import dump
    from mtl.config.json_path import parse_path, render_path
    from mtl.config.load import LoadedConfig, load_config
    from mtl.data.columns import Rows
    from mtl.errors import Interrupted
    from mtl.files import read_json, write_json, write_text
    from mtl.plugins import Plugins, discover
    from mtl.provenance import plugins_of_run
    from mtl.runs.checking import check_data
    from mtl.runs.execution import train
    from mtl.runs.folder import RunFolder
    from mtl.runs.judging import Judged, judge
    from mtl.runs.loading import LoadedRun, load
    from mtl.runs.planning import plan
    from mtl.runs.predicting import encode_inputs
    from mtl.runs.preparation import Prepared, prepare, torch_settings
    from mtl.runs.records import read_records
    from mtl.runs.result import Result
    from mtl.runs.resume import identity
    from mtl.runs.rows import RowScore, predict_rows, read_rows, read_split, row_texts, score_rows
    from mtl.training.selection import task_weights, tasks_in_phases
    from mtl.training.timeline import EpochRule, Timeline

_LAZY = {
    "EpochRule": "mtl.training.timeline",
    "Interrupted": "mtl.errors",
    "Judged": "mtl.runs.judging",
    "LoadedConfig": "mtl.config.load",
    "LoadedRun": "mtl.runs.loading",
    "Plugins": "mtl.plugins",
    "Prepared": "mtl.runs.preparation",
    "Result": "mtl.runs.result",
    "RowScore": "mtl.runs.rows",
    "Rows": "mtl.data.columns",
    "RunFolder": "mtl.runs.folder",
    "Timeline": "mtl.training.timeline",
    "check_data": "mtl.runs.checking",
    "discover": "mtl.plugins",
    "encode_inputs": "mtl.runs.predicting",
    "dump": "mtl.config.dumping",
    "identity": "mtl.runs.resume",
    "judge": "mtl.runs.judging",
    "load": "mtl.runs.loading",
    "load_config": "mtl.config.load",
    "parse_path": "mtl.config.json_path",
    "plan": "mtl.runs.planning",
    "plugins_of_run": "mtl.provenance",
    "predict_rows": "mtl.runs.rows",
    "prepare": "mtl.runs.preparation",
    "read_json": "mtl.files",
    "read_records": "mtl.runs.records",
    "read_rows": "mtl.runs.rows",
    "read_split": "mtl.runs.rows",
    "render_path": "mtl.config.json_path",
    "row_texts": "mtl.runs.rows",
    "score_rows": "mtl.runs.rows",
    "task_weights": "mtl.training.selection",
    "tasks_in_phases": "mtl.training.selection",
    "torch_settings": "mtl.runs.preparation",
    "train": "mtl.runs.execution",
    "write_json": "mtl.files",
    "write_text": "mtl.files",
}

__all__ = [
    "EpochRule",
    "Interrupted",
    "Judged",
    "LoadedConfig",
    "LoadedRun",
    "Plugins",
    "Prepared",
    "Result",
    "RowScore",
    "Rows",
    "RunFolder",
    "Timeline",
    "check_data",
    "discover",
    "dump",
    "encode_inputs",
    "identity",
    "judge",
    "load",
    "load_config",
    "parse_path",
    "plan",
    "plugins_of_run",
    "predict_rows",
    "prepare",
    "read_json",
    "read_records",
    "read_rows",
    "read_split",
    "render_path",
    "row_texts",
    "score_rows",
    "task_weights",
    "tasks_in_phases",
    "torch_settings",
    "train",
    "write_json",
    "write_text",
]

__getattr__, __dir__ = lazy_attributes(__name__, _LAZY)
