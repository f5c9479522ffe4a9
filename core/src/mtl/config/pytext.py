"""Reads the configs of PyText 0.1 to 0.3 whose tasks have a `data_handler`.

PyText's vocabulary is closed, and this is the one place of the core that knows names of components:
PyText's, and what took their place. Every key of the old config ends in a note: where it is now, or
why it has no equal. Where PyText's default is not ours, the new config states it, so that it means
what the old one meant.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from attrs import Factory, define

from mtl.config.document import Document, describe
from mtl.config.json_path import JSONPath, render_path
from mtl.errors import Problem

MULTITASK = "DisjointMultitask"
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
    "metric_reporter": "the task reports its figures itself; metrics.jsonl of a run has them",
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


def is_pytext(config: Mapping[str, Any]) -> bool:
    """Whether a config is one of PyText's: wrapped, of several tasks, or with a `data_handler`."""
    inner = config.get("config", config)
    task = inner.get("task") if isinstance(inner, dict) else None
    if not isinstance(task, dict):
        return False
    return "config" in config or any(
        name == MULTITASK or (isinstance(settings, dict) and "data_handler" in settings)
        for name, settings in task.items()
    )


def converted(document: Document) -> tuple[dict[str, Any], list[Problem]]:
    """One of PyText's configs as ours, and a note for each of its keys: where it is now, in their order,
    and behind these what has no equal."""
    conversion = _Conversion(document)
    root = _Block(conversion, document.value, ())
    _run(root.block("config") if "config" in document.value else root, conversion)
    conversion.note_unread(document.value, ())
    if any(part in SPLITS for part in (path[-1] for path in conversion.read)):
        where = "relative paths started where PyText ran, and now start at the folder of the config"
        conversion.say((), where, "`base_dir` names another folder")
    return conversion.result, [
        *sorted(conversion.notes, key=lambda note: (note.line or 0, note.column or 0)),
        *conversion.losses,
    ]


@define(eq=False)
class _Conversion:
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
class _Block:
    """An object of the old config."""

    conversion: _Conversion
    value: Mapping[str, Any]
    path: JSONPath

    def __contains__(self, key: str) -> bool:
        return key in self.value and not (key in OFF and self.value[key] == OFF[key])

    def get(self, key: str, default: Any = None) -> Any:
        return self.value.get(key, default)

    def block(self, key: str, *names: str) -> _Block:
        """The object at `key`, empty where there is none; of a component that is named there by one
        of `names`, its settings."""
        block = self.named(key, {name: name for name in names})
        return block[1]

    def named(self, key: str, names: Mapping[str, str]) -> tuple[str, _Block]:
        """What `names` calls the component at `key`, or nothing where it is not named, and its settings."""
        path, value = (*self.path, key), self.value.get(key)
        if not isinstance(value, dict):
            return "", _Block(self.conversion, {}, path)
        self.conversion.entered.add(path)
        if len(value) == 1:
            [(name, inner)] = value.items()
            plain = name.removesuffix("_Deprecated")
            if plain in names and isinstance(inner, dict):
                self.conversion.entered.add((*path, name))
                return names[plain], _Block(self.conversion, inner, (*path, name))
        return "", _Block(self.conversion, value, path)

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


def _run(root: _Block, conversion: _Conversion) -> None:
    root.move({"random_seed": "seed"}, ())
    root.move({"use_deterministic_cudnn": "deterministic"}, ("trainer",))
    if root.get("use_cuda_if_available") is False:
        root.put("use_cuda_if_available", ("device",), "cpu")
    if root.get("use_fp16") is True:
        root.put("use_fp16", ("trainer", "precision"), "fp16")
    tasks = root.block("task")
    for name in tasks.value:
        inner = tasks.block(name)
        if name == MULTITASK:
            _multitask(inner, conversion)
        else:
            _trainer(inner)
            _task(name, inner, ("task", name.removesuffix("_Deprecated")))


def _multitask(block: _Block, conversion: _Conversion) -> None:
    block.move({"task_weights": "task_weights", "target_task_name": "target_task"}, ())
    tasks = block.block("tasks")
    for name in tasks.value:
        task = tasks.block(name)
        for component in task.value:
            inner = task.block(component)
            for key in ("trainer", "optimizer", "scheduler"):
                if key in inner:
                    conversion.lose((*inner.path, key), describe(inner.get(key)), "a run has one trainer")
            _task(component, inner, ("tasks", name, component.removesuffix("_Deprecated")))
    _trainer(block)
    schedule: JSONPath = ("schedule", "RoundRobin")
    handler = block.block("data_handler")
    if isinstance(handler.get("epoch_size"), int):
        handler.put("epoch_size", (*schedule, "epoch_steps"), handler.get("epoch_size"))
        handler.state({"epoch": "steps"}, schedule)
    elif "target_task_name" not in block:
        block.state({"epoch": "first"}, schedule)


