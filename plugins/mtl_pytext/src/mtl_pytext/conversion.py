"""A config of PyText while it becomes one of mtl's. Free of torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import Factory, define

from mtl.config import Document, JSONPath, describe, render_path
from mtl.errors import Problem

MODULE = {key: key for key in ("shared_module_key", "freeze", "load_path", "save_path")}

OFF: Mapping[str, Any] = {
    "early_stop_after": 0,
    "embedding_init_range": None,
    "max_clip_norm": None,
    "target_task_name": None,
    "vocab_file": "",
    "vocab_size": 0,
    **dict.fromkeys(MODULE),
}
"""Values with which PyText says that a setting is not used; mtl leaves it out."""

USUAL: Mapping[str, Any] = {
    "append_bos": True,
    "append_eos": True,
    "bias": True,
    "column_mapping": {},
    "convert_to_bytes": False,
    "distributed_world_size": 1,
    "embedding_init_strategy": "random",
    "highway_layers": 0,
    "max_seq_len": -1,
    "mid_dim": 0,
    "mlp_layer_dims": [],
    "out_dim": None,
    "pooling": "max",
    "pretrained_embeddings_path": "",
    "projection_dim": None,
    "sentence_markers": None,
    "shuffle": True,
    "sort_within_batch": True,
    "sparse": False,
    "split_regex": r"\s+",
    "stateful": False,
    "target_prob": False,
    "upsample": True,
    "use_cuda_if_available": True,
    "use_fp16": False,
    "vocab_from_all_data": False,
    "vocab_from_pretrained_embeddings": False,
}
"""Values that ask for what mtl does anyway."""

_RUN_FOLDER = "`mtl train --output` names the run folder, which has it all"
_NO_EXPORT = "mtl does not export to Caffe2 or ONNX"
REASONS: Mapping[str, str] = {
    "data": "a task of a later PyText: write its files as `data`, by hand",
    "debug_path": _RUN_FOLDER,
    "dense_feat": "no featurizer for numbers",
    "dict_feat": "no featurizer for gazetteers",
    "export_caffe2_path": _NO_EXPORT,
    "export_input_names": _NO_EXPORT,
    "export_onnx_path": _NO_EXPORT,
    "export_output_names": _NO_EXPORT,
    "exporter": _NO_EXPORT,
    "load_snapshot_path": "`mtl train --resume` goes on with a run, `mtl test` and `mtl predict` take one",
    "metric_reporter": "the task reports its metrics itself; metrics.jsonl of a run has them",
    "modules_save_dir": "put the folder in front of each `save_path`",
    "output_layer": "the task has its own loss; `label_smoothing` and `class_weights` change it",
    "pretrained_embeddings_path": "no pretrained embeddings",
    "report_train_metrics": "metrics.jsonl of a run has the training losses",
    "save_snapshot_path": _RUN_FOLDER,
    "scheduler": "no scheduler with the same course; `mtl plugins` shows what there is",
    "test_out_path": _RUN_FOLDER,
    "use_tensorboard": "name a logger in `loggers`",
    "version": "mtl needs no version in a config",
}


@define(eq=False)
class Conversion:
    """The new config while it grows, and which parts of the old one have been read."""

    document: Document
    result: dict[str, Any] = Factory(dict)
    notes: list[Problem] = Factory(list)
    losses: list[Problem] = Factory(list)
    entered: set[JSONPath] = Factory(set)
    read: set[JSONPath] = Factory(set)

    def put(self, path: JSONPath, value: Any) -> bool:
        """Write a setting, unless it is there."""
        target: dict[Any, Any] = self.result
        for part in path[:-1]:
            target = target.setdefault(part, {})
        is_new = path[-1] not in target
        target.setdefault(path[-1], value)
        return is_new

    def say(self, path: JSONPath, message: str, hint: str = "") -> None:
        """Add a note at a part of the old config."""
        self.notes.append(self.document.problem(path, message, hint, key=True))

    def note(self, path: JSONPath, message: str, hint: str = "") -> None:
        """Say what became of a part of the old config."""
        self.read.add(path)
        self.say(path, message, hint)

    def lose(self, path: JSONPath, message: str, hint: str = "") -> None:
        """Say that a part of the old config has no equal."""
        self.read.add(path)
        text = f"has no equal in mtl and was left out: {message}"
        self.losses.append(self.document.problem(path, text, hint, key=True))

    def note_unread(self, value: Any, path: JSONPath) -> None:
        """Say of whatever else there is that it has no equal, or needs none."""
        if path in self.read:
            return
        if path in self.entered or not path:
            for key, each in value.items():
                self.note_unread(each, (*path, key))
            return
        key = str(path[-1])
        if key in USUAL and value == USUAL[key] and type(value) is type(USUAL[key]):
            self.note(path, "needs no saying: mtl does so anyway")
        elif value is None or (key in OFF and value == OFF[key]):
            self.note(path, "needs no saying: it says that the setting is not used")
        else:
            self.lose(path, describe(value), REASONS.get(key, ""))


@define(eq=False)
class Block:
    """An object of the old config."""

    conversion: Conversion
    value: Mapping[str, Any]
    path: JSONPath

    def __contains__(self, key: str) -> bool:
        return key in self.value and not (key in OFF and self.value[key] == OFF[key])

    def get(self, key: str, default: Any = None) -> Any:
        return self.value.get(key, default)

    def block(self, key: str, *names: str) -> Block:
        """Return the object at `key`, empty where there is none; of a component that is named there by one
        of `names`, its settings."""
        block = self.named(key, {name: name for name in names})
        return block[1]

    def named(self, key: str, names: Mapping[str, str]) -> tuple[str, Block]:
        """Return what `names` calls the component at `key`, or nothing where it is not named, and its
        settings."""
        path, value = (*self.path, key), self.value.get(key)
        if not isinstance(value, dict):
            return "", Block(self.conversion, {}, path)
        self.conversion.entered.add(path)
        if len(value) == 1:
            [(name, inner)] = value.items()
            plain = name.removesuffix("_Deprecated")
            if plain in names and isinstance(inner, dict):
                self.conversion.entered.add((*path, name))
                return names[plain], Block(self.conversion, inner, (*path, name))
        return "", Block(self.conversion, value, path)

    def move(self, keys: Mapping[str, str], to: JSONPath) -> None:
        """Put the settings that are there below `to`, by their new names."""
        for old, new in keys.items():
            if old in self:
                self.put(old, (*to, new), self.value[old])

    def put(self, key: str, to: JSONPath, value: Any) -> None:
        """Put `value`, which stands for the setting at `key`, at `to`."""
        self.conversion.put(to, value)
        said = "" if value == self.value.get(key) else f", {describe(value)}"
        self.conversion.note((*self.path, key), f"is `{render_path(to)}`{said}")

    def state(self, values: Mapping[str, Any], to: JSONPath) -> None:
        """State PyText's defaults where they are not ours."""
        self.conversion.entered.add(self.path)
        for key, value in values.items():
            if self.conversion.put((*to, key), value):
                said = (
                    f"`{render_path((*to, key))}` is {describe(value)}, as PyText has it where none is stated"
                )
                self.conversion.say(self.path, said)
