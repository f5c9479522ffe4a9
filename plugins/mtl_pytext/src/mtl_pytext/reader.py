"""Reads the configs of PyText 0.1 to 0.3 whose tasks have a `data_handler`. Free of torch.

PyText's vocabulary is closed, so this is the one place that knows its names, and what took their place.
Every key of the old config ends in a note: where it is now, or why it has no counterpart. If PyText's
default is not ours, the new config states it, so that it means what the old one meant.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from mtl.config import Document, JSONPath, describe, render_path
from mtl.errors import Problem
from mtl_pytext.conversion import MODULE, Block, Conversion

MULTITASK = "DisjointMultitask"


def is_pytext(config: Mapping[str, Any]) -> bool:
    """Return whether a config is one of PyText's: wrapped, of several tasks, or with a `data_handler`."""
    inner = config.get("config", config)
    task = inner.get("task") if isinstance(inner, dict) else None
    if not isinstance(task, dict):
        return False
    return "config" in config or any(
        name == MULTITASK or (isinstance(settings, dict) and "data_handler" in settings)
        for name, settings in task.items()
    )


def converted(document: Document) -> tuple[dict[str, Any], list[Problem]]:
    """Return one of PyText's configs as ours, and a note for each of its keys: where it is now, in their
    order, and behind these what has no equal."""
    conversion = Conversion(document)
    root = Block(conversion, document.value, ())
    _run(root.block("config") if "config" in document.value else root, conversion)
    conversion.note_unread(document.value, ())
    if any(part in SPLITS for part in (path[-1] for path in conversion.read)):
        where = "relative paths started where PyText ran, and now start at the folder of the config"
        conversion.say((), where, "`base_dir` names another folder")
    return conversion.result, [
        *sorted(conversion.notes, key=lambda note: (note.line or 0, note.column or 0)),
        *conversion.losses,
    ]


def _run(root: Block, conversion: Conversion) -> None:
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


def _multitask(block: Block, conversion: Conversion) -> None:
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


def _trainer(block: Block) -> None:
    trainer = block.block("trainer", "Trainer")
    to: JSONPath = ("trainer",)
    trainer.move({key: key for key in ("epochs", "early_stop_after", "max_clip_norm")}, to)
    trainer.move({"random_seed": "seed"}, ())
    for each in (block, trainer):
        _optimizer(each, to)
        _scheduler(each, to)


def _optimizer(block: Block, to: JSONPath) -> None:
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


def _scheduler(block: Block, to: JSONPath) -> None:
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


def _task(name: str, block: Block, to: JSONPath) -> None:
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


def _data(block: Block, to: JSONPath, *, is_lm: bool) -> None:
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


def _columns(handler: Block, columns: Iterable[Any], is_lm: bool, to: JSONPath) -> None:
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


def _features(block: Block, to: JSONPath) -> None:
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


def _lm_representation(model: Block, to: JSONPath) -> None:
    here = (*to, "representation", "BiLSTM")
    lstm = model.block("representation", "BiLSTM")
    model.conversion.put(here, {})
    lstm.move(LSTM, here)
    if "shared_module_key" not in lstm:  # else the settings of the first sharer counted
        lstm.state({"bidirectional": False}, here)


def _representation(model: Block, key: str, default: str, to: JSONPath) -> None:
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