OPTIMIZERS: Mapping[str, tuple[str, Mapping[str, str], Mapping[str, Any]]] = {
    "adam": ("Adam", {"lr": "lr", "weight_decay": "weight_decay"}, {}),
    "sgd": ("SGD", {"lr": "lr", "momentum": "momentum"}, {"lr": 0.001}),
}
"""By PyText's name: ours, the settings, and PyText's defaults that are not ours."""


def _trainer(block: _Block) -> None:
    trainer = block.block("trainer", "Trainer")
    to: JSONPath = ("trainer",)
    trainer.move({key: key for key in ("epochs", "early_stop_after", "max_clip_norm")}, to)
    trainer.move({"random_seed": "seed"}, ())
    for each in (block, trainer):
        _optimizer(each, to)
        _scheduler(each, to)


def _optimizer(block: _Block, to: JSONPath) -> None:
    if "optimizer" not in block:
        return
    named, settings = block.named("optimizer", {"Adam": "adam", "SGD": "sgd"})
    kind = named or str(settings.get("type", "adam")).lower()
    if kind in OPTIMIZERS:
        name, keys, defaults = OPTIMIZERS[kind]
        here = (*to, "optimizer", name)
        settings.conversion.put(here, {})
        if "type" in settings:
            settings.conversion.note((*settings.path, "type"), f"is `{render_path(here)}`")
        settings.move(keys, here)
        settings.state(defaults, here)


def _scheduler(block: _Block, to: JSONPath) -> None:
    settings = block.block("scheduler") if isinstance(block.get("scheduler"), dict) else block
    if settings is block:
        return
    kind, here = settings.get("type", "none"), (*to, "lr_scheduler", "ReduceOnPlateau")
    if kind == "reduce_lr_on_plateau":
        settings.conversion.note((*settings.path, "type"), f"is `{render_path(here)}`")
        settings.move({"gamma": "factor", "patience": "patience", "eta_min": "minimum_lr"}, here)
        settings.state({"factor": 0.1, "patience": 5}, here)
    elif kind == "none":
        settings.conversion.note(settings.path, "needs no saying: the rate stays as it is")
    else:
        settings.conversion.entered.discard(settings.path)


def _task(name: str, block: _Block, to: JSONPath) -> None:
    is_lm = name.removesuffix("_Deprecated") == "LMTask"
    block.conversion.put(to, {})
    _data(block, to, is_lm=is_lm)
    _features(block, to)
    model = block.block("model", "DocModel", "LMLSTM")
    if is_lm:
        _lm_representation(model, to)
        model.move({"tied_weights": "tie_weights"}, to)
    else:
        _representation(model, "representation", "BiLSTMDocAttention", (*to, "representation"))
    if model.get("decoder") is not None:
        here = (*to, "decoder", "MLPDecoder")
        decoder = model.block("decoder", "MLPDecoder")
        model.conversion.put(here, {})
        decoder.move({"hidden_dims": "hidden_dims", **MODULE}, here)
    block.block("labels", "DocLabelConfig").move({"label_weights": "class_weights"}, to)


# --- data ----------------------------------------------------------------------------------------

SPLITS = {"train_path": "train.tsv", "eval_path": "eval.tsv", "test_path": "test.tsv"}
"""The files that PyText reads where a config names none."""
COLUMNS = {"text": "text", "utterance": "text", "doc_label": "label"}
"""Our names of PyText's columns."""


def _data(block: _Block, to: JSONPath, *, is_lm: bool) -> None:
    handler = block.block(
        "data_handler", "DocClassificationDataHandler", "LanguageModelDataHandler", "DataHandler"
    )
    columns = handler.get("columns_to_read", ["text"] if is_lm else ["doc_label", "text", "dict_feat"])
    lines = is_lm and len(columns) == 1
    here = (*to, "data", "TextLines" if lines else "TSV")
    handler.move({key: key for key in SPLITS}, here)
    handler.state(SPLITS, here)
    if not lines:
        _columns(handler, columns, is_lm, (*here, "columns"))
    elif "columns_to_read" in handler:
        handler.conversion.note((*handler.path, "columns_to_read"), f"is `{render_path(here)}`")
    handler.move({"train_batch_size": "batch_size", "eval_batch_size": "eval_batch_size"}, to)
    handler.state({"batch_size": 128}, to)
    if handler.get("test_batch_size") == handler.get("eval_batch_size") and "test_batch_size" in handler:
        said = f"is `{render_path((*to, 'eval_batch_size'))}` as well"
        handler.conversion.note((*handler.path, "test_batch_size"), said)


def _columns(handler: _Block, columns: Iterable[Any], is_lm: bool, to: JSONPath) -> None:
    wanted = ("text",) if is_lm else ("text", "label")
    places = {COLUMNS.get(str(name), ""): place for place, name in enumerate(columns)}
    found = {name: places[name] for name in wanted if name in places}
    handler.conversion.put(to, found)
    if "columns_to_read" in handler:
        handler.put("columns_to_read", to, found)
        unread = [str(name) for name in columns if COLUMNS.get(str(name)) not in wanted]
        if unread:
            path = (*handler.path, "columns_to_read")
            handler.conversion.lose(path, f"the columns {', '.join(unread)}", "the task does not read them")


# --- features ------------------------------------------------------------------------------------

WORD_FEAT = {
    **{key: key for key in ("embed_dim", "vocab_file", "vocab_size", "vocab_from_train_data")},
    "min_freq": "min_count",
    "lowercase_tokens": "lowercase",
    **MODULE,
}
CHAR_FEAT = {
    "embed_dim": "embed_dim",
    "max_word_length": "max_word_length",
    "min_freq": "min_count",
    **MODULE,
}
CNN = {"kernel_num": "kernel_num", "kernel_sizes": "kernel_sizes"}


def _features(block: _Block, to: JSONPath) -> None:
    here = (*to, "features")
    features = block.block("features", "ModelInputConfig", "FeatureConfig")
    features.move(MODULE, here)
    words = features.block("word_feat")
    block.conversion.put((*here, "word_feat"), {})
    words.move(WORD_FEAT, (*here, "word_feat"))
    span = words.get("embedding_init_range")
    if isinstance(span, list) and len(span) == 2 and span[0] == -span[1]:
        words.put("embedding_init_range", (*here, "word_feat", "init_range"), span[1])
    if features.get("char_feat") is not None:
        block.conversion.put((*here, "char_feat"), {})
        characters = features.block("char_feat")
        characters.move(CHAR_FEAT, (*here, "char_feat"))
        characters.block("cnn").move(CNN, (*here, "char_feat"))
    block.block("featurizer", "SimpleFeaturizer").move(
        {"lowercase_tokens": "lowercase"}, (*here, "word_feat")
    )


# --- representations -----------------------------------------------------------------------------

LSTM = {**{key: key for key in ("dropout", "lstm_dim", "num_layers", "bidirectional")}, **MODULE}
POOLINGS = {"SelfAttention": "SelfAttention", "MaxPool": "MaxPool", "MeanPool": "MeanPool"}


def _lm_representation(model: _Block, to: JSONPath) -> None:
    here = (*to, "representation", "BiLSTM")
    lstm = model.block("representation", "BiLSTM")
    model.conversion.put(here, {})
    lstm.move(LSTM, here)
    if "shared_module_key" not in lstm:  # else the settings of the first sharer counted
        lstm.state({"bidirectional": False}, here)


def _representation(model: _Block, key: str, default: str, to: JSONPath) -> None:
    names = {"BiLSTMDocAttention": "BiLSTMDocAttention", "DocNNRepresentation": "DocNN"}
    named, block = model.named(key, names)
    here = (*to, named or default)
    model.conversion.put(here, {})
    block.move({"dropout": "dropout", **MODULE}, here)
    if named == "DocNN":
        block.block("cnn").move(CNN, here)
        block.state({"kernel_sizes": [3, 4]}, here)
        return
    lstm = block.block("lstm", "BiLSTM")
    if lstm.value:
        lstm.move(LSTM, (*here, "lstm", "BiLSTM"))
    pooling, settings = block.named("pooling", POOLINGS)
    there = (*here, "pooling", pooling or "SelfAttention")
    if pooling in ("", "SelfAttention"):
        settings.move({"attn_dimension": "attn_dim", "dropout": "dropout", **MODULE}, there)
        block.state({"dropout": 0.4}, there)
    else:
        block.conversion.put(there, {})
    mlp = block.block("mlp_decoder", "MLPDecoder")
    dims = [*(mlp.get("hidden_dims") or []), *([mlp.get("out_dim")] if mlp.get("out_dim") else [])]
    if dims:
        old = "hidden_dims" if "hidden_dims" in mlp else "out_dim"
        mlp.put(old, (*here, "mlp_dims"), dims)
        mlp.conversion.read.add((*mlp.path, "out_dim"))
